"""Which headers go where, and how an answer's head is read; over a transport that is a script."""

from __future__ import annotations

import pytest
from fetching import Hurry

from mediacrawl.download.progress import Progress
from mediacrawl.download.records import TransferRequest
from mediacrawl.download.requester import Requester, anywhere, content_length, head_of, origin_of
from mediacrawl.download.resume import ConditionalRequest, Head, RequestKind, whole_request
from mediacrawl.download.retry import HostPauses
from mediacrawl.errors import (
    HttpStatusError,
    Interrupted,
    RedirectRefused,
    RobotsForbidden,
    TransferError,
    UnsupportedURL,
)
from mediacrawl.headers import ContentRange, ETag, Validators
from mediacrawl.urls import Origin


class Scripted:
    """A transport and its answers: a URL gives the answers of its list in turn."""

    def __init__(self, script):
        self.script = {url: list(answers) for url, answers in script.items()}
        self.asked = []
        self.open = 0

    def get(self, url, headers, *, proxy, timeout_s, admission):
        self.asked.append((url, dict(headers), proxy, timeout_s))
        status, given = self.script[url].pop(0)
        self.open += 1
        return ScriptedAnswer(self, url, status, given)

    def close(self):
        pass


class ScriptedAnswer:
    reason = "Reason"

    def __init__(self, transport, url, status, headers):
        self.transport, self.url, self.status, self.headers = transport, url, status, headers
        self.aborted = False

    def blocks(self):
        return iter(())

    def abort(self):
        self.aborted = True

    def close(self):
        self.transport.open -= 1


def exchange(
    script,
    url="http://a/1",
    *,
    cancel=None,
    pauses=None,
    max_pause_s=300.0,
    progress=None,
    may_follow=anywhere,
    **more,
):
    transport = Scripted(script)
    made = Requester(
        TransferRequest("k", url, **more),
        transport,
        pauses or HostPauses(),
        cancel or Hurry(),
        timeout_s=7.0,
        max_pause_s=max_pause_s,
        progress=progress,
        may_follow=may_follow,
    )
    return made, transport


def to(location, **more):
    return 302, {"location": location, **more}


OK = (200, {})


def led_to(script, url="http://a/1", **more):
    """The URLs that were asked for."""
    made, transport = exchange(script, url, **more)
    with made.ask(whole_request()):
        assert transport.open == 1
    assert transport.open == 0, "every answer is closed"
    return [asked[0] for asked in transport.asked]


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/2", "http://a/2"),
        ("2?x=1", "http://a/2?x=1"),
        ("//b/2", "http://b/2"),
        ("https://b/2", "https://b/2"),
        ("HTTPS://B/2", "https://b/2"),
        ("http://a:80/1", "http://a:80/1"),
        ("/\u00c3\u00a9.jpg", "http://a/%C3%A9.jpg"),  # UTF-8 that was read as latin-1
        ("/\u00e9.jpg", "http://a/%E9.jpg"),
        ("/\u0095\\.jpg", "http://a/%95%5C.jpg"),  # Shift_JIS
        ("/my photo.jpg?a b", "http://a/my%20photo.jpg?a%20b"),
        ("/%7Ea%2d%e4?", "http://a/%7Ea%2d%e4?"),
        ("b//c", "http://a/b//c"),
        ("./x/../2", "http://a/2"),
        ("?x&y=", "http://a/1?x&y="),
        ("\\2\t", "http://a/2"),
        ("/2#top", "http://a/2#top"),
        ("//m\u00c3\u00bcnchen.example/", "http://xn--mnchen-3ya.example/"),
        ("", None),
    ],
)
def test_a_location_is_read_as_browsers_do(location, target):
    if target is None:
        made, _ = exchange({"http://a/1": [to(location)]})
        with pytest.raises(HttpStatusError, match="HTTP 302 Reason"), made.ask(whole_request()):
            pass
    else:
        assert led_to({"http://a/1": [to(location)], target: [OK]}) == ["http://a/1", target]


@pytest.mark.parametrize("status", [304, 305, 306])
def test_other_statuses_of_the_three_hundreds_lead_nowhere(status):
    assert led_to({"http://a/1": [(status, {"location": "/2"})]}) == ["http://a/1"]


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_followed_to_its_location_and_without_one_it_is_an_error(status):
    """300 names the choice that the server prefers (RFC 9110 15.4.1)."""
    script = {"http://a/1": [(status, {"location": "/2"})], "http://a/2": [OK]}
    assert led_to(script) == ["http://a/1", "http://a/2"]
    made, transport = exchange({"http://a/1": [(status, {})]})
    with pytest.raises(HttpStatusError, match=f"HTTP {status} Reason"), made.ask(whole_request()):
        pass
    assert transport.open == 0


