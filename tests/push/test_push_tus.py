"""Files to a server of tus: what breaks off goes on, and what is there is not sent again."""

from __future__ import annotations

import base64
import threading

import pytest
from certificates import Authority, TlsFront
from origin import Pattern, status
from proxy_servers import HttpProxy, SocksProxy
from pushing import ONCE
from tus_origin import TusFault, TusOrigin, drop_content_after, refuse, run_before, take_only

from mediacrawl.push.http_client import HttpResponse, refusal
from mediacrawl.push.local_files import LocalFile
from mediacrawl.push.push_run import ALREADY_THERE, NOT_SENT, SENT_REST, SENT_WHOLE
from mediacrawl.push.push_state import PushState
from mediacrawl.push.tus_fields import metadata_of, offset_of, upload_url
from mediacrawl.transport.authorities import Authorities

BODY = Pattern(700_000, 1).read()


@pytest.fixture
def tus():
    with TusOrigin() as running:
        yield running


def statuses(results):
    return [result.status for result in results]


# --- what arrives -----------------------------------------------------------------------------------


def test_files_and_folders_arrive_with_their_names_times_and_digests(pusher, tus):
    files = {"a.jpg": BODY, "b/c d.mp3": BODY[:1000], "b/\u6771/empty": b"", "caf\u00e9": b"x"}
    for name, data in files.items():
        pusher.write(name, data)
    results = pusher.push(tus.url, at_once=3)
    assert statuses(results) == [SENT_WHOLE] * 4
    assert tus.files == {f"local/{name}": data for name, data in files.items()}
    (upload,) = [upload for upload in tus.uploads.values() if upload.metadata["filename"] == b"local/a.jpg"]
    assert upload.metadata["modified"] == b"1700000000.250"
    assert upload.metadata["sha256"].decode() == Pattern(700_000, 1).sha256()
    assert results[0].sha256 == Pattern(700_000, 1).sha256()
    assert results[0].url.startswith(tus.url)


def test_a_file_that_is_given_has_its_own_name(pusher, tus):
    path = pusher.write("deep/down/a.jpg", BODY)
    assert statuses(pusher.push(tus.url, path)) == [SENT_WHOLE]
    assert tus.files == {"a.jpg": BODY}


def test_what_is_no_file_is_told_and_the_others_are_sent(pusher, tus, tmp_path):
    pusher.write("a.jpg", BODY)
    (pusher.folder / "gone").symlink_to("nowhere")
    (tmp_path / "elsewhere").mkdir()
    (pusher.folder / "folder").symlink_to(tmp_path / "elsewhere")
    results = pusher.push(tus.url)
    assert statuses(results) == [SENT_WHOLE, NOT_SENT, NOT_SENT]
    assert [result.reason for result in results[1:]] == [
        "a link to a folder: name the folder itself",
        "No such file or directory",
    ]


# --- what breaks off --------------------------------------------------------------------------------


def test_a_connection_that_breaks_is_gone_on_with_where_the_server_says(pusher, tus):
    pusher.write("a.jpg", BODY)
    tus.faults += [drop_content_after(200_000), drop_content_after(100_000)]
    (result,) = pusher.push(tus.url)
    assert (result.status, tus.files) == (SENT_WHOLE, {"local/a.jpg": BODY})
    assert tus.asked("PATCH") == [0, 200_000, 300_000]


def test_another_run_goes_on_with_what_an_earlier_one_has_begun(pusher, tus):
    pusher.write("a.jpg", BODY)
    tus.faults.append(drop_content_after(200_000))
    (first,) = pusher.push(tus.url, backoff=ONCE)
    assert first.status == NOT_SENT
    tus.requests.clear()
    (second,) = pusher.push(tus.url)
    assert (second.status, second.saved_bytes, tus.files) == (SENT_REST, 200_000, {"local/a.jpg": BODY})
    assert (tus.asked("POST"), tus.asked("PATCH")) == ([], [200_000])


def test_what_is_complete_is_not_sent_again(pusher, tus):
    pusher.write("a.jpg", BODY)
    pusher.push(tus.url)
    tus.requests.clear()
    (again,) = pusher.push(tus.url)
    assert (again.status, tus.asked("POST"), tus.asked("PATCH")) == (ALREADY_THERE, [], [])


