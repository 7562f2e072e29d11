"""The upload part of the pages, as a browser is sent it: who has it, and which scripts run."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files
from urllib.parse import quote

import pytest
from page_browser import Browser
from people_set_up import PASSWORD, configured, options  # noqa: F401 - a fixture

from mediacrawl.server.pages.static_files import STATIC_FILES


@cache
def application():
    from django.core.handlers.wsgi import WSGIHandler

    from mediacrawl.server.accounts.access import Access
    from mediacrawl.server.application import WsgiApplication

    return WsgiApplication(configured(), WSGIHandler(), Access(configured()).refuse_in_thread)


@pytest.fixture
def store(options):  # noqa: F811
    """A store with a common and a private folder, and people with and without the right to upload."""
    from mediacrawl.server.accounts.people import Rights, add_person

    add_person("anna", PASSWORD, Rights(can_read=True))
    add_person("otto", PASSWORD, Rights(can_read=True, can_upload=True))
    add_person("rita", PASSWORD, Rights(can_read=False, can_upload=True))
    (options.store / "music").mkdir()
    (options.store / "~otto").mkdir()
    return options.store


def browser(name):
    found = Browser(application())
    assert found.log_in(name, PASSWORD).status == 302
    return found


def has_part(answer):
    assert answer.status == 200
    has_scripts = len(answer.parsed().scripts) == 2
    assert has_scripts == ('id="upload"' in answer.text)
    return has_scripts


@pytest.mark.parametrize(
    ("name", "path", "may_add"),
    [
        ("anna", "", False),
        ("anna", "music/", False),
        ("anna", "~anna/", False),
        ("otto", "", True),
        ("otto", "music/", True),
        ("otto", "~otto/", True),
        ("rita", "", False),
        ("rita", "~rita/", True),
    ],
)
def test_who_may_add_files_to_a_folder_sees_the_upload_part(store, name, path, may_add):
    page = browser(name).ask(f"/files/{path}")
    assert has_part(page) == may_add


def test_a_person_without_the_common_folder_is_led_to_the_own_one(store):
    page = browser("rita").ask("/files/").text
    assert 'You do not see the common folder. Your files are in <a href="/files/~rita/">~rita</a>.' in page
    assert "is empty" not in page
    for name, path in (("otto", "music/"), ("rita", "~rita/")):
        assert "This folder is empty." in browser(name).ask(f"/files/{path}").text


def test_the_account_tells_the_right_to_add_files(store):
    assert "<li>You may add files.</li>" in browser("otto").ask("/account").text
    assert "You may add files" not in browser("anna").ask("/account").text


def test_scripts_run_on_pages_with_uploads_alone(store):
    """`page_browser.check` compares the policy of each page with its scripts."""
    (store / "music/song.mp3").write_text("x")
    answers = browser("otto").walk()
    with_scripts = {path for path, one in answers.items() if one.is_page and one.parsed().scripts}
    assert all(path.startswith("/files/") for path in with_scripts)
    assert {"/files/", "/files/music/"} <= with_scripts
    for path in ("/play/music/song.mp3", "/search?q=x", "/account", "/login"):
        assert "script-src" not in browser("otto").ask(path).header("Content-Security-Policy")


def test_each_response_has_a_nonce_of_its_own(store):
    otto = browser("otto")
    nonces = [otto.ask("/files/").parsed().scripts[0][1] for _ in range(2)]
    assert nonces[0] != nonces[1]
    assert min(map(len, nonces)) >= 20


def test_the_part_names_the_folder_and_the_place_of_uploads(store):
    (store / "a b' & c").mkdir()
    page = browser("otto").ask("/files/a%20b'%20%26%20c/").text
    assert 'data-folder="a b&#x27; &amp; c"' in page
    assert 'data-endpoint="/uploads/"' in page


@pytest.mark.parametrize("name", ['a "b"', "a: b", "nul", " a", "e\u0301", "x" * 201])
def test_a_folder_with_a_name_that_uploads_cannot_have_has_no_part(store, name):
    """The files would get into another folder than the one that is shown."""
    (store / name).mkdir()
    (store / "music" / name).mkdir()
    for path in (name, f"music/{name}"):
        assert not has_part(browser("otto").ask(f"/files/{quote(path)}/"))


def test_a_folder_whose_name_is_not_unicode_has_no_part(store):
    (store / b"\xff".decode("utf-8", "surrogateescape")).mkdir()
    assert not has_part(browser("otto").ask("/files/%FF/"))


def test_the_file_of_tus_js_client_is_the_released_one():
    static = files("mediacrawl.server.pages").joinpath("static")
    told = dict(
        re.findall(r"^\| `([\w.]+)` \| `([0-9a-f]{64})` \|", static.joinpath("README.md").read_text(), re.MULTILINE)
    )
    assert told == {"tus.min.js": hashlib.sha256(STATIC_FILES["tus.min.js"].content).hexdigest()}
    licences = STATIC_FILES["tus.LICENSE.txt"].content.decode()
    assert "Copyright (c) 2015 tus - Resumable File Uploads" in licences


def test_scripts_are_sent_as_such(store):
    for source, _ in browser("otto").ask("/files/").parsed().scripts:
        answer = Browser(application()).ask(source)
        assert answer.header("Content-Type") == "text/javascript; charset=utf-8"
        assert "immutable" in answer.header("Cache-Control")
    assert Browser(application()).ask("/static/README.md").status == 404
