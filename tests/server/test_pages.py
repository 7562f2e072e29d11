"""The pages as people and strangers ask for them: the complete application, without sockets."""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from dataclasses import replace
from functools import cache
from itertools import chain
from urllib.parse import quote

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError
from page_browser import Browser, links_of
from people_set_up import PASSWORD, configured, options  # noqa: F401 - a fixture

from mediacrawl.store.local import HIDDEN
from mediacrawl.visible import visible

HOSTILE = [
    "<script>alert(1)<",
    '"><img src=x onerror=alert(1)>.jpg',
    "' onmouseover='alert(1).mp4",
    "javascript:alert(1)",
    "data:text,<svg onload=alert(1)>.svg",
    "{{ 7|add:7 }}{% csrf_token %}.txt",
    "&lt;b&gt;&amp;.mp3",
    "picture\u202egnp.exe",
    "line\nend.jpg",
    "return\r\nSet-Cookie: a=b.jpg",
    "\x1b[31mred.jpg",
    "\u2028\u200b.png",
    "100% + #?=&;.jpg",
    "~tilde? no",
    "back\\slash.jpg",
    "--",
    " blank ",
    "\u05d0\u05d1\u05d2.mp4",
    os.fsdecode(b"\xff\xfe.jpg"),
]
SECRET = "geheim"


@cache
def application():
    from django.core.handlers.wsgi import WSGIHandler

    from mediacrawl.server.accounts.access import Access
    from mediacrawl.server.application import WsgiApplication

    return WsgiApplication(configured(), WSGIHandler(), Access(configured()).refuse_in_thread)


@pytest.fixture
def store(options):  # noqa: F811
    """A store with common and private files, and four people."""
    from mediacrawl.server.accounts.people import Rights, add_person

    add_person("anna", PASSWORD, Rights(can_read=True))
    add_person("berta", PASSWORD, Rights(can_read=True))
    add_person("rita", PASSWORD, Rights(can_read=False))
    add_person("maria", PASSWORD, Rights(can_read=True, can_manage=True))
    put(options.store, "music/song.mp3")
    put(options.store, "common.txt")
    put(options.store, f"~berta/{SECRET}.jpg", f"{SECRET} of berta")
    put(options.store, f"~berta/{SECRET} folder/{SECRET}.txt", f"{SECRET} of berta")
    put(options.store, "~anna/own.txt")
    return options.store


def put(store, path, content="content"):
    target = store / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content)


def browser(name=None):
    found = Browser(application())
    if name is not None:
        assert found.log_in(name, PASSWORD).status == 302
    return found


def basic(name, password):
    return {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}


def listed(browser, path="/files/", headers=()):
    answer = browser.ask(f"{path}?format=json", headers=headers)
    entries = json.loads(answer.body)["entries"] if answer.status == 200 else []
    return answer.status, [entry["name"] for entry in entries]


# --- login and logout --------------------------------------------------------------------------------


def test_a_person_logs_in_reads_and_logs_out(store):
    anna = browser()
    asked = anna.ask("/files/music/")
    assert (asked.status, asked.header("Location")) == (302, "/login?next=/files/music/")
    form = anna.ask(asked.header("Location")).parsed().forms[0]
    assert form.fields["next"] == "/files/music/"
    assert anna.log_in("anna", PASSWORD, form.fields["next"]).header("Location") == "/files/music/"
    assert "song.mp3" in anna.ask("/files/music/").text
    assert anna.ask("/files/music/song.mp3").body == b"content"
    kept = dict(anna.cookies)
    assert anna.ask("/logout").status == 405
    assert anna.post("/logout").header("Location") == "/login"
    anna.cookies = kept  # the session has ended, not only its cookie
    assert anna.ask("/files/music/song.mp3").status == 302
    assert anna.ask("/files/music/").status == 302


def test_a_wrong_password_says_nothing_about_the_name(store):
    stranger = browser()
    wrong = [stranger.log_in("anna", "x"), stranger.log_in("nobody", "x")]
    assert [answer.status for answer in wrong] == [403, 403]
    said = [re.findall('role="alert">(.*?)<', answer.text) for answer in wrong]
    assert said == [["The name or the password is wrong."]] * 2
    assert stranger.log_in("", "").status == 400


