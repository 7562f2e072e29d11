from __future__ import annotations

import contextlib
import email.utils
import http.client
import io
import re
import struct
import threading
import time
import urllib.parse
import wave
import zlib

import pytest
from range_vectors import RANGES

from mediacrawl.demo import DemoSite, content, media


@pytest.fixture(scope="module")
def running():
    with DemoSite(slow_bytes_per_s=0, breaks=False) as site:
        yield site


def ask(site, path, method="GET", **headers):
    target = urllib.parse.quote(path, safe="/?=")
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)) as client:
        client.request(method, target, headers=fields)
        response = client.getresponse()
        return response.status, response.headers, response.read()


def linked(site):
    """Every path that an attribute of a page names."""
    found = set()
    for path, body in site.pages.items():
        encoding = "gbk" if path == "/page/2" else "utf-8"
        for name, value in re.findall(r'(href|srcset|data-src|src|poster)="([^"]+)"', body.decode(encoding)):
            parts = value.split(", ") if name == "srcset" else [value]
            found |= {part.split()[0] for part in parts}
    return found


def test_all_that_is_served_is_linked_and_all_that_is_linked_is_served(running):
    paths = {path for path in linked(running) if not path.startswith("data:")}
    assert paths == running.files.keys() | running.pages.keys()


def test_every_file_arrives_as_it_is(running):
    for path, body in (running.files | running.pages).items():
        status, fields, read = ask(running, path)
        assert (status, read) == (200, body)
        assert fields["Content-Length"] == str(len(body))
        assert fields["Accept-Ranges"] == "bytes"
        assert fields["ETag"].startswith('"')


def test_the_larger_of_several_sizes_are_wanted(running):
    not_wanted = running.files.keys() - running.wanted.keys()
    assert not_wanted == {"/pictures/dawn-320.png", "/pictures/dawn-640.png", "/pictures/dusk-400.png"}
    assert len(set(running.files.values())) == len(running.files)


def test_the_second_page_is_gbk_and_leads_to_the_third(running):
    _, fields, body = ask(running, "/page/2")
    assert fields["Content-Type"] == "text/html; charset=gbk"
    assert '<a href="/page/3">下一页</a>' in body.decode("gbk")
    with pytest.raises(UnicodeDecodeError):
        body.decode("utf-8")


def test_names_come_from_the_server_in_utf_8(running):
    _, fields, _ = ask(running, "/files/1001")
    encoded = re.search(r"filename\*=UTF-8''(\S+)$", fields["Content-Disposition"])[1]
    assert urllib.parse.unquote(encoded) == "山 – 日出.png"


def test_robots_txt_is_404(running):
    assert ask(running, "/robots.txt")[0] == 404
    assert ask(running, "/robots.txt", "HEAD")[2] == b""


@pytest.mark.parametrize(("asked", "size", "ranges"), [row for row in RANGES if row[1] == 10])
def test_ranges_are_answered_as_rfc_9110_says(asked, size, ranges, monkeypatch):
    body = b"0123456789"
    monkeypatch.setattr(content, "files", lambda: {"/a": content.File(body, "text/plain")})
    with DemoSite() as site:
        status, fields, read = ask(site, "/a", **({} if asked is None else {"Range": asked}))
    if ranges == []:
        assert (status, fields["Content-Range"]) == (416, "bytes */10")
    elif ranges is not None and len(ranges) == 1:
        [(start, stop)] = ranges
        assert (status, fields["Content-Range"]) == (206, f"bytes {start}-{stop - 1}/10")
        assert read == body[start:stop]
    else:
        assert (status, fields["Content-Range"], read) == (200, None, body)


def test_if_range_and_the_conditions_of_a_cache_are_kept(running):
    path = "/pictures/rings.svg"
    _, fields, body = ask(running, path)
    etag, date = fields["ETag"], fields["Last-Modified"]
    later = email.utils.formatdate(content_date(date) + 60, usegmt=True)
    for value, status in ((etag, 206), (date, 206), ('"other"', 200), ("W/" + etag, 200), (later, 200)):
        got, _, read = ask(running, path, Range="bytes=5-", If_Range=value)
        assert (got, read) == (status, body[5:] if status == 206 else body)
    for conditions, status in (
        ({"If_None_Match": etag}, 304),
        ({"If_None_Match": f'"x", W/{etag}'}, 304),
        ({"If_None_Match": '"x"', "If_Modified_Since": date}, 200),
        ({"If_Modified_Since": date}, 304),
        ({"If_Modified_Since": "nonsense"}, 200),
    ):
        assert ask(running, path, **conditions)[0] == status
    status, of_head, nothing = ask(running, path, "HEAD", Range="bytes=5-")
    assert (status, of_head["Content-Length"], nothing) == (200, str(len(body)), b"")


def content_date(date):
    return email.utils.parsedate_to_datetime(date).timestamp()


def test_validators_are_the_same_in_another_process(running):
    with DemoSite() as other:
        for path in running.files.keys() - {content.BREAKS, content.SLOW}:
            ours, theirs = ask(running, path)[1], ask(other, path)[1]
            assert [ours[n] for n in ("ETag", "Last-Modified")] == [theirs[n] for n in ("ETag", "Last-Modified")]
    before = content.files()
    content.files.cache_clear()
    assert content.files() == before