def test_a_file_that_has_changed_is_another_one(pusher, tus):
    pusher.write("a.jpg", BODY)
    tus.faults.append(drop_content_after(200_000))
    pusher.push(tus.url, backoff=ONCE)
    pusher.write("a.jpg", BODY[::-1], at=1_700_000_001)
    (result,) = pusher.push(tus.url)
    assert (result.status, tus.files) == (SENT_WHOLE, {"local/a.jpg": BODY[::-1]})


def test_an_upload_that_has_expired_is_begun_anew(pusher, tus):
    pusher.write("a.jpg", BODY)
    tus.faults.append(drop_content_after(200_000))
    pusher.push(tus.url, backoff=ONCE)
    tus.uploads.clear()
    (result,) = pusher.push(tus.url)
    assert (result.status, tus.files) == (SENT_WHOLE, {"local/a.jpg": BODY})


def test_a_server_that_takes_a_part_of_each_request_gets_the_rest_in_others(pusher, tus):
    pusher.write("a.jpg", BODY)
    tus.faults.append(take_only(300_000))
    (result,) = pusher.push(tus.url)
    assert (result.status, tus.files) == (SENT_WHOLE, {"local/a.jpg": BODY})
    assert tus.asked("PATCH") == [0, 300_000, 600_000]


@pytest.mark.parametrize(
    "fault",
    [refuse("PATCH", 409), refuse("PATCH", 423), refuse("PATCH", 460), refuse("PATCH", 503), refuse("POST", 500)],
    ids=lambda fault: f"{fault.method} {fault.status}",
)
def test_a_refusal_that_may_be_over_is_tried_again(pusher, tus, fault):
    pusher.write("a.jpg", BODY)
    tus.faults.append(fault)
    (result,) = pusher.push(tus.url)
    assert (result.status, tus.files) == (SENT_WHOLE, {"local/a.jpg": BODY})


def test_a_server_that_always_breaks_off_is_given_up(pusher, tus):
    pusher.write("a.jpg", BODY)
    tus.faults.append(drop_content_after(0, times=None))
    (result,) = pusher.push(tus.url)
    assert result.status == NOT_SENT
    assert len(tus.asked("PATCH")) == 5


def test_a_file_that_is_changed_while_it_is_sent_is_no_success(pusher, tus):
    path = pusher.write("a.jpg", BODY)
    tus.faults.append(run_before("PATCH", lambda: pusher.write("a.jpg", BODY[::-1], at=1_700_000_001)))
    (result,) = pusher.push(tus.url, path)
    assert result.status == NOT_SENT
    assert "it was changed while it was sent: run the same command again" in result.reason


def test_a_stop_ends_the_run_and_the_next_one_goes_on(pusher, tus):
    pusher.write("a.jpg", BODY)
    pusher.write("b.jpg", BODY[:5000])
    tus.faults.append(drop_content_after(200_000))
    sending = pusher.start(tus.url)
    tus.faults.append(run_before("HEAD", sending.cancel.set))
    assert [result for result in sending.wait() if result.status != NOT_SENT] == []
    results = pusher.push(tus.url)
    assert statuses(results) == [SENT_REST, SENT_WHOLE]
    assert results[0].saved_bytes == 200_000


def test_two_runs_at_once_do_not_send_the_same_file(pusher, tus):
    path = pusher.write("a.jpg", BODY)
    state = PushState(pusher.state_folder)
    file = LocalFile(path, "a.jpg", len(BODY), path.stat().st_mtime_ns)
    with state.locked(file, f"{tus.url}a.jpg"):
        (result,) = pusher.push(tus.url, path)
    assert (result.status, result.reason) == (NOT_SENT, "another process is sending this file there")
    state.close()
    assert statuses(pusher.push(tus.url, path)) == [SENT_WHOLE]


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (refuse("POST", 413, "anna may add 10 bytes.\nRemove files."), "Too Large: anna may"),
        (refuse("POST", 403, "Not there."), "HTTP 403 Forbidden: Not there."),
        (refuse("PATCH", 413, "x" * 10_000), "Too Large: x"),
        (
            refuse("POST", 301, "", ("Location", "http://me:s3cret@other.example/")),
            "redirect to http://other.example/",
        ),
        (TusFault("POST", 201), "the server has created an upload without saying where"),
        (TusFault("PATCH", 200), "the server has taken no byte at the offset 0"),
    ],
)
def test_a_refusal_is_one_line_with_the_words_of_the_server(pusher, tus, fault, words):
    pusher.write("a.jpg", BODY)
    tus.faults.append(fault)
    (result,) = pusher.push(tus.url, backoff=ONCE)
    assert result.status == NOT_SENT
    assert words in result.reason
    assert "\n" not in result.reason
    assert len(result.reason) < 500


