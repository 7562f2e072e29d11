"""Who has sent a request for a file: sessions, application passwords, and how quickly they cease to hold."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import threading

import pytest
from people_set_up import HERE, PASSWORD, options, session_of  # noqa: F401

from mediacrawl.server.accounts.access import PERSON_KEPT_S, Access
from mediacrawl.server.accounts.rights import Rights
from mediacrawl.server.application import RsgiApplication, WsgiApplication
from mediacrawl.server.options import ServeOptions
from mediacrawl.server.site import ResourceRequest

BROWSER = {"accept": "text/html,*/*;q=0.8", "sec-fetch-mode": "navigate"}


@pytest.fixture
def people(options):  # noqa: F811
    from mediacrawl.server.accounts import people

    for name in ("anna", "bert"):
        people.add_person(name, PASSWORD)
    return people


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Asked:
    """An Access, asked in both ways; `looked_up` counts the look-ups."""

    def __init__(self, options, monkeypatch):  # noqa: F811
        from mediacrawl.server.accounts import sessions

        self.clock = Clock()
        self.access = Access(options, clock=self.clock)
        self.looked_up = 0
        for name in ("person_of_session", "person_of_authorization"):
            monkeypatch.setattr(sessions, name, self._counted(getattr(sessions, name)))

    def _counted(self, function):
        def counted(*arguments):
            self.looked_up += 1
            return function(*arguments)

        return counted

    def __call__(self, path="a.jpg", **fields):
        """Return the status of the refusal, 200 if there is none."""
        response = self.response(path, **fields)
        return response.status if response else 200

    def response(self, path="a.jpg", **fields):
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        request = ResourceRequest("GET", path, fields.get, HERE)
        found = asyncio.run(self.access.refuse(request))
        assert self.access.refuse_in_thread(request) == found
        return found


@pytest.fixture
def asked(options, people, monkeypatch):  # noqa: F811
    one = Asked(options, monkeypatch)
    yield one
    one.access.close()


@pytest.fixture
def public(options, people, monkeypatch):  # noqa: F811
    one = Asked(ServeOptions(store=options.store, is_public=True), monkeypatch)
    yield one
    one.access.close()


def basic(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


# --- who may read what -------------------------------------------------------------------------------


def test_without_a_login_nothing_is_readable(asked):
    assert {path: asked(path) for path in ("a.jpg", "~anna/a.jpg", "~nobody/a.jpg", "..")} == dict.fromkeys(
        ("a.jpg", "~anna/a.jpg", "~nobody/a.jpg", ".."), 401
    )
    assert asked.looked_up == 0


def test_a_session_reads_the_common_folder_and_its_own(asked):
    _, cookie = session_of("anna")
    found = {path: asked(path, cookie=cookie) for path in ("a.jpg", "~anna/a", "~bert/a", "~Anna/a", "x/../~bert/a")}
    assert found == {"a.jpg": 200, "~anna/a": 200, "~bert/a": 404, "~Anna/a": 404, "x/../~bert/a": 404}
    assert asked.looked_up == 1


def test_a_public_server_shows_the_common_folder_alone(public):
    assert {path: public(path) for path in ("a.jpg", "~anna/a.jpg")} == {"a.jpg": 200, "~anna/a.jpg": 404}
    assert public("a.jpg", authorization=basic("anna", "wrong")) == 401
    _, cookie = session_of("anna")
    assert public("~anna/a.jpg", cookie=cookie) == 200


def test_without_the_right_to_read_the_own_folder_is_left(asked, people):
    people.set_rights("anna", Rights(can_read=False))
    _, cookie = session_of("anna")
    assert [asked(path, cookie=cookie) for path in ("a.jpg", "~anna/a", "~bert/a")] == [403, 200, 404]


def test_an_application_password_reads_as_its_person(asked, people):
    field = basic("anna", people.make_application_password("anna", "curl"))
    assert [asked(path, authorization=field) for path in ("a.jpg", "~anna/a", "~bert/a")] == [200, 200, 404]
    assert asked.looked_up == 1


@pytest.mark.parametrize(
    "field",
    [
        basic("anna", PASSWORD),  # for browsers alone: it would be sent with each request, and hashed
        basic("anna", "x"),
        basic("nobody", "x"),
        "Basic",
        "Basic !!!",
        "basic " + base64.b64encode(b"\xff:x").decode(),
        "Basic " + base64.b64encode(b"nocolon").decode(),
        "Basic " + "A" * 100_000,
        "Bearer x",
        "\0",
        "",
    ],
)
def test_wrong_credentials_are_401(asked, field):
    response = asked.response(authorization=field)
    assert response.status == 401
    assert dict(response.headers)["WWW-Authenticate"].startswith("Basic realm=")
    assert dict(response.headers)["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "\0",
        "mediacrawl_session_8000=",
        "mediacrawl_session_8000=" + "a" * 32,
        "mediacrawl_session_8000=" + "A" * 32,
        "mediacrawl_session_8000=" + "a" * 33,
        "mediacrawl_session_8000=\"'; DROP TABLE auth_user",
        "mediacrawl_session_8001={}",
        "xmediacrawl_session_8000={}",
    ],
)
def test_a_cookie_of_something_else_is_no_session(asked, cookie):
    key = session_of("anna")[0].session.session_key
    assert asked(cookie=cookie.format(key) if "{}" in cookie else cookie) == 401


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (BROWSER, 302),
        ({"accept": "text/html"}, 302),
        ({"accept": "*/*"}, 401),
        ({}, 401),
        ({"accept": "*/*", "sec-fetch-mode": "no-cors"}, 403),  # a video on a page whose session has ended
        ({**BROWSER, "authorization": basic("a", "b")}, 401),
    ],
)
def test_a_browser_is_led_to_the_login_and_a_program_is_told(asked, fields, status):
    assert asked(**fields) == status


def test_the_login_leads_back_and_no_path_gets_a_header_in(asked):
    response = asked.response("a b/\r\nX: y/ä?&\udcff.jpg", **BROWSER)
    expected = "/login?next=/files/a%2520b/%250D%250AX%253A%2520y/%25C3%25A4%253F%2526%25FF.jpg"
    assert dict(response.headers)["Location"] == expected


# --- how long it holds -------------------------------------------------------------------------------


def test_a_person_is_looked_up_once_for_some_seconds(asked):
    _, cookie = session_of("anna")
    assert [asked(cookie=cookie) for _ in range(20)] == [200] * 20
    assert asked.looked_up == 1
    asked.clock.now += PERSON_KEPT_S
    assert asked(cookie=cookie) == 200
    assert asked.looked_up == 2


REVOCATIONS = {
    "logout": lambda people, request: __import__(
        "mediacrawl.server.accounts.sessions"
    ).server.accounts.sessions.log_out(request),
    "new password": lambda people, request: people.change_password("anna", "battery staple"),
    "removal": lambda people, request: people.remove_person("anna"),
    "expiry": lambda people, request: request.session.delete(),
}


@pytest.mark.parametrize("how", REVOCATIONS)
def test_a_session_ends_at_once(asked, people, how):
    request, cookie = session_of("anna")
    _, other = session_of("bert")
    assert [asked(cookie=cookie), asked(cookie=other)] == [200, 200]
    REVOCATIONS[how](people, request)
    assert [asked(cookie=cookie), asked(cookie=other)] == [401, 200]


def test_other_sessions_end_with_a_new_password_and_the_own_one_stays(asked, people):
    from mediacrawl.server.accounts import sessions

    request, cookie = session_of("anna")
    _, other = session_of("anna")
    assert [asked(cookie=cookie), asked(cookie=other)] == [200, 200]
    people.change_password("anna", "battery staple")
    sessions.keep_logged_in(request, people.find_person("anna"))
    request.session.save()
    new = cookie.replace(cookie.split("=")[2][:32], request.session.session_key)
    assert [asked(cookie=new), asked(cookie=other)] == [200, 401]


def test_an_application_password_ends_at_once(asked, people):
    field = basic("anna", people.make_application_password("anna", "curl"))
    assert asked(authorization=field) == 200
    people.revoke_application_password("anna", people.application_passwords("anna")[0].number)
    assert asked(authorization=field) == 401


def test_rights_hold_at_once(asked, people):
    _, cookie = session_of("anna")
    assert asked(cookie=cookie) == 200
    people.set_rights("anna", Rights(can_read=False))
    assert asked(cookie=cookie) == 403
    people.set_rights("anna", Rights())
    assert asked(cookie=cookie) == 200


def test_what_another_process_revokes_ends_at_once(asked, options):  # noqa: F811
    _, cookie = session_of("anna")
    assert asked(cookie=cookie) == 200
    code = (
        "import sys; from pathlib import Path\n"
        "from mediacrawl.server.accounts.configuration import set_up\n"
        "from mediacrawl.server.options import ServeOptions\n"
        "set_up(ServeOptions(store=Path(sys.argv[1])))\n"
        "from mediacrawl.server.accounts import people\n"
        "people.remove_person('anna')\n"
    )
    subprocess.run([sys.executable, "-c", code, options.store], check=True)
    assert asked(cookie=cookie) == 401


def test_logins_and_failures_of_others_leave_it_known(asked, people):
    _, cookie = session_of("anna")
    assert asked(cookie=cookie) == 200
    session_of("bert")
    people.authenticate("bert", "wrong", HERE)
    people.authenticate("bert", PASSWORD, HERE)
    people.add_person("carl", PASSWORD)
    people.invite("anna", Rights())
    assert asked(cookie=cookie) == 200
    assert asked.looked_up == 1


def test_a_look_up_that_began_before_a_revocation_does_not_outlive_it(asked, people, monkeypatch):
    """The answer was read before; it is stored after."""
    from mediacrawl.server.accounts import sessions

    _, cookie = session_of("anna")
    person_of_session = sessions.person_of_session

    def slow(key):
        found = person_of_session(key)
        people.change_password("anna", "battery staple")
        return found

    monkeypatch.setattr(sessions, "person_of_session", slow)
    request = ResourceRequest("GET", "a.jpg", {"cookie": cookie}.get, HERE)
    asked.access.refuse_in_thread(request)
    monkeypatch.setattr(sessions, "person_of_session", person_of_session)
    assert asked(cookie=cookie) == 401


def test_requests_at_once_wait_for_one_look_up_and_others_do_not_wait(asked, monkeypatch):
    """The event loop serves known people while a look-up takes its time."""
    from mediacrawl.server.accounts import sessions

    _, known = session_of("bert")
    _, cookie = session_of("anna")
    assert asked(cookie=known) == 200
    go_on, original, calls = threading.Event(), sessions.person_of_session, []

    def slow(key):
        calls.append(key)
        assert go_on.wait(60)
        return original(key)

    monkeypatch.setattr(sessions, "person_of_session", slow)

    async def run():
        fields = {"cookie": cookie}
        slow_ones = [
            asyncio.ensure_future(asked.access.refuse(ResourceRequest("GET", "a.jpg", fields.get, HERE)))
            for _ in range(50)
        ]
        await asyncio.sleep(0)
        slow_ones[0].cancel()  # its client has gone
        assert await asked.access.refuse(ResourceRequest("GET", "a.jpg", {"cookie": known}.get, HERE)) is None
        assert not any(one.done() for one in slow_ones[1:])
        go_on.set()
        return await asyncio.gather(*slow_ones[1:])

    assert asyncio.run(run()) == [None] * 49
    assert len(calls) == 1


def test_what_is_kept_has_a_limit(asked, monkeypatch):
    monkeypatch.setattr("mediacrawl.server.accounts.access._MOST_KEPT", 100)
    for count in range(300):
        asked.access.refuse_in_thread(
            ResourceRequest("GET", "a", {"authorization": basic("a", str(count))}.get, HERE)
        )
    assert len(asked.access._known) == 100


def test_a_database_that_cannot_be_read_is_503(asked, caplog):
    asked.access._db.close()
    _, cookie = session_of("anna")
    assert asked(cookie=cookie) == 503
    assert "cannot read the database of people" in caplog.text


@pytest.mark.parametrize("is_rsgi", [True, False])
def test_the_end_of_an_application_closes_the_database_of_people(options, people, is_rsgi):  # noqa: F811
    before = set(threading.enumerate())
    access = Access(options)
    request = ResourceRequest("GET", "a", {"authorization": basic("anna", "wrong")}.get, HERE)
    assert asyncio.run(access.refuse(request)).status == 401
    assert set(threading.enumerate()) - before
    if is_rsgi:
        RsgiApplication(options, None, access.refuse, at_end=access.close).__rsgi_del__(None)
    else:
        WsgiApplication(options, None, access.refuse_in_thread, at_end=access.close).close()
    assert set(threading.enumerate()) <= before
    assert access.refuse_in_thread(request).status == 503


# --- who has sent a request that changes something -----------------------------------------------------


def identified(asked, **fields):
    request = ResourceRequest("POST", "", {name.replace("_", "-"): value for name, value in fields.items()}.get, HERE)
    return asyncio.run(asked.access.identify(request))


def test_a_person_is_identified_by_session_and_by_application_password(asked, people):
    people.set_rights("anna", Rights(can_upload=True, quota_bytes=5))
    _, cookie = session_of("anna")
    secret = people.make_application_password("anna", "tus")
    for fields, is_basic in (({"cookie": cookie}, False), ({"authorization": basic("anna", secret)}, True)):
        found = identified(asked, **fields)
        assert (found.person.name, found.person.can_upload, found.person.quota_bytes) == ("anna", True, 5)
        assert (found.is_basic, found.refusal) == (is_basic, None)


def test_nobody_is_refused_also_where_everybody_may_read(asked, public):
    for one in (asked, public):
        assert identified(one).refusal.status == 401
        assert identified(one, authorization=basic("anna", "x")).refusal.status == 401
        assert identified(one, sec_fetch_mode="cors").refusal.status == 403
        assert identified(one).person is None