def test_each_redirect_is_followed_only_where_it_may_be():
    targets = []

    def may_follow(request, target, cancel):
        assert (request.url, cancel.is_set) == ("http://a/1", False)
        targets.append(target)
        return "not there" if target == "http://b/3" else None

    assert led_to({"http://a/1": [OK]}, may_follow=may_follow) == ["http://a/1"]
    assert targets == []

    made, transport = exchange({"http://a/1": [to("/2")], "http://a/2": [to("//b/3")]}, may_follow=may_follow)
    with pytest.raises(RobotsForbidden) as caught, made.ask(whole_request()):
        pass
    assert targets == ["http://a/2", "http://b/3"]
    assert caught.value.reason == "redirect to http://b/3: not there"
    assert (caught.value.transient, caught.value.permanent) == (False, False)
    assert (len(transport.asked), transport.open) == (2, 0)


def test_a_request_need_not_ask_before_it_is_redirected():
    script = {"http://a/1": [to("/2")], "http://a/2": [OK]}
    assert led_to(script, may_follow=lambda *_: "nowhere", ask_before_redirect=False) == ["http://a/1", "http://a/2"]


def test_a_request_may_be_bound_to_its_origin():
    script = {"http://a/1": [to("/2")], "http://a/2": [to("http://a:81/3")]}
    made, transport = exchange(script, leaves_origin=False)
    with pytest.raises(RedirectRefused) as caught, made.ask(whole_request()):
        pass
    assert caught.value.reason == "redirect to http://a:81/3: is refused, it is another origin"
    assert ([url for url, *_ in transport.asked], transport.open) == (["http://a/1", "http://a/2"], 0)


def test_a_loop_is_noticed_and_every_answer_closed():
    looping = "http://me:secret@a/2"
    made, transport = exchange({"http://a/1": [to(looping)], looping: [to("/2")]})
    with pytest.raises(RedirectRefused) as caught, made.ask(whole_request()):
        pass
    assert caught.value.reason == "redirect loop at http://a/2"
    assert "secret" not in str(caught.value)
    assert transport.open == 0


@pytest.mark.parametrize(
    ("line", "sent"),
    [
        ("own=2", "other=1; own=2"),
        ("own=; Max-Age=0", "other=1"),
        ("own=2; Secure", "own=1; other=1"),
        ("own=2; Domain=elsewhere.test", "own=1; other=1"),
        ("more=1; Path=/", "own=1; other=1; more=1"),
    ],
)
def test_a_cookie_of_the_request_is_sent_until_its_host_has_replaced_it(line, sent):
    script = {"http://a/1": [to("/2", **{"set-cookie": line})], "http://a/2": [(200, {})]}
    made, transport = exchange(script, url="http://a/1", headers=(("cookie", "own=1; other=1"),))
    with made.ask(whole_request()):
        pass
    assert [headers.get("Cookie", headers.get("cookie")) for _, headers, *_ in transport.asked] == [
        "own=1; other=1",
        sent,
    ]


def test_a_loop_with_the_same_cookie_is_a_loop_and_with_ever_new_ones_too_many():
    made, transport = exchange({"http://a/1": [to("/1", **{"set-cookie": "a=1"})] * 30})
    with pytest.raises(RedirectRefused, match="loop"), made.ask(whole_request()):
        pass
    assert len(transport.asked) == 2
    made, transport = exchange({"http://a/1": [to("/1", **{"set-cookie": f"a={n}"}) for n in range(30)]})
    with pytest.raises(RedirectRefused, match="more than 20"), made.ask(whole_request()):
        pass


@pytest.mark.parametrize("other", ["https://a/2", "http://a:8080/2", "http://b/2", "http://sub.a/2"])
@pytest.mark.parametrize("name", ["Cookie", "cookie", "Authorization", "AUTHORIZATION", "X-Api-Key"])
def test_what_may_be_a_secret_goes_to_no_other_origin(other, name):
    script = {"http://a/1": [to(other)], other: [to("http://a/3")], "http://a/3": [OK]}
    made, transport = exchange(script, headers=((name, "secret"), ("User-Agent", "1"), ("Referer", "2")))
    with made.ask(whole_request()):
        pass
    assert [name in headers for _, headers, _, _ in transport.asked] == [True, False, True]
    assert all((headers["User-Agent"], headers["Referer"]) == ("1", "2") for _, headers, _, _ in transport.asked)