@pytest.mark.parametrize("location", ["http://other.example{}", "ftp://127.0.0.1{}", "http://127.0.0.1:1{}", ""])
def test_an_upload_at_another_host_gets_no_byte(pusher, tus, location):
    pusher.write("a.jpg", BODY)
    tus.location = location.format
    (result,) = pusher.push(tus.url)
    assert (result.status, tus.asked("PATCH")) == (NOT_SENT, [])
    assert "without saying where" in result.reason


def test_a_server_that_has_more_bytes_than_the_file_is_a_failure(pusher, tus):
    pusher.write("a.jpg", BODY)
    tus.faults += [drop_content_after(1000), refuse("HEAD", 200, "", ("Upload-Offset", "9999999"))]
    (result,) = pusher.push(tus.url)
    assert (result.status, tus.files) == (NOT_SENT, {})
    assert "9999999 bytes of a file of 700000" in result.reason


def test_credentials_of_the_url_are_sent_and_told_nowhere(pusher):
    wanted = "Basic " + base64.b64encode(b"m@h:s3:cret").decode()
    with TusOrigin(wanted) as tus:
        pusher.write("a.jpg", BODY)
        url = tus.url.replace("//", "//m%40h:s3%3Acret@")
        (result,) = pusher.push(url)
        assert (result.status, tus.files) == (SENT_WHOLE, {"local/a.jpg": BODY})
        pusher.write("b.jpg", BODY)
        _, wrong = pusher.push(url.replace("cret", "wrong"))
    assert "HTTP 401 Unauthorized" in wrong.reason
    assert ".netrc" in wrong.reason
    kept = b"".join(path.read_bytes() for path in pusher.state_folder.rglob("*") if path.is_file())
    for text in (str(result), str(wrong), kept.decode("latin-1")):
        assert "cret" not in text
        assert "wrong" not in text.replace("is wrong", "")


def response_of(status, reason, text=b""):
    return HttpResponse(status, reason, {"Content-Type": "text/plain" if text else "text/html"}, text or b"<p>")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_login_that_is_refused_is_told_with_the_scheme_of_the_url(scheme):
    error = refusal(f"{scheme}://h:8443/files/x/", response_of(401, "Unauthorized", b"Log in first.\n"))
    assert error.reason == (
        "HTTP 401 Unauthorized: Log in first; name user and password in .netrc, or in the URL as "
        f"{scheme}://NAME:PASSWORD@h:8443/"
    )


def test_a_right_that_is_missing_is_told_with_what_to_do():
    error = refusal("http://h/files/x/", response_of(403, "Forbidden"))
    advice = "this login may not do that there; name another folder, or ask for the right"
    assert error.reason == f"HTTP 403 Forbidden: {advice}"
    assert refusal("http://h/", response_of(403, "Forbidden", b"No.")).reason == "HTTP 403 Forbidden: No."


def test_a_folder_that_a_login_may_not_open_is_told_as_such(pusher, origin):
    pusher.write("a.jpg", BODY)
    origin.add("/files/common/", b"", faults=[status(403, times=None)])
    (result,) = pusher.push(origin.url("/files/common/"))
    assert result.reason.startswith("HTTP 403 Forbidden")


def test_a_server_of_another_kind_is_told_in_one_line(pusher, origin):
    pusher.write("a.jpg", BODY)
    (result,) = pusher.push(origin.url("/"))
    assert result.status == NOT_SENT
    assert result.reason == (
        "no server of tus 1.0.0, and no folder of mediacrawl serve: name the URL of one of these"
    )