def test_too_many_wrong_passwords_are_told_the_time_to_wait(store):
    anna = browser("anna")
    stranger = Browser(application(), "192.0.2.7")
    statuses = [stranger.log_in("berta", f"wrong {number}").status for number in range(25)]
    assert set(statuses[:5]) == {403}
    assert statuses[-1] == 429
    refused = stranger.log_in("berta", PASSWORD)
    assert refused.status == 429
    assert int(refused.header("Retry-After")) >= 1
    assert "wrong too often" in refused.text
    assert anna.ask("/files/").status == 200


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "///evil.example",
        "////evil.example/x",
        "https://evil.example/",
        "http:evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "\t//evil.example",
        " //evil.example",
        "javascript:alert(1)",
        "/files/\r\nSet-Cookie: a=b",
        "/\r\n/evil.example",
        "@evil.example",
        "evil.example",
        "\0",
        "",
    ],
)
def test_a_login_leads_to_no_other_site(store, target):
    anna = browser()
    page = anna.ask(f"/login?next={quote(target)}")
    assert page.status == 200
    after = anna.log_in("anna", PASSWORD, target)
    assert after.status == 302
    assert after.header("Location").startswith("/files/")
    assert anna.ask(f"/login?next={quote(target)}").header("Location").startswith("/files/")


# --- what strangers write ----------------------------------------------------------------------------


def test_hostile_names_are_text_everywhere(store):
    for name in HOSTILE:
        put(store, f"hostile/{name}")
        put(store, f"hostile/folder {name}/{name}")
    maria = browser("maria")
    maria.post("/account/application-passwords", label="<script>alert(1)</script>\u202e")
    answers = maria.walk()
    assert {answer.status for answer in answers.values()} == {200, 302}
    listing = answers["/files/hostile/"]
    assert listing.parsed().elements.isdisjoint({"script", "b", "u"})
    text = "".join(listing.parsed().texts)
    for name in HOSTILE:
        assert visible(name) in text, name
    for name in HOSTILE:
        raw = quote(os.fsencode(f"hostile/folder {name}/{name}"))
        assert answers[f"/files/{raw}"].body == b"content" or f"/play/{raw}" in answers, name
    found = maria.ask(f"/search?q={quote('<script>')}")
    assert "&lt;script&gt;" in found.text
    assert visible("hostile/folder <script>alert(1)<") in "".join(found.parsed().texts)
    assert maria.ask(f"/search?q=x&in={quote(quote(os.fsencode('hostile/folder ' + HOSTILE[-1])))}").status == 200


def test_json_has_the_hostile_names_as_they_are(store):
    for name in HOSTILE[:-1]:
        put(store, f"hostile/{name}")
    status, found = listed(browser("anna"), "/files/hostile/")
    assert (status, sorted(found)) == (200, sorted(HOSTILE[:-1]))


@pytest.mark.parametrize(
    "target",
    [
        "/files/a%0d%0aSet-Cookie:%20a=b/",
        "/play/a%0d%0aSet-Cookie:%20a=b",
        "/search?q=a%0d%0aSet-Cookie:%20a=b&in=%0d%0a",
        "/files/%0d%0aLocation:%20x",
        "/invitation/%0d%0aSet-Cookie:%20a=b",
        "/static/%0d%0a",
        "/login?next=/%0d%0aSet-Cookie:%20a=b",
        "/%0d%0a",
        "/files/?sort=%0d%0a",
        "/account?done=%0d%0aSet-Cookie:%20a=b",
    ],
)
@pytest.mark.parametrize("name", [None, "anna"])
def test_no_line_end_gets_into_a_header(store, target, name):
    answer = browser(name).ask(target)  # checks its headers
    assert answer.status in {200, 302, 400, 404}


@pytest.mark.parametrize(
    "target", ["/files/?sort=x", "/files/?sort=--name", "/files/?after=x", "/files/?after=%FF", "/files/?sort="]
)
def test_a_query_that_nobody_wrote_is_a_bad_request(store, target):
    assert browser("anna").ask(target).status == 400


