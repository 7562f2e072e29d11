"""The Django side as a project meets it: in its own tests, behind its middleware, with its settings."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path
from types import ModuleType

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path as url_path
from people_set_up import configured
from serving import COMMANDS, Server

from mediacrawl.server.django import files_url, ranged_response, serve

BODY = bytes(range(256)) * 2000  # several blocks
DIGEST = hashlib.sha256(BODY).hexdigest()
HEADERS = {"whole": {}, "one range": {"Range": "bytes=9-300008"}, "two ranges": {"Range": "bytes=0-9,300000-300009"}}


@pytest.fixture(scope="module", autouse=True)
def project():
    """A bare project. A process has one only, so that it is that of the server without what it adds."""
    configured()
    with override_settings(ALLOWED_HOSTS=["*"], MIDDLEWARE=[], INSTALLED_APPS=[], FORCE_SCRIPT_NAME=None):
        yield


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "film.mp4").write_bytes(BODY)
    return tmp_path


def urls(*patterns):
    """Settings with these URLs."""
    module = ModuleType("urls_of_a_test")
    module.urlpatterns = list(patterns)
    return override_settings(ROOT_URLCONF=module)


async def got_under_asgi(headers):
    response = await AsyncClient().get("/media/film.mp4", headers=headers)
    assert response.is_async
    return response, b"".join([chunk async for chunk in response])


def got_under_wsgi(headers):
    response = Client().get("/media/film.mp4", headers=headers)
    return response, response.getvalue()


def descriptors(folder):
    return [link for link in Path("/proc/self/fd").iterdir() if link.exists() and link.resolve().parent == folder]


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("kind", ["WSGI", "ASGI"])
@pytest.mark.parametrize("middleware", [[], ["django_wrapping.wrapping"]], ids=["bare", "wrapped"])
def test_a_project_reads_a_response_in_its_own_tests(folder, headers, kind, middleware):
    with urls(files_url("media/", folder)), override_settings(MIDDLEWARE=middleware):
        response, content = got_under_wsgi(headers) if kind == "WSGI" else asyncio.run(got_under_asgi(headers))
    response.close()
    response.close()
    assert len(content) == int(response["Content-Length"])
    if "multipart" not in response["Content-Type"]:
        expected = BODY[9:300_009] if headers else BODY
        assert content == (expected.swapcase() if middleware else expected)
    assert descriptors(folder) == []


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
def test_a_response_that_nobody_reads_is_closed(folder, headers):
    response = ranged_response(RequestFactory(headers=headers).get("/"), folder / "film.mp4")
    assert len(descriptors(folder)) == 1
    response.streaming_content = []
    response.close()
    assert descriptors(folder) == []


def test_a_file_that_shrinks_breaks_a_wrapped_response(folder):
    response = ranged_response(RequestFactory().get("/"), folder / "film.mp4")
    response.streaming_content = map(bytes.swapcase, response.streaming_content)
    (folder / "film.mp4").write_bytes(b"short")
    with pytest.raises(OSError, match="has become shorter"):
        response.getvalue()
    with pytest.raises(OSError, match="has become shorter"):
        response.close()
    assert descriptors(folder) == []


# Folders


@pytest.mark.parametrize("empty", ["", Path()], ids=repr)
def test_an_empty_folder_is_not_the_working_directory(empty, monkeypatch, folder):
    monkeypatch.chdir(folder)
    with pytest.raises(ImproperlyConfigured, match="empty"):
        files_url("media/", empty)
    with pytest.raises(ImproperlyConfigured, match="empty"):
        serve(RequestFactory().get("/"), "film.mp4", document_root=empty)
    assert settings.MEDIA_ROOT == "", "Django's default"


def test_a_missing_folder_is_told(folder):
    with pytest.raises(ImproperlyConfigured, match="cannot read the folder"):
        serve(RequestFactory().get("/"), "film.mp4", document_root=folder / "nowhere")


@pytest.mark.parametrize("prefix", ["media/", "media", "/media/", "/media", "media//"])
def test_a_prefix_has_slashes_or_not(folder, prefix):
    with urls(files_url(prefix, folder)):
        assert Client().get("/media/film.mp4").getvalue() == BODY
        assert Client().get("/mediafilm.mp4").status_code == 404


@pytest.mark.parametrize("prefix", ["", "/", "https://media.example.org/", "//media.example.org/media/"])
def test_a_prefix_that_can_be_none_is_told(folder, prefix):
    with pytest.raises(ImproperlyConfigured, match="prefix"):
        files_url(prefix, folder)


# Digests


NO_SHA256 = [
    "zz",
    'a"b',
    "d41d8cd98f00b204e9800998ecf8427e",
    f"sha256:{DIGEST}",
    f" {DIGEST}",
    f"{DIGEST}\n",
    DIGEST[:-1],
    "ab " * 32,
    "\u0663" * 64,
    bytes.fromhex(DIGEST),
    DIGEST.encode(),
    5,
]


@pytest.mark.parametrize("sha256", NO_SHA256, ids=ascii)
@pytest.mark.parametrize("name", ["film.mp4", "nothing.mp4"])
def test_what_is_no_sha256_is_refused_before_the_file_is_opened(folder, sha256, name):
    request = RequestFactory(headers={"Want-Repr-Digest": "sha-256=1"}).get("/")
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        ranged_response(request, folder / name, sha256=sha256)
    assert descriptors(folder) == []


@pytest.mark.parametrize("sha256", [DIGEST, DIGEST.upper()])
def test_a_digest_is_one_tag_in_either_case(folder, sha256):
    request = RequestFactory(headers={"Want-Repr-Digest": "sha-256=1"}).head("/")
    response = ranged_response(request, folder / "film.mp4", sha256=sha256)
    assert response["ETag"] == f'"{DIGEST}"'
    assert response["Repr-Digest"] == f"sha-256=:{base64.b64encode(bytes.fromhex(DIGEST)).decode()}:"


@pytest.mark.parametrize("sha256", [None, ""])
def test_without_a_digest_there_is_no_tag(folder, sha256):
    """A text column of Django is empty where nothing is known."""
    assert "ETag" not in ranged_response(RequestFactory().head("/"), folder / "film.mp4", sha256=sha256)
    with pytest.raises(Http404):
        ranged_response(RequestFactory().head("/"), folder / "nothing.mp4", sha256=sha256)


def test_the_view_is_a_pattern_of_a_project(folder):
    with urls(url_path("files/<path:path>", serve, {"document_root": folder})):
        assert Client().get("/files/film.mp4").getvalue() == BODY
        assert Client().post("/files/film.mp4").status_code == 405


@pytest.mark.parametrize("kind", ["django under gunicorn", "django under uvicorn"])
def test_a_server_sends_what_a_middleware_makes_of_a_file(folder, kind):
    commands = {kind: [*COMMANDS[kind][:-1], f"{COMMANDS[kind][-1]}_wrapped"]}
    with Server(kind, folder, commands=commands) as server:
        connection = server.connection()
        for headers, expected in ({}, BODY), ({"Range": "bytes=9-300008"}, BODY[9:300_009]):
            _, fields, content = server.ask("/pattern/film.mp4", headers, connection=connection)
            assert (int(fields["content-length"]), content) == (len(expected), expected.swapcase())
        connection.close()
    assert not [line for line in server.log if "Traceback" in line]
