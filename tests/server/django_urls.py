"""The URLs of a bare Django project: the function, the view and the pattern."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from django.http import HttpResponse
from django.urls import path

from mediacrawl.server.django import files_url, ranged_response, serve

STORE = Path(os.environ["SERVED_STORE"])


def with_digest(request, name):
    """A project that knows the digests of its files."""
    file = STORE / Path(name).name
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
    return ranged_response(request, file, sha256=digest)


def page(request):
    return HttpResponse("a page " * 100)


urlpatterns = [
    path("page", page),
    path("view/<path:path>", serve, {"document_root": STORE}),
    files_url("pattern/", STORE),
    path("<str:name>", with_digest),
]
