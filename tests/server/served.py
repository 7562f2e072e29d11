"""What the servers of the tests run: each application of one store. Imported in processes of their own."""

from __future__ import annotations

import os
from functools import cache

STORE = os.environ["SERVED_STORE"]


def refuse(request):
    """Allow one folder to those who have a cookie, and each other one to everybody."""
    from mediacrawl.server.site import text_response

    if request.field("cookie") == "broken":
        raise LookupError("the check of the project fails")
    if request.path.startswith("private/") and request.field("cookie") != "me":
        return text_response(403, "Log in first.")
    return None


def __getattr__(name):
    """Make an application when a server asks for it, so that each process has only its own."""
    if name == "wsgi":
        from mediacrawl.server.wsgi import wsgi_app

        return wsgi_app(STORE)
    if name == "rsgi":
        from mediacrawl.server.rsgi import rsgi_app

        return rsgi_app(STORE)
    if name == "guarded_wsgi":
        from mediacrawl.server.wsgi import wsgi_app

        return wsgi_app(STORE, refuse=refuse)
    if name == "guarded_rsgi":
        from mediacrawl.server.rsgi import rsgi_app

        async def refuse_async(request):
            return refuse(request)

        return rsgi_app(STORE, refuse=refuse_async)
    if name.startswith("people_"):
        return application_for_people(name)
    if name.startswith("django_"):
        return django_application(name)
    raise AttributeError(name)


@cache
def application_for_people(name):
    """The files of a store whose people have been set up, for those who have logged in."""
    from pathlib import Path

    from mediacrawl.server.accounts.access import Access
    from mediacrawl.server.accounts.configuration import set_up
    from mediacrawl.server.options import ServeOptions
    from mediacrawl.server.rsgi import rsgi_app
    from mediacrawl.server.wsgi import wsgi_app

    options = ServeOptions(store=Path(STORE))
    set_up(options)
    access = Access(options)
    if name == "people_wsgi":
        return wsgi_app(STORE, refuse=access.refuse_in_thread)
    return rsgi_app(STORE, refuse=access.refuse)


@cache  # uvicorn asks twice
def django_application(name):
    """A bare project: no application, no database, and a middleware that breaks ranges unless told not to."""
    import django
    from django.conf import settings
    from django.core.handlers.asgi import ASGIHandler
    from django.core.handlers.wsgi import WSGIHandler

    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="django_urls",
        MIDDLEWARE=["django_wrapping.wrapping"] * name.endswith("_wrapped")
        + ["django.middleware.gzip.GZipMiddleware", "django.middleware.http.ConditionalGetMiddleware"],
        LOGGING_CONFIG=None,
    )
    django.setup()
    return ASGIHandler() if name.startswith("django_asgi") else WSGIHandler()