@pytest.mark.parametrize(
    "path",
    [
        f"{HIDDEN}/",
        f"{HIDDEN}/people.sqlite3",
        "../",
        "..%2f..%2fetc/passwd",
        "music/../../",
        "./",
        "/",
        "music//",
        "%00/",
        "link/",
        "link/passwd",
        f"{HIDDEN.upper()}/",
        "a" * 5000 + "/",
    ],
)
def test_no_page_leaves_the_store(store, path, request):
    (store / "link").symlink_to("/etc")
    request.addfinalizer((store / "link").unlink)
    anna = browser("anna")
    for target in (f"/files/{path}", f"/play/{path}", f"/files/{path}?format=json", f"/search?q=p&in={quote(path)}"):
        answer = anna.ask(target)
        is_search = target.startswith("/search")
        assert answer.status in {400, 404} or (is_search and "passwd-" not in answer.text), target


# --- forms -------------------------------------------------------------------------------------------

FORMS = {
    "/login": {"name": "anna", "password": PASSWORD},
    "/logout": {},
    "/invitation/{token}": {"name": "new", "password": "a long password", "again": "a long password"},
    "/account/password": {"current": PASSWORD, "password": "another password", "again": "another password"},
    "/account/application-passwords": {"label": "x"},
    "/account/application-passwords/revoke": {"number": "1"},
    "/people/invite": {"days": "7"},
    "/people/withdraw": {"number": "1"},
    "/people/rights": {"name": "anna"},
    "/people/remove": {"name": "anna"},
}


def patterns():
    """The URLs of all pages, as they are written in `urls`."""
    from mediacrawl.server.pages.urls import urlpatterns

    return {f"/{str(one.pattern).removeprefix('^')}" for one in urlpatterns}


def state():
    from django.contrib.auth.models import User
    from django.contrib.sessions.models import Session

    from mediacrawl.server.accounts.models import Account, ApplicationPassword, Invitation

    tables = (User, Session, Account, ApplicationPassword, Invitation)
    return [list(table.objects.order_by("pk").values()) for table in tables]


@pytest.mark.parametrize("form", FORMS)
def test_a_form_from_elsewhere_changes_nothing(store, form):
    from mediacrawl.server.accounts import people

    maria = browser("maria")
    target = form.format(token=people.invite("maria", people.Rights()))
    before = state()
    wrong = {"csrfmiddlewaretoken": "x" * 64}
    right = {"csrfmiddlewaretoken": maria.token}
    for fields, headers in (({}, {}), (wrong, {}), (right, {"Origin": "https://evil.example"})):
        answer = maria.ask(target, fields=FORMS[form] | fields, headers=headers)
        assert (answer.status, "not from this server" in answer.text) == (400, True)
    assert state() == before


def test_each_form_of_the_pages_is_tried_above(store):
    maria = browser("maria")
    maria.post("/account/application-passwords", label="x")
    maria.post("/people/invite", days="7")
    forms = {form.action for answer in maria.walk().values() if answer.is_page for form in answer.parsed().forms}
    forms |= {form.action for form in browser().ask("/login").parsed().forms} - {""}
    assert forms - {"/search"} == {form for form in FORMS if "{" not in form}


def test_what_changes_something_is_for_forms_alone(store):
    maria = browser("maria")
    for form in FORMS:
        if form not in {"/login", "/invitation/{token}"}:
            assert maria.ask(form).status == 405, form


def test_an_application_password_changes_nothing(store):
    anna = browser("anna")
    made = anna.post("/account/application-passwords", label="get")
    password = re.search(r'class="secret">(.*?)<', made.text)[1]
    program = browser()
    before = state()
    for form, fields in FORMS.items():
        answer = program.ask(form, fields=fields, headers=basic("anna", password))
        assert answer.status == 400, form
    assert program.ask("/account", headers=basic("anna", password)).status in {302, 401}
    assert [state()[0], state()[2]] == [before[0], before[2]]


# --- one person's folder -----------------------------------------------------------------------------

