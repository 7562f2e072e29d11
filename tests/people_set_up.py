"""Django as `mediacrawl serve` sets it up: a process of the tests has it once, with a store of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from functools import cache
from pathlib import Path

import django
import pytest
from django.conf import settings
from django.db import connection

from mediacrawl.server.accounts.configuration import django_settings, migrate, session_cookie
from mediacrawl.server.options import ServeOptions
from mediacrawl.store.local import HIDDEN

HERE = "192.0.2.1"  # the address of a client
PASSWORD = "correct horse"  # of everybody, unless a test says otherwise


@cache
def configured():
    """Set Django up with a cheap hash; return the options."""
    store = Path(tempfile.mkdtemp(prefix="people-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
    threading._register_atexit(shutil.rmtree, store, ignore_errors=True)
    options = ServeOptions(store=store)
    cheap = {"PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"]}
    settings.configure(**django_settings(options) | cheap)
    django.setup()
    migrate()
    return options


@pytest.fixture
def options():
    """Of a server that nobody can log in to yet, and that nobody has tried to."""
    found = configured()
    from axes.models import AccessAttempt
    from django.contrib.auth.models import User
    from django.contrib.sessions.models import Session

    from mediacrawl.server.accounts.models import Invitation

    for model in (User, Invitation, Session, AccessAttempt):
        model.objects.all().delete()
    for folder in found.store.iterdir():
        if folder.is_file():
            folder.unlink()
        elif folder.name != HIDDEN:
            shutil.rmtree(folder)
    return found


def session_of(name):
    """Begin a session; return the request that may end it, and the field `Cookie`."""
    from django.contrib.sessions.backends.db import SessionStore
    from django.http import HttpRequest

    from mediacrawl.server.accounts import people, sessions

    request = HttpRequest()
    request.META["REMOTE_ADDR"] = HERE
    request.session, request.user = SessionStore(), None
    sessions.log_in(request, people.find_person(name))
    request.session.save()
    return request, f"a=b; {session_cookie(configured())}={request.session.session_key}; c=d"


def run_in_threads(function, many):
    """Call a function with each argument, in threads of their own; return the results, exceptions among them."""
    results = [None] * len(many)

    def call(index, argument):
        try:
            results[index] = function(argument)
        except Exception as error:
            results[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=call, args=pair) for pair in enumerate(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
