"""Uploads from the page of a folder: in Chromium, to a running server, through a proxy with faults."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal

import chromium
import pytest
from chromium import Chromium
from crawling import wait_until
from faulty_proxy import FaultyProxy
from serve_process import Serve, run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(chromium.PATH is None, reason="no chromium on PATH")]

NAME, SMALL_NAME, PASSWORD = "ulla", "quinn", "correct horse battery"
MIB = 1 << 20
LARGE = 24 * MIB  # more than the systems keep of a connection that the browser has ended
MIDDLE = 4 * MIB
QUOTA = 40 * MIB  # of `SMALL_NAME`: for one file of `LARGE`
FILES, AGAIN, FOLDER = (
    "[data-part=files-input]",
    "[data-part=unfinished-rows] [data-part=input]",
    "[data-part=folder-input]",
)
UNFINISHED = "[data-part=unfinished-rows] li"
DONE = "document.querySelectorAll('#upload [data-state=done]').length"


class Site:
    """A server, the proxy in front of it, a browser with somebody who may upload, and files to upload."""

    def __init__(self, folder, *arguments):
        self.store, self.files, self.arguments = folder / "store", folder / "files", arguments
        self.store.mkdir()
        self.files.mkdir()
        for name, *quota in ((NAME,), (SMALL_NAME, "--quota", QUOTA)):
            words = ("user", "add", name, "--upload", *quota, "-s", f"FILES_STORE={self.store}")
            status, _, errors = run(*words, input=f"{PASSWORD}\n")
            assert status == 0, errors
        self.server = Serve(self.store, *arguments)
        self.prefix = self.server.prefix.rstrip("/")
        self.proxy = FaultyProxy(self.server.port)
        self.browser = Chromium(folder / "profile")
        self.url = f"http://localhost:{self.proxy.port}{self.prefix}"

    def end(self):
        self.browser.__exit__()
        self.proxy.__exit__()
        self.server.end()

    def restart(self):
        """Start the server again after a kill, at the same port, for the same cookies."""
        self.server.end()
        self.server = Serve(self.store, *self.arguments, "--port", self.server.port)

    def kill(self):
        for pid in self.server.processes():
            os.kill(pid, signal.SIGKILL)
        self.server.process.wait()

    def log_in(self, name=NAME):
        self.browser.call("Network.clearBrowserCookies")
        self.browser.open(f"{self.url}/login")
        self.browser.type("[name=name]", name)
        self.browser.type("[name=password]", PASSWORD)
        self.browser.press_enter()

    def open(self, folder):
        if not self.browser.path.startswith(f"{self.prefix}/"):
            self.log_in()
        self.browser.open(f"{self.url}/files/{folder}")
        self.proxy.seen.clear()
        self.browser.events.clear()

    def make(self, name, size):
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        return path

    def unfinished(self):
        """The unfinished uploads, as the server lists them."""
        return self.browser.run("fetch(document.querySelector('#upload').dataset.endpoint).then(r => r.json())")[
            "uploads"
        ]

    def url_of(self, one):
        return f"{self.prefix}/uploads/{one['id']}"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    found = Site(tmp_path_factory.mktemp("site"))
    try:
        yield found
    finally:
        found.end()


@pytest.fixture
def at(site, request):
    """The site, with the page of an empty folder of this test, which is checked in the end."""
    site.folder = f"t{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}"
    (site.store / site.folder).mkdir()
    site.open(f"{site.folder}/")
    yield site
    site.proxy.heal()
    assert site.browser.complaints() == []
    # Nothing of an upload stays in the browser.
    assert site.browser.run("[localStorage.length, sessionStorage.length]") == [0, 0]
    assert site.browser.run("indexedDB.databases().then(all => all.length)") == 0


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def arrived(at, source, name=None):
    """Assert that a file is whole in the folder of the test, under its name, and alone."""
    at.browser.until(DONE)
    target = at.store / at.folder / (name or source.name)
    assert sha256(target) == sha256(source)
    assert [one.name for one in target.parent.iterdir()] == [target.name]
    assert at.unfinished() == []


def patches(seen):
    return [one for one in seen if one.method == "PATCH"]


def hold_in_the_middle(at, source):
    at.proxy.hold_after(MIDDLE, "PATCH")
    at.browser.choose(FILES, source)
    at.proxy.wait_for_hold()


# --- files and folders -------------------------------------------------------------------------------


def test_a_chosen_file_arrives_and_is_listed(at):
    source = at.make("a film.mp4", LARGE)
    at.browser.choose(FILES, source)
    arrived(at, source)
    at.browser.until("document.querySelector('#listing').innerText.includes('a film.mp4')")
    assert [one.method for one in at.proxy.seen] == ["POST", "PATCH"]


def test_small_and_empty_files_take_one_request_each(at):
    sources = [at.make("small/one.txt", 10_000), at.make("small/none.txt", 0)]
    at.browser.choose(FILES, *sources)
    at.browser.until(f"{DONE} == 2")
    assert [sha256(at.store / at.folder / source.name) for source in sources] == list(map(sha256, sources))
    assert [one.method for one in at.proxy.seen] == ["POST", "POST"]


def test_a_dropped_folder_arrives_with_its_folders_and_without_hidden_files(at):
    names = ["album/a.jpg", "album/disc 1/b.mp3", "album/disc 1/\u00e9\u05d0.mp3", "album/.DS_Store", "album/.git/x"]
    names += [f"album/many/{number}.txt" for number in range(120)]
    for name in names:
        at.make(name, 1000)
    at.browser.drop(at.files / "album")
    kept = [name for name in names if "/." not in name]
    at.browser.until("document.querySelector('[data-part=told]').innerText.includes('2 hidden files left out')")
    wait_until(lambda: all((at.store / at.folder / name).is_file() for name in kept))
    assert all(sha256(at.store / at.folder / name) == sha256(at.files / name) for name in kept)
    found = [path for path in (at.store / at.folder).rglob("*") if path.is_file()]
    assert len(found) == len(kept)


def test_a_chosen_folder_arrives_with_its_folders(at):
    for name in ("chosen/a.txt", "chosen/in/b.txt", "chosen/.hidden"):
        at.make(name, 100)
    at.browser.choose(FOLDER, at.files / "chosen")
    at.browser.until(f"{DONE} == 2")
    found = {str(path.relative_to(at.store / at.folder)) for path in (at.store / at.folder).rglob("*")}
    assert found == {"chosen", "chosen/a.txt", "chosen/in", "chosen/in/b.txt"}


def test_files_go_into_the_own_folder(at):
    source = at.make("diary.txt", 100)
    at.open(f"~{NAME}/")
    at.browser.choose(FILES, source)
    at.browser.until(DONE)
    assert sha256(at.store / f"~{NAME}" / "diary.txt") == sha256(source)


def test_a_file_that_is_chosen_twice_is_sent_once(at):
    source = at.make("twice.bin", LARGE)
    hold_in_the_middle(at, source)
    at.browser.choose(FILES, source)
    at.proxy.go_on()
    arrived(at, source)
    assert [one.method for one in at.proxy.seen] == ["POST", "PATCH"]


def test_a_name_that_is_taken_gets_a_number_which_is_shown(at):
    source = at.make("taken.bin", 1000)
    (at.store / at.folder / source.name).write_bytes(b"other")
    at.browser.choose(FILES, source)
    at.browser.until(DONE)
    assert "done, as taken-2.bin" in at.browser.text
    link = at.browser.run("document.querySelector('[data-state=done] a').getAttribute('href')")
    assert link == f"/files/{at.folder}/taken-2.bin"
    assert sha256(at.store / at.folder / "taken-2.bin") == sha256(source)


def test_a_file_of_the_queue_is_not_listed_as_unfinished_too(at):
    """The page does not know the URL of its upload yet, as the answer to the creation was another one."""
    source = at.make("listed once.bin", LARGE)
    os.utime(source, (1_700_000_000, 1_700_000_000))
    at.proxy.answer(503, "POST", headers=[("Retry-After", "60")])
    at.browser.choose(FILES, source)
    at.browser.until("document.querySelector('#upload [data-state=retrying]')")
    at.browser.press("[data-part=all-toggle]")
    at.browser.until("document.querySelector('#upload [data-state=paused]')")
    for length, metadata in (
        (LARGE, {"filename": source.name, "folder": at.folder, "lastModified": "1700000000000"}),
        (5, {"filename": "other"}),
    ):
        pairs = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items())
        fields = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length), "Upload-Metadata": pairs}
        at.browser.run(f"fetch('/uploads/', {json.dumps({'method': 'POST', 'headers': fields})})")
    at.browser.choose(FILES, at.make("whole.bin", 10))  # once it is whole, the list is read anew
    at.browser.until(f"document.querySelector('{UNFINISHED}')")
    listed = at.browser.run(f"[...document.querySelectorAll('{UNFINISHED} bdi')].map(one => one.innerText)")
    assert listed == ["other"]
    at.browser.press(f"{UNFINISHED} [data-part=remove]")
    at.browser.press("#upload [data-state=paused] [data-part=toggle]")
    at.browser.until(f"{DONE} == 2")
    assert sha256(at.store / at.folder / source.name) == sha256(source)
    at.browser.until(f"!document.querySelector('{UNFINISHED}')")


@pytest.fixture
def with_quota(at):
    """The page of the test, for somebody with a quota."""
    at.log_in(SMALL_NAME)
    at.open(f"{at.folder}/")
    yield at
    for one in at.unfinished():
        at.browser.run(f"tus.Upload.terminate('{at.url_of(one)}')")
    at.log_in()
    at.open(f"{at.folder}/")


def test_a_file_beyond_the_quota_is_refused_with_a_reason(with_quota):
    at = with_quota
    at.browser.until("document.querySelector('[data-part=quota]').innerText.includes('MB more')")
    at.browser.choose(FILES, at.make("beyond.bin", QUOTA + 1))
    at.browser.until("document.querySelector('[data-state=failed]')?.innerText.includes('quinn may add')")
    assert [one.method for one in at.proxy.seen] == ["POST"]


def test_a_refused_file_is_not_shown_as_sent(at):
    """Its bytes have come with the request that announces it."""
    at.proxy.answer(400, "POST")
    at.browser.choose(FILES, at.make("refused.bin", 1_000_000))
    at.browser.until("document.querySelector('#upload [data-state=failed]')")
    row = "document.querySelector('#upload [data-state=failed]')"
    assert "0B of 1.00MB. The server has refused it (400)." in at.browser.run(f"{row}.innerText")
    assert at.browser.run(f"{row}.querySelector('[data-part=bar]').value") == 0


def test_an_upload_that_has_taken_the_quota_without_an_answer_is_found(with_quota):
    at = with_quota
    source = at.make("found.bin", LARGE)
    at.proxy.lose_answer("POST")
    at.browser.choose(FILES, source)
    at.browser.until(DONE)
    assert sha256(at.store / at.folder / source.name) == sha256(source)
    assert " ".join(one.method for one in at.proxy.seen).endswith("POST HEAD PATCH")


# --- interruptions -----------------------------------------------------------------------------------


def test_an_upload_goes_on_after_the_server_was_killed(at):
    source = at.make("killed.bin", LARGE)
    hold_in_the_middle(at, source)
    at.kill()
    at.proxy.go_on()
    at.browser.until("document.querySelector('#upload [data-state=retrying]')")
    at.restart()
    arrived(at, source)
    assert sum(one.method == "POST" for one in at.proxy.seen) == 1
    assert patches(at.proxy.seen)[-1].offset > 0


def test_a_server_that_is_away_is_asked_for_three_files_at_a_time(at):
    sources = [at.make(f"several/{number}.bin", 1000) for number in range(12)]
    at.proxy.answer(503, "POST", times=6)
    at.browser.choose(FILES, *sources)
    at.browser.until("document.querySelectorAll('#upload [data-state=retrying]').length == 3")
    assert at.browser.run("document.querySelectorAll('#upload [data-state=waiting]').length") == 9
    at.browser.until(f"{DONE} == 12")
    assert [one.method for one in at.proxy.seen] == ["POST"] * 18


def test_an_upload_goes_on_after_a_reload_when_the_file_is_chosen_again(at):
    source = at.make("reloaded.bin", LARGE)
    hold_in_the_middle(at, source)
    at.browser.loading(lambda: at.browser.call("Page.reload"))
    at.proxy.go_on()
    wait_until(lambda: at.unfinished()[0]["offset"] > 0)
    at.browser.until(f"document.querySelector('{UNFINISHED}')?.innerText.includes('{at.folder}/reloaded.bin')")
    at.proxy.seen.clear()
    at.browser.choose(AGAIN, source)
    arrived(at, source)
    assert [one.method for one in at.proxy.seen if one.method != "HEAD"] == ["PATCH"]
    assert patches(at.proxy.seen)[0].offset > 0
    assert at.browser.run(f"document.querySelectorAll('{UNFINISHED}').length") == 0


def test_another_file_does_not_go_on_with_an_upload(at):
    source = at.make("versions.bin", LARGE)
    hold_in_the_middle(at, source)
    at.browser.loading(lambda: at.browser.call("Page.reload"))
    at.proxy.go_on()
    at.browser.until(f"document.querySelector('{UNFINISHED}')")
    for change, said in (
        (lambda: source.write_bytes(os.urandom(LARGE)), "was changed since"),
        (lambda: source.write_bytes(b"short"), "has 5B"),
        (lambda: None, "has another name"),
    ):
        change()
        os.utime(source, (1_700_000_000, 1_700_000_000))
        at.browser.choose(AGAIN, at.make("other.bin", 5) if "name" in said else source)
        at.browser.until(f"document.querySelector('{UNFINISHED}').innerText.includes({json.dumps(said)})")
    at.browser.press(f"{UNFINISHED} [data-part=remove]")
    at.browser.until(f"!document.querySelector('{UNFINISHED}')")
    assert at.unfinished() == []


def test_an_upload_whose_connection_is_dead_goes_on_with_another_one(at):
    """The network is gone without a word: the first request stays open, for the browser and for the server."""
    source = at.make("stalled.bin", LARGE)
    hold_in_the_middle(at, source)
    clock = """(now => {
        let past = 0
        performance.now = () => now() + past
        const timer = setInterval(() => {
            if (document.querySelector("#upload [data-state=sending]")) past += 61000; else clearInterval(timer)
        }, 500)
        })(performance.now.bind(performance))"""
    at.browser.run(clock)
    arrived(at, source)
    assert " ".join(one.method for one in at.proxy.seen) == "POST HEAD PATCH"


def test_an_upload_is_paused_and_goes_on(at):
    source = at.make("paused.bin", LARGE)
    hold_in_the_middle(at, source)
    at.browser.press("[data-state=sending] [data-part=toggle]")
    at.browser.until("document.querySelector('#upload [data-state=paused]')")
    at.proxy.go_on()
    at.proxy.wait_for(patches)
    at.browser.press("[data-state=paused] [data-part=toggle]")
    arrived(at, source)
    assert [one.method for one in at.proxy.seen] == ["POST", "PATCH", "HEAD", "PATCH"]


def test_an_upload_is_removed_from_the_server_too(at):
    source = at.make("removed.bin", LARGE)
    hold_in_the_middle(at, source)
    at.browser.press("[data-state=sending] [data-part=remove]")
    at.proxy.go_on()
    at.proxy.wait_for(lambda seen: any((one.method, one.status) == ("DELETE", 204) for one in seen))
    assert at.unfinished() == []
    assert list((at.store / at.folder).iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "last"),
    [
        (lambda proxy: proxy.drop_after(MIDDLE, "PATCH"), "HEAD PATCH"),
        (lambda proxy: proxy.lose_answer("PATCH"), "HEAD"),
        (lambda proxy: proxy.lose_answer("POST"), "PATCH DELETE"),  # of the second upload
        (lambda proxy: proxy.lose_answer("POST", times=100), "POST HEAD PATCH( DELETE)*"),
        (lambda proxy: proxy.answer(503, "POST", times=2, headers=[("Retry-After", "1")]), "POST POST PATCH"),
        (lambda proxy: proxy.answer(409, "PATCH"), "HEAD PATCH"),
        (lambda proxy: proxy.answer(423, "PATCH"), "HEAD PATCH"),
        (lambda proxy: (proxy.answer(502, "PATCH"), proxy.answer(502, "HEAD", times=2)), "HEAD HEAD HEAD PATCH"),
        (lambda proxy: (proxy.answer(500, "PATCH"), proxy.answer(404, "HEAD")), "HEAD HEAD PATCH"),
    ],
    ids=[
        "cut",
        "answer lost",
        "creation repeated",
        "creation lost",
        "busy",
        "conflict",
        "locked",
        "a proxy alone",
        "not found once",
    ],
)
def test_an_upload_goes_on_after(at, fault, last):
    source = at.make("faults.bin", LARGE)
    fault(at.proxy)
    at.browser.choose(FILES, source)
    at.browser.until(DONE)
    # Chromium repeats a request itself if a connection that it has used before ends without an answer.
    at.proxy.wait_for(lambda seen: re.search(f"{last}$", " ".join(one.method for one in seen)))
    wait_until(lambda: at.unfinished() == [])
    arrived(at, source)


def test_an_upload_that_was_removed_elsewhere_begins_anew(at):
    source = at.make("anew.bin", LARGE)
    hold_in_the_middle(at, source)
    at.browser.press("[data-state=sending] [data-part=toggle]")
    at.proxy.go_on()
    at.browser.run(f"tus.Upload.terminate('{at.url_of(at.unfinished()[0])}')")
    at.browser.press("[data-state=paused] [data-part=toggle]")
    arrived(at, source)
    assert [one.method for one in at.proxy.seen][-4:] == ["DELETE", "HEAD", "POST", "PATCH"]


def test_pieces_become_smaller_where_a_proxy_limits_them(at):
    source = at.make("pieces.bin", LARGE)
    at.proxy.limit_content(2 * MIB)
    at.browser.choose(FILES, source)
    arrived(at, source)
    assert max(one.body for one in at.proxy.seen if one.status != 413) <= 2 * MIB


def test_a_file_that_has_changed_on_the_device_fails_with_a_reason(at):
    source = at.make("changing.bin", LARGE)
    hold_in_the_middle(at, source)
    source.unlink()
    at.browser.press("[data-state=sending] [data-part=toggle]")
    at.proxy.go_on()
    at.browser.press("[data-state=paused] [data-part=toggle]")
    at.browser.until("document.querySelector('[data-state=failed]')?.innerText.includes('changed or removed')")
    at.browser.press("[data-state=failed] [data-part=remove]")
    at.proxy.wait_for(lambda seen: seen[-1].method == "DELETE")


def test_who_is_logged_out_is_told_and_goes_on_after_a_login(at):
    source = at.make("session.bin", LARGE)
    hold_in_the_middle(at, source)
    at.browser.press("[data-state=sending] [data-part=toggle]")
    at.proxy.go_on()
    cookies = at.browser.call("Network.getCookies")["cookies"]
    at.browser.call("Network.clearBrowserCookies")
    at.browser.press("[data-state=paused] [data-part=toggle]")
    at.browser.until("document.querySelector('[data-state=failed]')?.innerText.includes('log in in another tab')")
    for one in cookies:
        kept = {name: one[name] for name in ("name", "value", "path", "httpOnly", "sameSite")}
        at.browser.call("Network.setCookie", url=at.url, **kept)
    at.browser.press("[data-state=failed] [data-part=toggle]")
    arrived(at, source)


# --- text of strangers -------------------------------------------------------------------------------

HOSTILE = [
    "<img src=x onerror=document.title='run'>.jpg",
    "\"><script>document.title='run'</script>",
    "' onmouseover='document.title=1",
    "picture\u202egnp.exe",
    "javascript:document.title='run'",
    "{{ 7 }}{% csrf_token %}",
    "a\u2028b.txt",
]


def test_names_of_strangers_are_texts(at):
    """In the queue, in the list of unfinished uploads, and in the folder."""
    title = at.browser.run("document.title")
    at.proxy.hold_after(0, "POST")
    script = """(names => {
        const data = new DataTransfer()
        for (const name of names) data.items.add(new File(["x".repeat(5e6)], name, {lastModified: 1.7e12}))
        const input = document.querySelector("[data-part=files-input]")
        input.files = data.files
        input.dispatchEvent(new Event("change"))
        })"""
    at.browser.run(f"{script}({json.dumps(HOSTILE)})")
    shown = "[...document.querySelectorAll('#upload [data-part=name]')].map(one => one.textContent)"
    assert at.browser.run(shown) == [
        name.replace("\u202e", "\\u{202e}").replace("\u2028", "\\u{2028}") for name in HOSTILE
    ]
    at.browser.press("[data-part=all-toggle]")
    at.proxy.go_on()
    at.browser.press("[data-part=all-toggle]")
    at.browser.until(f"{DONE} == {len(HOSTILE)}")
    at.browser.until(f"document.querySelectorAll('#listing tbody tr').length == {len(HOSTILE)}")
    assert at.browser.run("document.querySelectorAll('#listing img, #upload img, main script').length") == 0
    assert at.browser.run("document.title") == title


def test_metadata_of_strangers_are_texts(at):
    """Of uploads that another program has begun in the name of the person."""
    script = """(async names => {
        const encoded = text => btoa(String.fromCharCode(...new TextEncoder().encode(text)))
        for (const name of names) {
            const metadata = ["filename", "folder", "lastModified", "other"].map(key => `${key} ${encoded(name)}`)
            const headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "99", "Upload-Metadata": metadata.join()}
            await fetch(document.querySelector("#upload").dataset.endpoint, {method: "POST", headers})
        }
        })"""
    at.browser.run(f"{script}({json.dumps(HOSTILE)})")
    title = at.browser.run("document.title")
    at.browser.loading(lambda: at.browser.call("Page.reload"))
    at.browser.until(f"document.querySelectorAll('{UNFINISHED}').length == {len(HOSTILE)}")
    assert at.browser.run("document.querySelectorAll('#upload img, main script').length") == 0
    assert at.browser.run("document.title") == title
    assert "\u202e" not in at.browser.run("document.querySelector('#upload').textContent")
    for one in at.unfinished():
        at.browser.run(f"tus.Upload.terminate('{at.url_of(one)}')")


def test_a_file_of_the_store_is_no_script_of_the_page(at):
    """Even if a page had a fault, and text of a stranger became an element."""
    (at.store / at.folder / "evil.js").write_text("document.title = 'run'")
    before = len(at.browser.events)
    at.browser.run(
        """new Promise(done => {
        const script = document.createElement("script")
        script.src = location.pathname + "evil.js"
        script.onerror = () => done()
        script.onload = () => done()
        document.head.append(script)
        })"""
    )
    assert at.browser.run("document.title") != "run"
    assert any("script-src" in text for text in at.browser.complaints())
    del at.browser.events[before:]


def test_without_scripts_the_page_says_so(at):
    at.browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        at.browser.loading(lambda: at.browser.call("Page.reload"))
        assert "the browser has to run scripts" in at.browser.text
        assert "Upload files" not in at.browser.text
    finally:
        at.browser.call("Emulation.setScriptExecutionDisabled", value=False)


# --- another place -----------------------------------------------------------------------------------


def test_below_a_prefix(tmp_path):
    site = Site(tmp_path, "--prefix", "/media")
    try:
        site.open("")
        source = site.make("prefixed.bin", LARGE)
        site.proxy.drop_after(MIDDLE, "PATCH")
        site.browser.choose(FILES, source)
        site.browser.until(DONE)
        assert sha256(site.store / source.name) == sha256(source)
        assert all(one.path.startswith("/media/uploads/") for one in site.proxy.seen)
    finally:
        site.end()