# Each URL of a page, with the private paths put in. A page that is added has to be added here.
WAYS = {
    "/": ["/"],
    "/files/": [
        "/files/~berta/",
        "/files/~berta/?format=json",
        f"/files/~berta/{SECRET}.jpg",
        f"/files/~berta/{SECRET}%20folder/",
        f"/files/~berta/{SECRET}%20folder/{SECRET}.txt",
        "/files/%7Eberta/",
        "/files/~berta//",
        "/files/./~berta/",
        "/files/music/../~berta/",
        f"/files/music/../~berta/{SECRET}.jpg",
        "/files/~Berta/",
        "/files/~berta%2F",
        "/files/%E2%80%8D~berta/",
        "/files/",
        "/files/?format=json",
        "/files/?sort=-size&format=json",
    ],
    "/play/": [f"/play/~berta/{SECRET}.jpg", f"/play/~berta/{SECRET}%20folder/{SECRET}.txt", "/play/~anna/x.txt"],
    "/search": [
        f"/search?q={SECRET[:4]}",
        f"/search?q={SECRET[:4]}&in=~berta",
        f"/search?q={SECRET[:4]}&in=/~berta/",
    ],
    "/static/<str:name>": ["/static/~berta", "/static/..%2f~berta"],
    "/login": ["/login?next=/files/~berta/"],
    "/logout": ["/logout"],
    "/invitation/<str:token>": ["/invitation/~berta"],
    "/account": ["/account"],
    "/account/password": ["/account/password"],
    "/account/application-passwords": ["/account/application-passwords"],
    "/account/application-passwords/revoke": ["/account/application-passwords/revoke"],
    "/people": ["/people"],
    "/people/invite": ["/people/invite"],
    "/people/withdraw": ["/people/withdraw"],
    "/people/rights": ["/people/rights"],
    "/people/remove": ["/people/remove"],
}


@pytest.mark.parametrize("name", [None, "anna", "rita", "maria"])
def test_a_private_folder_is_invisible_to_all_others(store, name):
    assert set(WAYS) == patterns()
    person = browser(name)
    answers = person.walk()
    for way in chain(*WAYS.values()):
        answers[way] = person.ask(way)
        answers[f"post {way}"] = person.post(way)
        if not person.cookies or way == "/logout":
            person = browser(name)
    for target, answer in answers.items():
        assert SECRET.encode() not in answer.body, target
        for header, value in answer.headers:
            assert SECRET not in value or (header == "Location" and value.startswith("/login")), target


@pytest.mark.parametrize("name", ["anna", "rita", "maria"])
def test_a_private_folder_is_as_one_that_is_not_there(store, name):
    person = browser(name)
    for way in WAYS["/files/"] + WAYS["/play/"] + WAYS["/search"]:
        if "~berta" in way and "/." not in way:
            missing = person.ask(way.replace("~berta", "~nobody"))
            found = person.ask(way)
            assert (found.status, found.body) == (missing.status, missing.body), way
            assert [pair for pair in found.headers if pair[0] != "Set-Cookie"] == missing.headers, way


def test_the_owner_sees_a_private_folder(store):
    berta = browser("berta")
    answers = berta.walk()
    assert f"/play/~berta/{SECRET}.jpg" in answers
    assert answers[f"/files/~berta/{SECRET}.jpg"].body == f"{SECRET} of berta".encode()
    assert listed(berta) == (200, ["music", "~berta", "common.txt"])
    assert SECRET in berta.ask(f"/search?q={SECRET[:4]}").text


def test_who_may_not_read_sees_the_own_folder_alone(store):
    rita = browser("rita")
    assert listed(rita) == (200, [])
    assert rita.ask("/files/~rita/").status == 200  # made with its first file
    put(store, "~rita/x.jpg")
    assert listed(rita) == (200, ["~rita"])
    for target in ("/files/music/", "/play/music/song.mp3", "/files/music/song.mp3", "/search?q=song&in=music"):
        assert rita.ask(target).status == 403, target
    assert "0 found" in rita.ask("/search?q=song").text


# --- folders, players, files of the package ----------------------------------------------------------


