"""Which part of the server a request reaches, and the requests that none sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediacrawl.server.hosts import HostCheck
from mediacrawl.server.options import ServeOptions
from mediacrawl.server.routing import FORM_TYPE, MOST_BODY_BYTES, Part, RequestHead, Router, page_cookies

OWN = {"localhost", "127.0.0.1", "[::1]"}


def options(**more):
    return ServeOptions(store=Path("/store"), **more)


def head(path, method="GET", host="localhost:8000", peer="127.0.0.1", query="", **fields):
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return RequestHead(
        method=method, path=path, peer=peer, scheme="http", host=host, field=named.get, names=named, query=query
    )


@pytest.mark.parametrize(
    ("path", "part", "found"),
    [
        ("/files/a.jpg", Part.FILES, "a.jpg"),
        ("/files/a/b c.jpg", Part.FILES, "a/b c.jpg"),
        ("/files//a.jpg", Part.FILES, "/a.jpg"),  # of which there is no file
        ("/files/../x", Part.FILES, "../x"),
        ("/files/", Part.PAGES, "/files/"),
        ("/files/a/", Part.PAGES, "/files/a/"),
        ("/files", Part.PAGES, "/files"),
        ("/filesx/a.jpg", Part.PAGES, "/filesx/a.jpg"),
        ("//files/a.jpg", Part.PAGES, "//files/a.jpg"),
        ("/./files/a.jpg", Part.PAGES, "/./files/a.jpg"),
        ("/FILES/a.jpg", Part.PAGES, "/FILES/a.jpg"),
        ("/play/a.mp4", Part.PAGES, "/play/a.mp4"),
        ("/", Part.PAGES, "/"),
        ("/healthz/", Part.PAGES, "/healthz/"),
    ],
)
def test_a_path_below_files_is_a_file_and_each_other_one_a_page(path, part, found):
    for prefix in ("", "/media", "/a/b"):
        route = Router(options(prefix=prefix)).route(head(prefix + path))
        assert (route.response, route.part, route.path) == (None, part, found)


@pytest.mark.parametrize(
    "path", ["/files/a.jpg", "/mediafiles/a.jpg", "/mediax/files/a.jpg", "//media/files/a", "/x"]
)
def test_nothing_is_outside_the_prefix(path):
    assert Router(options(prefix="/media")).route(head(path)).response.status == 404


def test_the_first_page_is_found_without_the_prefix():
    for path in ("/", "/media"):
        response = Router(options(prefix="/media")).route(head(path)).response
        assert (response.status, dict(response.headers)["Location"]) == (308, "/media/")


@pytest.mark.parametrize("path", ["*", "", "/a\0b", "/files/a\0.jpg", "files/a.jpg"])
def test_a_malformed_path_reaches_nothing(path):
    assert Router(options()).route(head(path)).response.status in {400, 404}


def test_health_needs_no_name_and_no_tls():
    router = Router(options(trusted_proxies=("10.0.0.1",)))
    assert router.route(head("/healthz", host="10.1.2.3:8000")).response.status == 200
    assert router.route(head("/healthz", host=None, method="HEAD")).response.status == 200
    assert router.route(head("/healthz", method="POST")).response.status == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get", "CONNECT"])
def test_pages_have_three_methods(method):
    response = Router(options()).route(head("/login", method=method)).response
    assert (response.status, dict(response.headers)["Allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 0),
        ({"content_length": "0"}, 0),
        ({"content_length": "12"}, 12),
        ({"content_length": str(MOST_BODY_BYTES)}, MOST_BODY_BYTES),
        ({"content_length": str(MOST_BODY_BYTES + 1)}, 413),
        ({"content_length": "9" * 5000}, 413),
        ({"content_length": "-1"}, 400),
        ({"content_length": "+1"}, 400),
        ({"content_length": "1, 1"}, 400),
        ({"content_length": "٣"}, 400),
        ({"content_length": "1_0"}, 400),
        ({"transfer_encoding": "chunked"}, 411),
        ({"transfer_encoding": "chunked", "content_length": "5"}, 411),
    ],
)
def test_a_form_has_a_length_that_is_not_too_large(fields, expected):
    route = Router(options()).route(head("/login", method="POST", content_type=FORM_TYPE, **fields))
    assert (route.response.status if route.response else route.length) == expected


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"content_type": FORM_TYPE}, None),
        ({"content_type": f"{FORM_TYPE.title()} ; charset=hex"}, None),
        ({}, 415),
        ({"content_type": "multipart/form-data; boundary=x"}, 415),
        ({"content_type": "application/json"}, 415),
        ({"content_type": FORM_TYPE, "accept": "a" * 8192}, None),
        ({"content_type": FORM_TYPE, "accept": "a" * 8193}, 431),
        ({"content_type": FORM_TYPE + ";" * 8193}, 431),
    ],
)
def test_a_page_takes_forms_alone_and_fields_of_a_usual_length(fields, status):
    route = Router(options()).route(head("/login", method="POST", content_length="1", **fields))
    assert (route.response and route.response.status) == status
    is_long = any(len(value) > 8192 for value in fields.values())
    route = Router(options()).route(head("/login", **fields))
    assert (route.response is not None) == is_long


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("a=1; b=2", "a=1; b=2"), ('a="1"', 'a="1"'), ('a="\\"\\""; b=2; c=\\', " b=2"), ("", "")],
)
def test_a_cookie_that_takes_long_to_unquote_reaches_no_page(sent, kept):
    assert page_cookies(sent) == kept


HOSTS = [
    ("localhost", True),
    ("LOCALHOST:8000", True),
    ("localhost.", True),
    ("127.0.0.1:1", True),
    ("[::1]:8000", True),
    ("evil.example", False),
    ("localhost.evil.example", False),
    ("evil.example@localhost", False),
    ("localhost:80:80", False),
    ("localhost, evil.example", False),
    ("localhost/", False),
    ("localhost:port", False),
    ("local host", False),
    ("", False),
    (None, False),
    ("::1", False),
    ("127.0.0.1\r\nX: y", False),
    ("x" * 100_000, False),
]


@pytest.mark.parametrize(("host", "accepted"), HOSTS)
def test_a_server_answers_for_its_own_names(host, accepted):
    assert HostCheck(options()).accepts(host) == accepted
    route = Router(options()).route(head("/files/a.jpg", host=host))
    assert (route.response is None) == accepted
    if not accepted:
        assert route.response.status == 400
        assert b"\r" not in b"".join(route.response.body)


@pytest.mark.parametrize(
    ("more", "accepted", "refused"),
    [
        ({"host": "192.0.2.1"}, {"192.0.2.1:8000", *OWN}, {"192.0.2.2", "media.example"}),
        ({"host": "2001:db8::1"}, {"[2001:db8::1]", *OWN}, {"[2001:db8::2]"}),
        ({"host": "0.0.0.0"}, {"192.0.2.1", "[2001:db8::1]:80", *OWN}, {"media.example", "192.0.2.999", "192.0.2"}),
        ({"host": "::"}, {"192.0.2.1", "[2001:db8::1]:80", *OWN}, {"media.example"}),
        ({"hosts": ("media.example",)}, {"media.example:443", "MEDIA.example"}, {"a.media.example", *OWN}),
        ({"hosts": (".example",)}, {"media.example", "example"}, {"evilexample", "localhost"}),
        ({"hosts": ("*",)}, {"anything.example"}, {"any thing"}),
        ({"hosts": ("media.example",), "host": "0.0.0.0"}, {"media.example"}, {"192.0.2.1"}),
    ],
)
def test_the_names_depend_on_the_options(more, accepted, refused):
    check = HostCheck(options(**more))
    assert {host for host in accepted | refused if check.accepts(host)} == accepted


def test_a_browser_that_the_proxy_has_met_without_tls_is_sent_to_tls():
    router = Router(options(trusted_proxies=("10.0.0.1",), hosts=("media.example",)))
    told = {"peer": "10.0.0.1", "host": "media.example", "x_forwarded_proto": "http"}
    response = router.route(head("/files/a b.jpg", query="x=1", **told)).response
    assert (response.status, dict(response.headers)["Location"]) == (308, "https://media.example/files/a%20b.jpg?x=1")
    assert router.route(head("/login", method="POST", **told)).response.status == 400
    assert router.route(head("/login", peer="127.0.0.1", host="media.example")).response.status == 400
    assert router.route(head("/login", **(told | {"x_forwarded_proto": "https"}))).response is None


def test_options_survive_the_way_to_another_process():
    told = options(
        tls_cert=Path("/a b"), hosts=("a", "ü"), trusted_proxies=("unix",), is_public=True, accel_location="/x"
    )
    assert ServeOptions.from_json(told.as_json()) == told
    assert "\n" not in told.as_json()
    assert told.url == "https://127.0.0.1:8000/"
    assert options(host="::", prefix="/m").url == "http://localhost:8000/m/"
    assert options(host="fd00::1").url == "http://[fd00::1]:8000/"


def test_a_long_name_is_not_cut_before_it_is_checked():
    domain = ".media.example"
    name = "a" * (300 - len(domain)) + domain
    check = HostCheck(options(hosts=(domain,)))
    assert [check.accepts(host) for host in (name, f"{name}.evil.example", f"{name}/")] == [True, False, False]


def test_no_character_of_a_query_gets_into_a_location():
    told = head("/files/", peer="10.0.0.1", host="localhost", query="q=é\u20ac&a=%41", x_forwarded_proto="http")
    response = Router(options(trusted_proxies=("10.0.0.1",))).route(told).response
    assert dict(response.headers)["Location"] == "https://localhost/files/?q=%C3%A9%E2%82%AC&a=%41"
