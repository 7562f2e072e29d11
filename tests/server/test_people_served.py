"""Logins before real servers. The tests are another process: what they revoke ends at once in the server, too."""

from __future__ import annotations

import base64

import pytest
from people_set_up import PASSWORD, configured, options, session_of  # noqa: F401
from serving import FOR_PEOPLE, Server

BROWSER = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
PATHS = [
    "/a.jpg",
    "/~anna/a.jpg",
    "/~bert/a.jpg",
    "/~Anna/a.jpg",
    "/%7Eanna/a.jpg",
    "/x/../~anna/a.jpg",
    "//~anna/a.jpg",
]


@pytest.fixture(scope="module", params=FOR_PEOPLE)
def server(request):
    with Server(request.param, configured().store, commands=FOR_PEOPLE) as running:
        yield running


@pytest.fixture
def people(options):  # noqa: F811
    from mediacrawl.server.accounts import people

    for name in ("anna", "bert"):
        people.add_person(name, PASSWORD)
    for folder in ("~anna", "~bert"):
        (options.store / folder).mkdir()
        (options.store / folder / "a.jpg").write_bytes(folder.encode())
    (options.store / "a.jpg").write_bytes(b"common")
    return people


def statuses(server, headers):
    return {path: server.ask(path, headers)[0] for path in PATHS}


def test_each_person_sees_the_common_folder_and_their_own(server, people):
    nowhere = dict.fromkeys(PATHS, 404)
    assert statuses(server, {}) == dict.fromkeys(PATHS, 401)
    anna, bert = ({"Cookie": session_of(name)[1]} for name in ("anna", "bert"))
    common = nowhere | {"/a.jpg": 200}
    assert statuses(server, anna) == common | {"/~anna/a.jpg": 200, "/%7Eanna/a.jpg": 200}
    assert statuses(server, bert) == common | {"/~bert/a.jpg": 200}
    assert server.ask("/~anna/a.jpg", anna)[2] == b"~anna"


def test_a_program_logs_in_with_an_application_password(server, people):
    secret = people.make_application_password("anna", "curl")
    field = {"Authorization": "Basic " + base64.b64encode(f"anna:{secret}".encode()).decode()}
    assert server.ask("/~anna/a.jpg", field | {"Range": "bytes=1-4"})[::2] == (206, b"anna")
    people.revoke_application_password("anna", people.application_passwords("anna")[0].number)
    status, headers, _ = server.ask("/~anna/a.jpg", field)
    assert (status, headers["www-authenticate"]) == (401, 'Basic realm="mediacrawl", charset="UTF-8"')


def test_a_session_ends_at_once_with_logout_and_with_removal(server, people):
    from mediacrawl.server.accounts import sessions

    request, first = session_of("anna")
    _, second = session_of("anna")
    connection = server.connection()
    for fields in ({"Cookie": first}, {"Cookie": second}):
        assert server.ask("/a.jpg", fields, connection=connection)[0] == 200
    sessions.log_out(request)
    assert [server.ask("/a.jpg", {"Cookie": one}, connection=connection)[0] for one in (first, second)] == [401, 200]
    people.remove_person("anna")
    assert server.ask("/a.jpg", {"Cookie": second}, connection=connection)[0] == 401
    connection.close()


def test_a_browser_is_led_to_the_login(server, people):
    status, headers, _ = server.ask("/~anna/%0D%0AX:%20y", BROWSER)
    assert (status, headers["location"]) == (302, "/login?next=/files/~anna/%250D%250AX%253A%2520y")
    assert "x" not in headers