@pytest.mark.parametrize(
    ("policy", "way", "sent"),
    [
        ("no-referrer-when-downgrade", ["https://a/2", "https://b/3"], ["P", "P", "P"]),
        ("no-referrer-when-downgrade", ["https://a/2", "http://b/3", "http://b/4"], ["P", "P", None, None]),
        ("no-referrer-when-downgrade", ["http://a/2", "https://a/3"], ["P", None, "P"]),
        ("scrapy-default", ["http://a/2"], ["P", None]),
        ("no-referrer", ["https://a/2", "https://b/3"], ["P", "P", None]),
        ("same-origin", ["https://b/2", "https://a/3"], ["P", None, "P"]),
        ("same-origin", ["https://a:8443/2"], ["P", None]),
        ("origin", ["https://b/2", "http://b/3"], ["P", "https://a/", "https://a/"]),
        ("strict-origin", ["https://b/2", "http://b/3"], ["P", "https://a/", None]),
        ("origin-when-cross-origin", ["http://b/2"], ["P", "https://a/"]),
        ("strict-origin-when-cross-origin", ["https://b/2", "http://b/3"], ["P", "https://a/", None]),
        ("unsafe-url", ["http://b/2"], ["P", "P"]),
        ("project.policies.Own", ["https://b/2"], ["P", None]),
    ],
)
def test_the_referrer_policy_is_asked_again_at_each_redirect(policy, way, sent):
    page = "https://a/page?token=1"
    urls = ["https://a/1", *way]
    script = {url: [to(target)] for url, target in zip(urls, way, strict=False)} | {urls[-1]: [OK]}
    made, transport = exchange(script, "https://a/1", headers=(("referer", page),), referrer_policy=policy)
    with made.ask(whole_request()):
        pass
    found = [headers.get("referer", headers.get("Referer")) for _, headers, *_ in transport.asked]
    assert found == [page if value == "P" else value for value in sent]


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ("no-referrer", None),
        ("same-origin", None),
        ("unsafe-url", "http://a/page"),
        ("strict-origin, something-new", "http://a/"),
        ("no-referrer, origin", "http://a/"),
        ("nonsense", "http://a/page"),
    ],
)
def test_a_redirect_may_have_a_policy_that_takes_more_away(field, sent):
    script = {"http://a/1": [to("http://b/2", **{"referrer-policy": field})], "http://b/2": [to("/3")]}
    script["http://b/3"] = [OK]
    made, transport = exchange(script, headers=(("Referer", "http://a/page"),))
    with made.ask(whole_request()):
        pass
    assert [headers.get("Referer") for _, headers, *_ in transport.asked] == ["http://a/page", sent, sent]


@pytest.mark.parametrize(
    ("sent", "set_cookie", "expected"),
    [
        ("", "a=1", "a=1"),
        ("", "a=1; Path=/; HttpOnly", "a=1"),
        ("", "a=1; Partitioned; Priority=High", "a=1"),
        ("", "a=1; Expires=Wed, 01 Jan 2031 00:00:00 GMT\nb=2", "a=1; b=2"),
        ("", "a=1\na=2", "a=2"),
        ("", 'a="quoted value"', 'a="quoted value"'),
        ("", "a=b=c", "a=b=c"),
        ("", "a=", "a="),
        ("", "=1\nnonsense\n;", None),
        ("x=0", "a=1", "x=0; a=1"),
        ("x=0; a=0; y=0", "a=1", "x=0; y=0; a=1"),
        ("x=0", "", "x=0"),
    ],
)
def test_the_cookies_of_a_redirect_join_those_of_the_crawl(sent, set_cookie, expected):
    script = {"http://a/1": [to("/2", **{"set-cookie": set_cookie})], "http://a/2": [OK]}
    made, transport = exchange(script, headers=(("cookie", sent),) if sent else ())
    with made.ask(whole_request()):
        pass
    found = [value for name, value in transport.asked[1][1].items() if name.lower() == "cookie"]
    assert found == ([expected] if expected else [])


