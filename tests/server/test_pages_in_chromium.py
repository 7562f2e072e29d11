"""What a person does, in a browser, with a running server: invitation, login, search, a video, logout."""

from __future__ import annotations

import re

import chromium
import pytest
from chromium import Chromium, webm_of
from serve_process import Serve

pytestmark = [pytest.mark.slow, pytest.mark.skipif(chromium.PATH is None, reason="no chromium on PATH")]

WIDTH, HEIGHT, SECONDS = 640, 360, 60
NAME, PASSWORD = "otto", "correct horse battery"


def log_in(browser, name, password):
    browser.type("[name=name]", name)
    browser.type("[name=password]", password)
    browser.press_enter()


def test_a_person_is_invited_logs_in_searches_plays_a_video_from_its_middle_and_logs_out(tmp_path):
    store = tmp_path / "store"
    (store / "films/summer").mkdir(parents=True)
    with Chromium(tmp_path / "profile") as browser, Serve(store) as server:
        film = webm_of(browser.webp(WIDTH, HEIGHT), WIDTH, HEIGHT, seconds=SECONDS)
        (store / "films/summer/The long film.webm").write_bytes(film)
        (store / "films/summer/other.jpg").write_bytes(b"")
        site = f"http://localhost:{server.port}"

        # A manager invites.
        browser.open(f"{site}/")
        assert browser.path == "/login"
        log_in(browser, server.name, server.password)
        assert browser.path == "/files/"
        browser.open(f"{site}/people")
        browser.click("form[action='/people/invite'] button")
        link = browser.run("document.querySelector('.secret').innerText")
        assert link.startswith(f"{site}/invitation/")
        browser.click("form[action='/logout'] button")
        assert browser.path == "/login"

        # The guest makes a login, and logs in again with it.
        browser.open(link)
        browser.type("[name=name]", NAME)
        browser.type("[name=password]", PASSWORD)
        browser.type("[name=again]", PASSWORD)
        browser.press_enter()
        assert (browser.path, NAME in browser.text) == ("/files/", True)
        browser.click("form[action='/logout'] button")
        log_in(browser, NAME, "a wrong password")
        assert "is wrong" in browser.text
        log_in(browser, NAME, PASSWORD)
        assert browser.path == "/files/"

        # The guest searches, and plays the film from its middle.
        browser.type("[type=search]", "long film")
        browser.press_enter()
        assert "1 found" in browser.text
        browser.click(".entries tbody a")
        assert browser.path == "/play/films/summer/The%20long%20film.webm"
        duration = browser.run(
            "new Promise((done, failed) => { const video = document.querySelector('video');"
            "video.onerror = () => failed(video.error.message);"
            "if (video.readyState) done(video.duration); else video.onloadedmetadata = () => done(video.duration) })"
        )
        assert duration == SECONDS
        before = len(server.log)
        played = browser.run(
            "new Promise((done, failed) => { const video = document.querySelector('video');"
            "video.onerror = () => failed(video.error.message);"
            f"const middle = video.currentTime = {SECONDS * 0.6};"
            "video.ontimeupdate = () => { if (video.currentTime > middle + 0.3) done(video.currentTime) };"
            "video.play().catch(failed) })"
        )
        assert played > SECONDS * 0.6
        browser.run("document.querySelector('video').pause()")
        ranges = [int(found[1]) for line in server.log[before:] if (found := re.search(r'"bytes=(\d+)-', line))]
        assert any(len(film) * 0.55 < start < len(film) * 0.65 for start in ranges), server.log[before:]

        # The session ends with the logout: for pages, and for files at once, although they are cached.
        cookie = {"Cookie": browser.cookie(), "Range": "bytes=0-9"}
        target = "/files/films/summer/The%20long%20film.webm"
        assert server.ask(target, cookie)[0] == 206
        browser.click("form[action='/logout'] button")
        assert browser.path == "/login"
        assert server.ask(target, cookie)[0] in {302, 401, 403}
        assert server.ask("/files/", cookie)[0] in {302, 401, 403}
        assert browser.complaints() == []
        log = "".join(server.log)
        assert PASSWORD not in log
        assert link.rpartition("/")[2] not in log