def test_a_large_folder_has_pages(store):
    for number in range(1003):
        put(store, f"many/{number}.txt", "")
    anna = browser("anna")
    first = json.loads(anna.ask("/files/many/?format=json&sort=-name").body)
    assert (first["folder"], len(first["entries"]), first["entries"][0]["name"]) == ("many/", 1000, "1002.txt")
    rest = json.loads(anna.ask(f"/files/many/{first['next']}").body)
    assert ([entry["name"] for entry in rest["entries"]], rest["next"]) == (["2.txt", "1.txt", "0.txt"], None)
    page = anna.ask("/files/many/")
    following = next(link for link in links_of(page) if "after=" in link)
    assert "1,003 entries" in page.text
    assert [link for link in links_of(anna.ask(following)) if link.endswith(".txt")] == [
        f"/files/many/{number}.txt" for number in (1000, 1001, 1002)
    ]


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("application/json", True),
        ("application/json, text/html;q=0.9", True),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("*/*", False),
        ("", False),
        ("image/png", False),
        ("text/html;q=0.5, application/json;q=0.5", False),
    ],
)
def test_json_is_for_those_who_prefer_it(store, accept, is_json):
    answer = browser("anna").ask("/files/", headers={"Accept": accept})
    assert answer.header("Content-Type").startswith("application/json") == is_json
    assert "Accept" in (answer.header("Vary") or "")


def test_a_program_reads_folders_with_an_application_password(store):
    anna = browser("anna")
    label = "get on the laptop"
    made = anna.post("/account/application-passwords", label=label)
    password = re.search(r'class="secret">(.*?)<', made.text)[1]
    assert label in anna.ask("/account").text
    assert password not in anna.ask("/account").text
    program = browser()
    assert listed(program, headers=basic("anna", password)) == (200, ["music", "~anna", "common.txt"])
    wrong = program.ask("/files/?format=json", headers=basic("anna", "wrong") | {"Accept": "*/*"})
    assert (wrong.status, wrong.header("WWW-Authenticate")[:5]) == (401, "Basic")
    nobody = program.ask("/files/?format=json", headers={"Accept": "application/json"})
    assert (nobody.status, nobody.header("WWW-Authenticate")[:5]) == (401, "Basic")
    number = next(form.fields["number"] for form in anna.ask("/account").parsed().forms if "number" in form.fields)
    assert browser("berta").post("/account/application-passwords/revoke", number=number).status == 302
    assert listed(program, headers=basic("anna", password))[0] == 200  # it is not berta's
    anna.post("/account/application-passwords/revoke", number=number)
    assert listed(program, headers=basic("anna", password))[0] == 401


def test_a_player_fits_the_kind_of_the_file_and_leads_to_its_neighbours(store):
    for name in ("a.jpg", "b.mp4", "c.mp3", "d.avi", "e.txt", "f.svg"):
        put(store, f"mixed/{name}")
    anna = browser("anna")
    expected = {"a.jpg": "img", "b.mp4": "video", "c.mp3": "audio", "f.svg": "img"}
    for name, element in expected.items():
        page = anna.ask(f"/play/mixed/{name}")
        assert element in page.parsed().elements
        assert f"/files/mixed/{name}" in page.parsed().links
    assert "Files of this kind are not shown here" in anna.ask("/play/mixed/d.avi").text
    links = anna.ask("/play/mixed/c.mp3").parsed().links
    assert {"/play/mixed/b.mp4", "/play/mixed/f.svg"} <= set(links)
    shown = anna.ask("/files/mixed/").parsed().links
    assert {"/play/mixed/a.jpg", "/play/mixed/d.avi", "/files/mixed/e.txt"} <= set(shown)
    assert anna.ask("/play/mixed/missing.jpg").status == 404
    assert anna.ask("/play/mixed").status == 404


def test_a_file_without_a_player_is_opened_if_browsers_show_it_by_itself(store):
    anna = browser("anna")
    for name, opens in (("e.txt", True), ("d.avi", True), ("p.pdf", False), ("x.zip", False), ("u", False)):
        put(store, f"mixed/{name}")
        page = anna.ask(f"/play/mixed/{name}")
        assert page.parsed().links.count(f"/files/mixed/{name}") == 1 + opens, name
        assert (">Open</a>" in page.text) == opens
        sent = anna.ask(f"/files/mixed/{name}").header("Content-Disposition")
        assert sent.startswith("inline" if opens else "attachment")
    put(store, "mixed/a.jpg")
    assert ">Open</a>" not in anna.ask("/play/mixed/a.jpg").text


