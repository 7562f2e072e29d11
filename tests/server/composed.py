"""The composed application of the server with pages of the tests, for granian and gunicorn: a module of their own."""

from __future__ import annotations

import json
import os
import threading

from mediacrawl.server.accounts.access import Identified, basic_credentials
from mediacrawl.server.accounts.rights import Person
from mediacrawl.server.application import RsgiApplication, WsgiApplication
from mediacrawl.server.options import ServeOptions
from mediacrawl.server.site import text_response

OPTIONS = ServeOptions.from_json(os.environ["SERVED_OPTIONS"])
BLOCK = b"x" * 65_536
BLOCKS = 320  # 20 MiB
waiting = threading.Event()


def pages(environ, start_response):
    """Tell the request as it came; some paths do something else."""
    path = environ["PATH_INFO"]
    if path == "/broken":
        raise LookupError("the page fails")
    if path == "/long":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BLOCK) * BLOCKS))])
        return (BLOCK for _ in range(BLOCKS))
    if path == "/breaks":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return breaking()
    if path == "/wait" and environ["REQUEST_METHOD"] == "POST":
        waiting.wait(60)
    if path == "/go":
        waiting.set()
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    told["body"] = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode("latin-1")
    told["scheme"] = environ["wsgi.url_scheme"]
    content = json.dumps(told).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
    return [content]


def breaking():
    for _ in range(64):
        yield BLOCK
    raise LookupError("the page fails in its middle")


def refuse(request):
    """Allow all but one folder, and tell the client of another."""
    if request.path.startswith("~anna/"):
        return text_response(404, "There is no such file.")
    if request.path.startswith("told/"):
        return text_response(403, f"{request.address} {request.path}")
    return None


async def refuse_async(request):
    return refuse(request)


async def identify(request):
    """Believe each name: the password may be anything. A cookie stands for the session of a browser."""
    found = basic_credentials(request.field("authorization") or "")
    name = (request.field("cookie") or "").removeprefix("session=") if found is None else found[0]
    quota = 1_000_000 if name == "poor" else None
    is_known = name and not (OPTIONS.store.parent / f"{name} was removed").exists()
    person = Person(name, can_upload=name != "reader", quota_bytes=quota) if is_known else None
    return Identified(person, found is not None, None if person else text_response(401, "Log in first."))


def __getattr__(name):
    if name == "rsgi":
        return RsgiApplication(OPTIONS, pages, refuse_async, identify=identify)
    if name == "wsgi":
        return WsgiApplication(OPTIONS, pages, refuse)
    raise AttributeError(name)
