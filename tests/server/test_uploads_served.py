"""tus through a real server: each extension, takeover, broken connections, who may, and nothing of another one."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import pytest
from crawling import wait_until
from serving import COMPOSED, Server
from uploading import CHUNK, MIB, TUS, basic, checksum, content, metadata, sha256

from mediacrawl.server.options import ServeOptions
from mediacrawl.store.local import HIDDEN

ANNA = basic("anna")
DATA = content(3 * MIB + 5)
QUOTA_BYTES = 1_000_000  # of the person called poor
SITE = "https://page.example"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("uploads") / "store"
    root.mkdir()
    return root


@pytest.fixture(scope="module")
def server(store):
    options = ServeOptions(store=store, upload_origins=(SITE,)).as_json()
    with Server("aiohttp", store, commands=COMPOSED, options=options) as running:
        yield running


def ask(server, method, path, headers=(), body=None):
    with closing(server.connection()) as connection:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def created(server, length, who=ANNA, **told):
    headers = TUS | who | {"Upload-Length": str(length)} | metadata(**told)
    status, fields, text = ask(server, "POST", "/uploads/", headers)
    assert status == 201, text
    return fields["location"]


def patched(server, path, data, offset, who=ANNA, **more):
    return ask(server, "PATCH", path, CHUNK | who | {"Upload-Offset": str(offset)} | more, data)


def offset_of(server, path, who=ANNA):
    status, fields, _ = ask(server, "HEAD", path, TUS | who)
    assert status == 200
    return int(fields["upload-offset"])


class Stalled:
    """A client that sends the head of a PATCH and some of its content, and then nothing."""

    def __init__(self, server, path, data, offset, length, **more):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(server.socket))
        fields = {"Host": "localhost", "Content-Length": str(length), "Upload-Offset": str(offset)}
        fields |= CHUNK | ANNA | more
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.socket.sendall(f"PATCH {path} HTTP/1.1\r\n{head}\r\n".encode() + data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def status(self):
        answer = self.socket.recv(65536)
        return int(answer.split()[1]) if answer else None


def arrived(server, path, least):
    """Wait until an upload has as many bytes, without an end of its writer."""
    upload = path.rpartition("/")[2]

    def is_there():
        listed = json.loads(ask(server, "GET", "/uploads/", ANNA)[2])["uploads"]
        return any(one["id"] == upload and one["offset"] >= least for one in listed)

    wait_until(is_there)


# The protocol


def test_a_file_is_uploaded_in_pieces(server, store):
    path = created(server, len(DATA), filename="film.mkv", folder="x")
    assert path.startswith("/uploads/")
    assert offset_of(server, path) == 0
    status, fields, _ = patched(server, path, DATA[:MIB], 0)
    assert (status, fields["upload-offset"], fields["tus-resumable"]) == (204, str(MIB), "1.0.0")
    assert fields["cache-control"] == "no-store"
    assert "upload-expires" in fields
    assert not (store / "x").exists()
    status, fields, _ = ask(server, "HEAD", path, TUS | ANNA)
    assert (status, fields["upload-offset"], fields["upload-length"]) == (200, str(MIB), str(len(DATA)))
    assert fields["upload-metadata"] == metadata(filename="film.mkv", folder="x")["Upload-Metadata"]
    assert patched(server, path, DATA[5:], 5)[0] == 409
    status, fields, _ = patched(server, path, DATA[MIB:], MIB)
    assert (status, fields["upload-offset"], fields["content-location"]) == (204, str(len(DATA)), "/files/x/film.mkv")
    assert (store / "x/film.mkv").read_bytes() == DATA
    assert offset_of(server, path) == len(DATA)
    assert patched(server, path, b"", len(DATA))[0] == 204
    assert patched(server, path, b"", 5)[0] == 409
    assert patched(server, path, b"x", len(DATA))[0] == 413
    status, fields, _ = ask(server, "GET", "/files/x/film.mkv", {"Want-Repr-Digest": "sha-256=1"})
    assert status == 200
    assert "repr-digest" in fields or fields["etag"]


def test_the_extensions_are_told(server):
    status, fields, _ = ask(server, "OPTIONS", "/uploads/")
    assert (status, fields["tus-version"]) == (204, "1.0.0")
    assert "concatenation" in fields["tus-extension"]


def test_a_creation_brings_content(server, store):
    headers = CHUNK | ANNA | {"Upload-Length": str(len(DATA))} | metadata(filename="whole.bin")
    status, fields, _ = ask(server, "POST", "/uploads/", headers, DATA)
    assert (status, fields["upload-offset"]) == (201, str(len(DATA)))
    assert (store / "whole.bin").read_bytes() == DATA
    status, fields, _ = ask(server, "POST", "/uploads/", headers | metadata(filename="more.bin"), DATA[:1000])
    assert (status, fields["upload-offset"]) == (201, "1000")
    assert offset_of(server, fields["location"]) == 1000
    created(server, 0, filename="empty")
    assert (store / "empty").read_bytes() == b""


def test_a_creation_that_is_refused_leaves_nothing(server):
    """Its client has not been told where the upload is."""
    poor = basic("refused")
    headers = CHUNK | poor | {"Upload-Length": "500000"}
    assert ask(server, "POST", "/uploads/", headers | checksum(b"other"), DATA[:500])[0] == 460
    assert ask(server, "POST", "/uploads/", headers | metadata(sha256=sha256(b"")), DATA[:500_000])[0] == 460
    with closing(server.connection()) as connection:
        connection.request("POST", "/uploads/", iter([DATA[:400_000]] * 2), headers, encode_chunked=True)
        assert connection.getresponse().status == 413
    assert json.loads(ask(server, "GET", "/uploads/", poor)[2])["uploads"] == []


def test_content_without_a_length_is_taken(server, store):
    path = created(server, len(DATA), filename="chunked.bin")
    with closing(server.connection()) as connection:
        pieces = (DATA[start : start + 100_000] for start in range(0, len(DATA), 100_000))
        connection.request("PATCH", path, pieces, CHUNK | ANNA | {"Upload-Offset": "0"}, encode_chunked=True)
        assert connection.getresponse().status == 204
    assert (store / "chunked.bin").read_bytes() == DATA


def test_a_wrong_checksum_is_refused_and_a_right_one_taken(server, store):
    path = created(server, len(DATA), filename="checked.bin")
    for algorithm in ("sha1", "sha256"):
        offset = offset_of(server, path)
        data = DATA[offset : offset + 2 * MIB]
        assert patched(server, path, data, offset, **checksum(b"other", algorithm))[0] == 460
        assert offset_of(server, path) == offset
        assert patched(server, path, data, offset, **checksum(data, algorithm))[0] == 204
    assert (store / "checked.bin").read_bytes() == DATA


def test_a_file_with_another_digest_than_announced_is_refused(server, store):
    path = created(server, 3, filename="wrong.bin", sha256=sha256(b"other"))
    assert patched(server, path, b"abc", 0)[0] == 460
    assert ask(server, "HEAD", path, TUS | ANNA)[0] == 404
    assert not (store / "wrong.bin").exists()


def test_an_upload_is_terminated(server):
    path = created(server, 10)
    patched(server, path, b"12345", 0)
    assert ask(server, "DELETE", path, TUS | ANNA)[0] == 204
    assert ask(server, "HEAD", path, TUS | ANNA)[0] == ask(server, "DELETE", path, TUS | ANNA)[0] == 404
    assert patched(server, path, b"x", 5)[0] == 404


def test_uploads_are_joined(server, store):
    paths = []
    for start in range(0, len(DATA), MIB):
        data = DATA[start : start + MIB]
        headers = CHUNK | ANNA | {"Upload-Length": str(len(data)), "Upload-Concat": "partial"}
        paths.append(ask(server, "POST", "/uploads/", headers, data)[1]["location"])
    assert ask(server, "HEAD", paths[0], TUS | ANNA)[1]["upload-concat"] == "partial"
    concat = {"Upload-Concat": "final;" + " ".join(paths)} | metadata(filename="joined.bin")
    status, fields, _ = ask(server, "POST", "/uploads/", TUS | ANNA | concat)
    assert (status, (store / "joined.bin").read_bytes() == DATA) == (201, True)
    told = ask(server, "HEAD", fields["location"], TUS | ANNA)[1]
    assert (told["upload-length"], told["upload-offset"]) == (str(len(DATA)),) * 2
    assert told["upload-concat"] == concat["Upload-Concat"]
    for data, offset in ((b"x", 0), (b"", len(DATA))):
        assert patched(server, fields["location"], data, offset)[0] == 403
    assert ask(server, "POST", "/uploads/", TUS | ANNA | concat)[1]["location"] == fields["location"]
    concat["Upload-Concat"] = "final;/uploads/nothing-of-the-kind"
    assert ask(server, "POST", "/uploads/", TUS | ANNA | concat)[0] == 404


def test_the_uploads_of_a_person_are_listed(server):
    who = basic("lister")
    path = created(server, 10, who=who, filename="a")
    status, fields, text = ask(server, "GET", "/uploads/", who)
    (one,) = json.loads(text)["uploads"]
    assert (status, fields["content-type"], path.endswith(one["id"])) == (200, "application/json", True)
    assert (one["path"], one["length"], one["offset"]) == ("a", 10, 0)


# The newest request goes on


@pytest.mark.parametrize("how", ["HEAD", "PATCH", "DELETE"])
def test_a_stalled_client_is_replaced_at_once(server, store, how):
    path = created(server, len(DATA), filename=f"stalled-{how}.bin")
    with Stalled(server, path, DATA[: 2 * MIB], 0, len(DATA)) as stalled:
        arrived(server, path, MIB)
        began = time.monotonic()
        if how == "DELETE":
            assert ask(server, "DELETE", path, TUS | ANNA)[0] == 204
        else:
            offset = (
                offset_of(server, path)
                if how == "HEAD"
                else json.loads(ask(server, "GET", "/uploads/", ANNA)[2])["uploads"][-1]["offset"]
            )
            assert patched(server, path, DATA[offset:], offset)[0] == 204
            assert (store / f"stalled-{how}.bin").read_bytes() == DATA
        took = time.monotonic() - began
        assert took < 30
        assert stalled.status() in {404, 409}
        print(f"{how}: {took:.3f} s")


def test_what_a_stalled_client_has_sent_counts(server):
    """Also if it is less than a block."""
    path = created(server, len(DATA), filename="less.bin")
    with Stalled(server, path, DATA[:300_000], 0, len(DATA)) as stalled:
        arrived(server, path, 300_000)
        assert offset_of(server, path) == 300_000
        assert stalled.status() == 409


def test_a_client_that_waits_to_be_asked_for_its_content_is_asked_if_it_is_taken(server):
    path = created(server, 100)
    for upload, headers, answers in [
        (path, {"Upload-Offset": "0"}, [100, 204]),
        (path, {"Upload-Offset": "5"}, [409]),
        (path, {"Upload-Offset": "95"}, [413]),
        (path, {"Upload-Offset": "0", "Authorization": ""}, [401]),
        (f"{path}x", {"Upload-Offset": "0"}, [404]),
    ]:
        with Stalled(server, upload, b"", 0, 10, Expect="100-continue", **headers) as client:
            told = [client.status()]
            if told == [100]:
                client.socket.sendall(b"0123456789")
                told.append(client.status())
        assert told == answers


def test_head_and_then_patch_never_conflict(server, store):
    """Whatever the client before is sending meanwhile."""
    path = created(server, len(DATA), filename="never.bin")
    offset, turns = 0, 0
    while offset < len(DATA):
        with Stalled(server, path, DATA[offset : offset + 500_000], offset, len(DATA) - offset):
            turns += 1
            told = offset_of(server, path)
            assert told >= offset
            step = DATA[told : told + 200_000]
            status, fields, _ = patched(server, path, step, told)
            assert status == 204
            offset = int(fields["upload-offset"])
            assert offset == told + len(step)
    assert turns >= 3
    assert (store / "never.bin").read_bytes() == DATA


def test_what_a_broken_connection_has_brought_counts(server, store):
    path = created(server, len(DATA), filename="broken.bin")
    offset, reached = 0, []
    while offset < len(DATA) - 1000:
        size = min(700_000, len(DATA) - offset - 500)
        with Stalled(server, path, DATA[offset : offset + size], offset, len(DATA) - offset) as client:
            client.socket.shutdown(socket.SHUT_WR)
            wait_until(lambda: client.socket.recv(65536) == b"")
        found = offset_of(server, path)
        assert found >= offset
        reached.append(found)
        offset = found
    assert len(reached) >= 3
    assert patched(server, path, DATA[offset:], offset)[0] == 204
    assert (store / "broken.bin").read_bytes() == DATA


def test_many_clients_at_once(server, store):
    def upload(number):
        data = content(400_000, number)
        path = created(server, len(data), filename=f"many-{number}.bin")
        for start in range(0, len(data), 150_000):
            patched(server, path, data[start : start + 150_000], start)

    threads = [threading.Thread(target=upload, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(8):
        assert (store / f"many-{number}.bin").read_bytes() == content(400_000, number)


def test_requests_while_an_upload_is_published_wait_and_are_told_its_end(server, store):
    data = content(8 * MIB)
    path = created(server, len(data), filename="waited-for.bin")
    assert patched(server, path, data[:-1], 0)[0] == 204
    told = []
    sender = threading.Thread(target=patched, args=[server, path, data[-1:], len(data) - 1])
    askers = [threading.Thread(target=lambda: told.append(offset_of(server, path))) for _ in range(12)]
    for thread in (sender, *askers):
        thread.start()
    for thread in (sender, *askers):
        thread.join()
    assert set(told) <= {len(data) - 1, len(data)}
    offset = offset_of(server, path)
    assert offset == len(data) or patched(server, path, data[offset:], offset)[0] == 204
    assert (store / "waited-for.bin").read_bytes() == data


def test_one_person_holds_up_no_other_one(server):
    """Also with as many slow connections as are taken of a person, which then has to wait."""
    slow = basic("slow")
    with ExitStack() as stalled:
        for _ in range(32):
            path = created(server, 1000, who=slow)
            stalled.enter_context(Stalled(server, path, b"x", 0, 1000, **slow))
        path = created(server, 1000, who=slow)
        wait_until(lambda: patched(server, path, b"", 0, who=slow)[0] == 503)
        headers = CHUNK | slow | {"Upload-Length": "1"}
        assert ask(server, "POST", "/uploads/", headers, b"x")[0] == 503
        assert len(json.loads(ask(server, "GET", "/uploads/", slow)[2])["uploads"]) == 33
        assert patched(server, created(server, 3, filename="quick"), b"abc", 0)[0] == 204
    wait_until(lambda: patched(server, path, b"", 0, who=slow)[0] == 204)


# Who may


def test_without_a_login_there_is_nothing(server):
    path = created(server, 10)
    for method, target in (("POST", "/uploads/"), ("GET", "/uploads/"), ("HEAD", path), ("PATCH", path)):
        assert ask(server, method, target, CHUNK | {"Upload-Length": "5", "Upload-Offset": "0"})[0] == 401
    assert offset_of(server, path) == 0


def test_nobody_gets_at_the_upload_of_another_person(server):
    path, bert = created(server, 10, filename="a", folder="~anna"), basic("bert")
    assert ask(server, "HEAD", path, TUS | bert)[0] == 404
    assert patched(server, path, b"x", 0, who=bert)[0] == 404
    assert ask(server, "DELETE", path, TUS | bert)[0] == 404
    headers = TUS | bert | {"Upload-Length": "1"}
    assert ask(server, "POST", "/uploads/", headers | metadata(filename="a", folder="~anna"))[0] == 403
    assert ask(server, "POST", "/uploads/", TUS | basic("reader") | {"Upload-Length": "1"})[0] == 403
    assert offset_of(server, path) == 0


def test_a_person_who_was_removed_meanwhile_adds_nothing(server, store):
    carl = basic("carl")
    path = created(server, len(DATA), who=carl, filename="of carl")
    with Stalled(server, path, DATA[: 2 * MIB], 0, len(DATA), **carl) as client:
        wait_until(lambda: list((store / HIDDEN / "parts").glob("*.part")))
        (store.parent / "carl was removed").touch()
        client.socket.sendall(DATA[2 * MIB :])
        assert client.status() == 403
    assert not (store / "of carl").exists()
    assert ask(server, "HEAD", path, TUS | carl)[0] == 401
    (store.parent / "carl was removed").unlink()
    assert offset_of(server, path, carl) == len(DATA)
    assert (store / "of carl").read_bytes() == DATA


def test_a_quota_is_kept(server):
    poor = basic("poor")
    created(server, QUOTA_BYTES - 10, who=poor)
    status, _, text = ask(server, "POST", "/uploads/", TUS | poor | {"Upload-Length": "11"})
    assert (status, b"10 are left" in text) == (413, True)


def test_a_page_of_another_site_uploads_only_if_its_origin_is_allowed(server):
    length = {"Upload-Length": "1"}
    session = {"Cookie": "session=anna"}
    own = {"Origin": "http://localhost"}
    for headers, status in [
        (session | own, 201),
        (session, 403),  # each browser tells its origin
        (session | {"Origin": "http://evil.example"}, 403),
        (session | {"Origin": "https://localhost"}, 403),
        (session | {"Origin": "null"}, 403),
        (session | {"Origin": SITE}, 403),  # an application password only
        (ANNA | {"Origin": "http://evil.example"}, 403),
        (ANNA | {"Origin": SITE}, 201),
    ]:
        answer = ask(server, "POST", "/uploads/", TUS | length | headers)
        assert answer[0] == status, headers
        allowed = SITE if headers.get("Origin") == SITE else None
        assert answer[1].get("access-control-allow-origin") == allowed
    assert ask(server, "GET", "/uploads/", session)[0] == 200
    assert ask(server, "GET", "/uploads/", session | {"Origin": SITE})[0] == 403
    path = created(server, 5)
    evil = {"Origin": "http://evil.example"}
    assert ask(server, "PATCH", path, CHUNK | session | evil | {"Upload-Offset": "0"}, b"abcde")[0] == 403
    assert ask(server, "DELETE", path, TUS | session | evil)[0] == 403
    preflight = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "tus-resumable"}
    fields = ask(server, "OPTIONS", path, preflight | evil)[1]
    assert not [name for name in fields if name.startswith("access-control")]
    fields = ask(server, "OPTIONS", path, preflight | {"Origin": SITE})[1]
    assert "PATCH" in fields["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in fields


def test_metadata_make_no_markup_and_no_fields(server, store):
    name = '"><script>alert(1)</script>\r\nX-Evil: 1'
    path = created(server, 1, filename=name)
    status, fields, _ = patched(server, path, b"x", 0)
    assert status == 204
    assert "x-evil" not in fields
    (made,) = [
        one.name for one in (store).rglob("*") if "script" in one.name and HIDDEN not in one.parts and one.is_file()
    ]
    assert not set('<>"\r\n') & set(made)
    assert urlsplit(fields["content-location"]).path.startswith("/files/")


def test_wsgi_takes_no_uploads(store):
    with Server("gunicorn", store, commands=COMPOSED, options=ServeOptions(store=store).as_json()) as running:
        assert ask(running, "POST", "/uploads/", TUS | ANNA | {"Upload-Length": "1"})[0] == 501