def test_a_search_with_too_many_results_says_that_there_are_more(store):
    for number in range(201):
        put(store, f"many/found {number}.txt", "")
    anna = browser("anna")
    page = anna.ask("/search?q=found")
    shown = [link for link in links_of(page) if "found%20" in link]
    assert shown == [f"/files/many/found%20{number}.txt" for number in range(200)]
    assert "These are the first 200 by name, and there are more." in page.text
    (store / "many/found 7.txt").unlink()
    page = anna.ask("/search?q=found")
    assert "there are more" not in page.text
    assert "200 found in" in page.text


def test_files_of_the_package_are_kept_by_browsers_as_long_as_they_are_the_same(store):
    anyone = browser()
    page = anyone.ask("/login")
    links = [link for link in page.parsed().links if link.startswith("/static/")]
    assert len(links) == 2
    for link in links:
        assert "immutable" in anyone.ask(link).header("Cache-Control")
        assert anyone.ask(link.partition("?")[0]).header("Cache-Control") == "no-cache"
    assert anyone.ask("/static/missing.css").status == 404


def test_errors_are_pages(store):
    anna = browser("anna")
    assert "Not found" in anna.ask("/missing").text
    assert "Not found" in anna.ask("/files/missing/").text
    assert "Not allowed" in anna.ask("/people").text
    assert anna.ask("/people").status == 403
    assert anna.ask("/files/", headers={"Host": "evil.example"}).status == 400
    assert anna.ask("/login", method="POST", headers={"CONTENT_LENGTH": str(2 << 20)}).status == 413


PROGRAM = {"Accept": "*/*"}
NAVIGATION = {"Accept": "*/*", "Sec-Fetch-Mode": "navigate"}


def same(answer):
    """An answer without what differs by chance."""
    return answer.status, answer.body, [pair for pair in answer.headers if pair[0] != "Set-Cookie"]


def test_a_file_that_is_not_there_is_the_page_of_a_folder_that_is_not_there(store):
    anna, rita = browser("anna"), browser("rita")
    for path in ("missing", "music/missing.mp3", f"~berta/{SECRET}.jpg", ".mediacrawl/people.sqlite3", "music//x"):
        for headers in ({}, NAVIGATION):
            assert same(anna.ask(f"/files/{path}", headers=headers)) == same(anna.ask("/files/missing/")), path
        told = anna.ask(f"/files/{path}", headers=PROGRAM)
        assert (told.status, told.body) == (404, b"There is no such file.\n"), path
        assert anna.ask(f"/files/{path}", headers={"Sec-Fetch-Mode": "no-cors"}).body == told.body, path
    assert (
        same(rita.ask("/files/music/song.mp3"))
        == same(rita.ask("/files/music/missing"))
        == same(rita.ask("/files/music/"))
    )
    assert rita.ask("/files/music/song.mp3", headers=PROGRAM).body == b"You may not read the common folder.\n"
    head = anna.ask("/files/missing", method="HEAD")
    assert (head.status, head.is_page) == (404, True)
    assert anna.ask("/files/common.txt", method="POST").status == 405


def test_a_folder_that_is_named_as_a_file_is_led_to(store):
    put(store, "a folder é/x.txt")
    assert browser("anna").ask("/files/a%20folder%20%C3%A9").header("Location") == "/files/a%20folder%20%C3%A9/"
    assert browser("anna").ask("/files/music", headers=PROGRAM).status == 404


@pytest.fixture
def visitor(store, monkeypatch):
    """A browser without a login at a public server."""
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIHandler

    from mediacrawl.server.accounts.access import Access
    from mediacrawl.server.application import WsgiApplication

    public = replace(configured(), is_public=True)
    monkeypatch.setattr(settings, "SERVE_OPTIONS", public)
    application = WsgiApplication(public, WSGIHandler(), (access := Access(public)).refuse_in_thread)
    yield Browser(application)
    application.close()
    access.close()