def test_cookies_of_a_redirect_are_kept_for_the_next_ask():
    script = {"http://a/1": [to("/2", **{"set-cookie": "a=1"}), OK], "http://a/2": [OK]}
    made, transport = exchange(script)
    for _ in range(2):
        with made.ask(whole_request()):
            pass
    assert transport.asked[2][:2] == ("http://a/1", {"Accept-Encoding": "identity", "Cookie": "a=1"})


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/2", "http://me:pw@a/2"),
        ("http://a/2", "http://me:pw@a/2"),
        ("http://A:80/2?", "http://me:pw@a:80/2?"),
        ("http://you:p2@a/2", "http://you:p2@a/2"),
        ("http://a:81/2", "http://a:81/2"),
        ("https://a/2", "https://a/2"),
        ("http://b/2", "http://b/2"),
    ],
)
def test_user_name_and_password_go_wherever_cookies_go(location, asked):
    assert led_to({"http://me:pw@a/1": [to(location)], asked: [OK]}, "http://me:pw@a/1")[1] == asked


def test_the_ask_sets_its_own_headers_and_the_request_cannot():
    theirs = [
        "Range", "If-Range", "accept-encoding", "Connection", "Proxy-Authorization", "Host", "Content-Length",
        "Transfer-Encoding", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since",
    ]  # fmt: skip
    made, transport = exchange(
        {"http://a/1": [OK]}, headers=tuple((name, "theirs") for name in [*theirs, "Accept"]), proxy="http://p:1"
    )
    ask = ConditionalRequest(RequestKind.IF_RANGE, 5, (("Range", "bytes=5-"), ("If-Range", '"a"')))
    with made.ask(ask):
        pass
    ours = {"Accept": "theirs", "Accept-Encoding": "identity", "Range": "bytes=5-", "If-Range": '"a"'}
    assert transport.asked == [("http://a/1", ours, "http://p:1", 7.0)]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("value", "quiet_s"), [("20", 20.0), (None, 0.0), ("soon", 0.0), ("0", 0.0)])
def test_a_busy_host_is_left_alone_as_long_as_it_asks(status, value, quiet_s):
    hurry = Hurry()
    pauses = HostPauses(hurry.clock)
    made, transport = exchange(
        {"http://a/1": [(status, {"retry-after": value} if value else {})]}, pauses=pauses, cancel=hurry
    )
    with pytest.raises(HttpStatusError) as caught, made.ask(whole_request()):
        pass
    assert (caught.value.http_status, caught.value.transient, transport.open) == (status, True, 0)
    assert (caught.value.retry_after_s or 0.0, pauses.remaining_s("a"), pauses.remaining_s("b")) == (
        quiet_s,
        quiet_s,
        0.0,
    )


@pytest.mark.parametrize(
    ("headers", "wait_s", "transient"),
    [
        ({"retry-after": "20"}, 20.0, True),
        ({"retry-after": "0"}, 0.0, True),
        ({"retry-after": "9999"}, 9999.0, True),
        (
            {"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"},
            60.0,
            True,
        ),
        ({"retry-after": "soon"}, None, False),
        ({}, None, False),
    ],
)
def test_a_file_that_is_being_prepared_is_no_file_and_its_host_is_not_paused(headers, wait_s, transient):
    hurry = Hurry()
    pauses = HostPauses(hurry.clock)
    made, transport = exchange({"http://a/1": [(202, headers)]}, pauses=pauses, cancel=hurry)
    with pytest.raises(HttpStatusError, match="the server is still preparing the file") as caught:
        made.open(whole_request())
    assert (caught.value.http_status, caught.value.retry_after_s, caught.value.transient) == (202, wait_s, transient)
    assert (pauses.remaining_s("a"), transport.open, caught.value.permanent) == (0.0, 0, False)


def test_it_is_the_host_behind_the_redirect_that_asks_for_quiet():
    hurry = Hurry()
    pauses = HostPauses(hurry.clock)
    made, _ = exchange({"http://a/1": [to("http://b/")], "http://b/": [(503, {"retry-after": "9"})]}, pauses=pauses)
    with pytest.raises(HttpStatusError), made.ask(whole_request()):
        pass
    assert (pauses.remaining_s("a"), pauses.remaining_s("b")) == (0.0, 9.0)


def test_a_pause_is_waited_for_and_noted_and_the_wait_ends_with_it():
    progress, notes = Progress("1"), []

    class Noting(Hurry):
        def wait(self, seconds):
            notes.append((progress.note, progress.waits_since_s))
            super().wait(seconds)

    hurry = Noting()
    pauses = HostPauses(hurry.clock)
    pauses.pause("a", 300.0)
    made, _ = exchange({"http://a/1": [OK]}, pauses=pauses, cancel=hurry, progress=progress)
    with made.ask(whole_request()):
        assert (progress.note, progress.waits_since_s) == ("", None)
    assert (hurry.waits, notes) == ([300.0], [("a asked for a pause", Progress.SLEEPS)])