def test_no_connection_to_a_private_address_is_made_where_only_public_ones_are_allowed(pusher, tus):
    pusher.write("a.jpg", BODY)
    (result,) = pusher.push(tus.url, block_private=True)
    assert (result.status, tus.requests) == (NOT_SENT, [])
    assert "127.0.0.1 is not a public address" in result.reason


def test_several_files_are_sent_at_a_time(pusher, tus):
    for number in range(3):
        pusher.write(f"{number}.jpg", BODY)
    meet = threading.Barrier(3)
    tus.faults.append(TusFault("PATCH", action=lambda: meet.wait(60), times=3))
    assert statuses(pusher.push(tus.url, at_once=3)) == [SENT_WHOLE] * 3


# --- fields -----------------------------------------------------------------------------------------


def test_a_name_that_is_no_text_has_escapes(tmp_path):
    file = LocalFile(tmp_path, "\udce9/a,b", 1, 1_500_000_000)
    values = dict(pair.split(" ") for pair in metadata_of(file, "", "").split(","))
    assert base64.b64decode(values["filename"]) == b"\\xe9/a,b"
    assert values.keys() == {"filename", "modified"}


@pytest.mark.parametrize(
    ("endpoint", "location", "url"),
    [
        ("http://h/files/", "/files/a", "http://h/files/a"),
        ("http://h/files/", "a", "http://h/files/a"),
        ("http://h/files/", "http://h/files/a?b=1", "http://h/files/a?b=1"),
        ("https://h/files/", "http://h/files/a", "https://h/files/a"),
        ("https://h:8443/files/", "http://h/files/a", "https://h:8443/files/a"),
        ("http://h/files/", "http://h:81/files/a", None),
        ("http://h/files/", "//evil.example/a", None),
        ("http://h/files/", "javascript:1", None),
    ],
)
def test_the_url_of_an_upload_is_at_the_server(endpoint, location, url):
    assert upload_url(endpoint, location) == url


@pytest.mark.parametrize(("value", "offset"), [("12", 12), (" 0 ", 0), ("-1", None), ("1e3", None), (None, None)])
def test_an_offset_is_read_strictly(value, offset):
    assert offset_of({} if value is None else {"Upload-Offset": value}) == offset


# --- the network of the user ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [HttpProxy, SocksProxy])
def test_files_go_through_the_proxy_of_the_environment(pusher, tus, monkeypatch, kind):
    pusher.write("a.jpg", BODY)
    tus.faults.append(drop_content_after(200_000))
    with kind("me", "s3cret") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url("me:s3cret"))
        (result,) = pusher.push(tus.url)
        assert result.status == SENT_WHOLE, result.reason
        assert (result.status, tus.files) == (SENT_WHOLE, {"local/a.jpg": BODY})
        assert proxy.targets
        monkeypatch.setenv("http_proxy", proxy.url("me:wrong"))
        pusher.write("b.jpg", BODY)
        _, refused = pusher.push(tus.url, backoff=ONCE)
    assert refused.status == NOT_SENT
    assert "refused the user name or the password" in refused.reason
    assert "wrong" not in refused.reason


def test_certificates_are_verified_before_a_password_is_sent(pusher, tus, tmp_path):
    authority = Authority(tmp_path)
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    pusher.write("a.jpg", BODY)
    with TlsFront(authority.context("127.0.0.1"), f"127.0.0.1:{tus.port}") as front:
        url = f"https://me:s3cret@127.0.0.1:{front.port}/tus/"
        (refused,) = pusher.push(url, backoff=ONCE, authorities=Authorities(str(other.file)))
        assert "the certificate of 127.0.0.1 is not accepted" in refused.reason
        assert tus.requests == []
        tus.faults.append(drop_content_after(200_000))
        (result,) = pusher.push(url, authorities=Authorities(str(authority.file)))
        assert (result.status, tus.files) == (SENT_WHOLE, {"local/a.jpg": BODY})


def test_a_stop_wakes_up_a_run_that_waits_for_a_response(pusher, tus):
    pusher.write("a.jpg", BODY)
    held = threading.Event()
    sending = pusher.start(tus.url)
    tus.faults.append(TusFault("HEAD", action=lambda: sending.cancel.set() or held.wait(60)))
    tus.faults.append(drop_content_after(200_000))
    try:
        assert sending.wait() == []
    finally:
        held.set()