def test_a_visitor_of_a_public_server_is_led_to_the_login_for_all_of_a_person(store, visitor):
    for path in ("~anna/own.txt", "~anna/missing", "~anna", "~anna/", "~nobody/own.txt", "~nobody/", "~"):
        asked = visitor.ask(f"/files/{path}")
        assert (asked.status, asked.header("Location")) == (302, f"/login?next=/files/{path}"), path
        assert asked.body == visitor.ask("/files/~nobody").body
    assert visitor.ask("/files/~anna/own.txt", headers=PROGRAM).status == 404
    assert visitor.ask("/files/~nobody/own.txt", headers=PROGRAM).status == 404
    assert visitor.ask("/files/common.txt").body == b"content"
    assert "Not found" in visitor.ask("/files/missing").text


def test_an_error_of_the_server_is_a_page_that_tells_nothing(store, monkeypatch):
    from mediacrawl.server.pages import folder_views

    def fail(*_arguments, **_named):
        raise LookupError("the inner reason")

    monkeypatch.setattr(folder_views, "list_folder", fail)
    failed = browser("anna").ask("/files/")
    assert (failed.status, "Its log says why" in failed.text, "inner reason" in failed.text) == (500, True, False)


@pytest.mark.parametrize(
    ("module", "name"),
    [("pages.folder_views", "list_folder"), ("accounts.sessions", "log_in")],
    ids=["a folder", "a login"],
)
@pytest.mark.parametrize(
    "error", [OSError(5, "I/O error"), OperationalError("disk is full"), DatabaseError("malformed")]
)
def test_an_error_of_the_machine_is_one_line_and_may_pass(store, monkeypatch, caplog, module, name, error):
    anna = browser("anna")

    def fail(*_arguments, **_named):
        raise error

    monkeypatch.setattr(f"mediacrawl.server.{module}.{name}", fail)
    failed = anna.ask("/files/") if name == "list_folder" else browser().log_in("anna", PASSWORD)
    assert (failed.status, failed.header("Retry-After"), str(error) in failed.text) == (503, "10", False)
    (record,) = [record for record in caplog.records if record.name == "django.request"]
    assert record.getMessage() == f"{'/files/' if name == 'list_folder' else '/login'} cannot be answered: {error}"
    assert not record.exc_info


def test_a_fault_of_the_program_has_its_traceback_in_the_log(store, monkeypatch, caplog):
    from mediacrawl.server.accounts import people

    def fail(*_arguments, **_named):
        raise IntegrityError("UNIQUE constraint failed")

    monkeypatch.setattr(people, "application_passwords", fail)
    failed = browser("anna").ask("/account")
    assert (failed.status, failed.header("Retry-After")) == (500, None)
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_an_application_password_reads_also_if_its_use_cannot_be_noted(store, monkeypatch):
    from django.db.models import QuerySet

    from mediacrawl.server.accounts.people import make_application_password

    def fail(*_arguments, **_named):
        raise OperationalError("database or disk is full")

    headers = basic("anna", make_application_password("anna", "x"))
    monkeypatch.setattr(QuerySet, "update", fail)
    assert browser().ask("/files/common.txt", headers=headers).body == b"content"


@pytest.mark.parametrize("accept", ["text/html; a*=bogus''%41", "application/json" + ';"' * 3000, "a," * 4000])
def test_an_accept_field_that_cannot_be_parsed_is_a_page(store, accept):
    answer = browser("anna").ask("/files/", headers={"Accept": accept})
    assert (answer.status, answer.is_page) == (200, True)


def test_after_the_login_no_form_is_repeated(store):
    anna = browser()
    asked = anna.post("/account/password", current="x")
    assert (asked.status, asked.header("Location")) == (302, "/login?next=/files/")


def test_what_is_refused_is_no_error_of_the_log(store, caplog):
    assert browser("anna").ask("/search?" + "a=b&" * 2000).status == 400
    assert browser("anna").ask("/files/", headers={"Host": "localhost.."}).status == 400
    assert caplog.text == ""


def test_an_invitation_is_in_no_log_whatever_handlers_there_are(store, caplog, monkeypatch):
    from mediacrawl.server.accounts import people

    token = people.invite(None, people.Rights(), 1)
    guest = browser()
    assert guest.post(f"/invitation/{token}", name="otto", password="short", again="short").status == 400
    assert guest.ask(f"/invitation/{token}x").status == 404

    def fail(*_arguments, **_named):
        raise LookupError("the inner reason")

    monkeypatch.setattr(people, "open_invitation", fail)
    assert guest.ask(f"/invitation/{token}").status == 500
    assert "/invitation/***" in caplog.text
    assert token not in caplog.text