def test_a_transfer_waits_from_when_it_asks_until_the_head_is_there():
    progress, waited = Progress("1"), []
    made, transport = exchange({"http://a/1": [OK]}, progress=progress)
    get = transport.get

    def noting(*arguments, **more):
        waited.append(progress.waits_since_s)
        return get(*arguments, **more)

    transport.get = noting
    with made.ask(whole_request()):
        assert progress.waits_since_s is None
    assert waited[0] > 0


def test_a_pause_that_is_too_long_is_not_waited_for():
    hurry = Hurry()
    pauses = HostPauses(hurry.clock)
    pauses.pause("a", 300.5)
    made, transport = exchange({"http://a/1": [OK]}, pauses=pauses, cancel=hurry)
    with (
        pytest.raises(TransferError, match=r"http://a/1: a asked for a pause for 30[01] s") as caught,
        made.ask(whole_request()),
    ):
        pass
    assert (hurry.waits, transport.asked) == ([], [])
    assert (caught.value.transient, caught.value.permanent) == (False, False)


def test_a_stop_aborts_the_answer_that_is_being_read_and_no_other():
    hurry = Hurry()
    made, transport = exchange({"http://a/1": [OK, OK]}, cancel=hurry)
    with made.ask(whole_request()) as (first, _):
        pass
    with made.ask(whole_request()) as (second, _):
        hurry.set()
        assert second.aborted
    assert not first.aborted
    with pytest.raises(Interrupted), made.ask(whole_request()):
        pass
    assert (len(transport.asked), transport.open) == (2, 0)


def test_the_latency_is_that_of_the_last_head():
    made, _ = exchange({"http://a/1": [OK]})
    assert made.latency_s is None
    with made.ask(whole_request()):
        assert made.latency_s >= 0.0


def test_the_head_says_whether_a_redirect_led_there():
    made, _ = exchange({"http://a/1": [OK, to("/2")], "http://a/2": [OK]})
    for redirected in (False, True):
        with made.ask(whole_request()) as (_, head):
            assert head.redirected is redirected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Head(206)),
        ({"content-range": "bytes 0-4/10"}, Head(206, ContentRange(0, 5, 10))),
        ({"content-range": "bytes nonsense"}, Head(206, has_unreadable_range=True)),
        ({"content-range": "items 3-4/5"}, Head(206, has_unreadable_range=True, has_other_unit=True)),
        ({"content-length": "5"}, Head(206, content_length=5)),
        ({"content-length": "5", "transfer-encoding": "chunked"}, Head(206)),
        ({"content-encoding": "gzip"}, Head(206, is_encoded=True)),
        ({"content-encoding": " Identity "}, Head(206)),
        ({"content-encoding": ""}, Head(206)),
        ({"content-encoding": "identity, gzip"}, Head(206, is_encoded=True)),
        ({"content-encoding": "identity, identity"}, Head(206)),
        ({"content-encoding": "UTF-8"}, Head(206)),
        ({"content-type": "Multipart/ByteRanges; boundary=x"}, Head(206, is_multipart=True)),
        ({"content-type": "multipart/mixed"}, Head(206)),
        ({"accept-ranges": " None "}, Head(206, ranges_refused=True)),
        ({"accept-ranges": "bytes"}, Head(206)),
        ({"etag": '"a"'}, Head(206, validators=Validators(ETag("a")))),
    ],
)
def test_the_head_of_an_answer_is_read_as_far_as_it_decides(headers, expected):
    answer = ScriptedAnswer(None, "http://a/", 206, headers)
    assert head_of(answer, redirected=False) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None), ("0", 0), ("5", 5), (" 5 ", 5), ("5, 5", 5), ("5,5,5", 5), ("5, 6", None), ("", None),
        ("-5", None), ("+5", None), ("5.0", None), ("0x5", None), ("5_0", None), ("٥", None), ("²", None),
        ("9" * 18, 10**18 - 1), ("9" * 19, None), ("5,", None),
    ],
)  # fmt: skip
def test_a_content_length_is_digits_and_else_none(value, expected):
    assert content_length(value) == expected


@pytest.mark.parametrize(
    "url", ["", "a", "gopher://a/", "http://", "http://a:99999/", "http://a:x/", "http://[::1", "http://a b/"]
)
def test_what_has_no_origin_is_not_fetchable(url):
    with pytest.raises(UnsupportedURL) as caught:
        origin_of(url)
    assert not caught.value.permanent


def test_an_origin_is_scheme_host_and_port():
    assert origin_of("HTTP://me:pw@A.b/c") == origin_of("http://a.b:80/") == Origin("http", "a.b", 80)