def test_one_connection_breaks_once_and_goes_on_by_range():
    with DemoSite() as site:
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(site, content.BREAKS)
        have = caught.value.partial
        whole = site.files[content.BREAKS]
        assert 0 < len(have) < len(whole)
        status, _, rest = ask(site, content.BREAKS, Range=f"bytes={len(have)}-")
        assert (status, have + rest) == (206, whole)


def test_the_slow_file_is_slow_and_does_not_hold_up_the_end():
    before = set(threading.enumerate())
    with (
        DemoSite(slow_bytes_per_s=100) as site,  # all of it would take an hour
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)) as client,
    ):
        began = time.monotonic()
        client.request("GET", content.SLOW)
        client.getresponse().read(10)
        assert time.monotonic() - began > 0.05
        site.stop()
    assert set(threading.enumerate()) <= before


def test_the_slow_file_takes_two_to_three_seconds_unless_the_environment_says_otherwise(monkeypatch):
    site = DemoSite()
    assert 2 < len(site.files[content.SLOW]) / site.slow_bytes_per_s < 3
    monkeypatch.setenv("MEDIACRAWL_DEMO_BYTES_PER_S", "1000")
    assert DemoSite().slow_bytes_per_s == 1000


def test_the_port_may_be_chosen_and_used_again():
    with DemoSite() as first:
        port = first.port
        assert first.url == f"http://127.0.0.1:{port}/"
        ask(first, "/")
    with DemoSite(port=port) as second:
        assert second.port == port
    with pytest.raises(RuntimeError, match="not running"):
        assert second.url
    second.stop()


# What is inside the files


def test_pngs_unpack_to_their_size():
    for path, file in content.files().items():
        if file.content_type != "image/png":
            continue
        chunks, at = {}, 8
        while at < len(file.body):
            length, kind = struct.unpack_from(">I4s", file.body, at)
            data = file.body[at + 8 : at + 8 + length]
            assert struct.unpack_from(">I", file.body, at + 8 + length)[0] == zlib.crc32(kind + data), path
            chunks[kind] = data
            at += 12 + length
        width, height, depth, colour_type = struct.unpack_from(">IIBB", chunks[b"IHDR"])
        assert (depth, colour_type, len(chunks[b"PLTE"])) == (8, 3, 768)
        assert len(zlib.decompress(chunks[b"IDAT"])) == height * (width + 1)
    assert 100_000 < len(content.files()[content.BREAKS].body) < 500_000


def test_wavs_are_read_by_the_standard_library():
    for file in content.files().values():
        if file.content_type == "audio/wav":
            with wave.open(io.BytesIO(file.body)) as sound:
                assert (sound.getnchannels(), sound.getsampwidth()) == (1, 2)
                assert 1 < sound.getnframes() / sound.getframerate() < 5
                assert any(sound.readframes(1000))


def chunks_of(data, at, stop):
    while at < stop:
        kind, size = struct.unpack_from("<4sI", data, at)
        yield kind, at + 8, size
        at += 8 + size + size % 2
    assert at == stop


def test_an_avi_is_a_whole_riff_with_an_index_that_points_at_its_frames():
    data = media.avi(8, 4, 3)
    assert data[:4] + data[8:12] == b"RIFFAVI "
    parts = {(kind, data[at : at + 4]): (at, size) for kind, at, size in chunks_of(data, 12, len(data))}
    (movie, movie_size), (header, _) = parts[b"LIST", b"movi"], parts[b"LIST", b"hdrl"]
    assert struct.unpack_from("<4sI", data, header + 4) == (b"avih", 56)
    assert struct.unpack_from("<I", data, header + 12)[0] == 100_000  # microseconds for each frame
    frames = [(at, size) for _, at, size in chunks_of(data, movie + 4, movie + movie_size)]
    assert [size for _, size in frames] == [8 * 4 * 3] * 3
    [(index, index_size)] = [(at, size) for kind, at, size in chunks_of(data, 12, len(data)) if kind == b"idx1"]
    entries = list(struct.iter_unpack("<4sIII", data[index : index + index_size]))
    assert [(movie + offset + 8, size) for _, _, offset, size in entries] == frames


def test_a_gif_decodes_to_its_frames():
    data = media.gif(30, 20, 2)
    assert data[:6] == b"GIF89a"
    assert data[-1:] == b"\x3b"
    at, frames = 13 + 3 * 128, []
    while data[at] != 0x3B:
        if data[at] == 0x21:
            at += 2
        else:
            at += 11  # image descriptor and the minimum code size
        blocks = b""
        is_picture = data[at - 1] == 7
        while length := data[at]:
            blocks += data[at + 1 : at + 1 + length]
            at += 1 + length
        at += 1
        if is_picture:
            frames.append(blocks)
    expected = [bytes(p >> 1 for row in media.plasma(30, 20, turn) for p in row) for turn in (0.0, 3.141592653589793)]
    assert [bytes(code for code in frame if code < 128) for frame in frames] == expected
    assert all(frame[-1] == 129 for frame in frames)