def test_two_searches_run_at_a_time(store):
    from mediacrawl.server.pages.folder_views import _searches

    anna = browser("anna")
    with _searches, _searches:
        busy = anna.ask("/search?q=song")
    assert (busy.status, busy.header("Retry-After")) == (503, "3")
    assert anna.ask("/search?q=song").status == 200


# --- people ------------------------------------------------------------------------------------------


def test_a_manager_invites_a_person(store):
    maria = browser("maria")
    made = maria.post("/people/invite", days="3", can_read="on", can_upload="on", quota="1.5")
    link = re.search(r'class="secret">http://localhost(/invitation/.*?)<', made.text)[1]
    assert "Open invitation" in maria.ask("/people").text
    guest = browser()
    assert guest.ask(link).status == 200
    assert guest.post(link, name="otto", password="a long one", again="another").status == 400
    weak = guest.post(link, name="otto", password="short", again="short")
    assert (weak.status, "short" in weak.text.partition("role")[2]) == (400, True)
    taken = guest.post(link, name="anna", password="correct horse", again="correct horse")
    assert (taken.status, "taken" in taken.text) == (400, True)
    assert guest.post(link, name="Otto ", password="correct horse", again="correct horse").status == 302
    assert guest.ask("/files/").status == 200
    assert "up to 1.5" in guest.ask("/account").text.replace("1.50", "1.5")
    used = browser().ask(link)
    assert (used.status, "Ask for a new one" in used.text) == (404, True)
    assert "Open invitation" not in maria.ask("/people").text


def test_a_manager_withdraws_an_invitation(store):
    maria = browser("maria")
    made = maria.post("/people/invite", days="3")
    link = re.search(r'class="secret">http://localhost(/invitation/.*?)<', made.text)[1]
    number = next(form.fields["number"] for form in maria.ask("/people").parsed().forms if "number" in form.fields)
    assert maria.post("/people/withdraw", number=number).status == 302
    assert browser().ask(link).status == 404


def test_a_manager_changes_rights_and_removes_a_person(store):
    maria, anna = browser("maria"), browser("anna")
    assert anna.ask("/files/music/").status == 200
    assert maria.post("/people/rights", name="anna", can_upload="on", quota="").status == 302
    assert anna.ask("/files/music/").status == 403
    assert anna.ask("/files/music/song.mp3").status == 403
    assert maria.post("/people/remove", name="anna").status == 302
    assert anna.ask("/files/").status == 302
    assert (store / "~anna/own.txt").exists()
    for wrong in (maria.post("/people/remove", name="maria"), maria.post("/people/rights", name="maria")):
        assert (wrong.status, "nobody but maria may manage" in wrong.text) == (400, True)
    assert maria.post("/people/rights", name="nobody").status == 400
    assert maria.post("/people/rights", name="berta", quota="x").status == 400
    assert maria.post("/people/remove").status == 400


def test_others_manage_nobody(store):
    anna = browser("anna")
    before = state()[0]
    for form, fields in FORMS.items():
        if form.startswith("/people"):
            assert anna.post(form, **fields).status == 403, form
            assert browser().post(form, **fields).status in {302, 401}, form
    assert [row["username"] for row in state()[0]] == [row["username"] for row in before]


def test_a_new_password_ends_the_other_sessions(store):
    here, there = browser("anna"), browser("anna")
    wrong = here.post("/account/password", current="x", password="a new password", again="a new password")
    assert (wrong.status, "is wrong" in wrong.text) == (403, True)
    assert here.post("/account/password", current=PASSWORD, password="short", again="short").status == 400
    assert here.post("/account/password", current=PASSWORD, password="long enough", again="x").status == 400
    done = here.post("/account/password", current=PASSWORD, password="a new password", again="a new password")
    assert done.header("Location") == "/account?done=password"
    assert "is changed" in here.ask("/account?done=password").text
    assert there.ask("/files/").status == 302
    assert there.ask("/files/common.txt").status == 302
    assert browser().log_in("anna", "a new password").status == 302
