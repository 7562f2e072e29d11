"""Two processes on one store at a time: nothing is corrupted, nothing is fetched twice, the dead are inherited."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
from crawling import BIG, STALLS_AT, assert_plain, parts_in, sha256, start
from origin import Pattern, stall_after

from mediacrawl.archive import Archive, Publish
from mediacrawl.download.downloader import Downloader
from mediacrawl.download.records import TransferRequest
from mediacrawl.ledger.base import Entry, State
from mediacrawl.store.local import LocalStore
from mediacrawl.store.parts import PartInUse
from mediacrawl.transport.requests_transport import RequestsTransport

JPEG = "image/jpeg"
COUNT = 40


def body(number):
    return Pattern(3000 + 7000 * (number % 5), number)


@pytest.mark.parametrize("second", ["crawl", "get"])
def test_overlapping_lists_are_fetched_once_by_whoever_comes_first(command, origin, tmp_path, ledger, second):
    """Both are kept waiting for a file of their own until the other one has begun."""
    urls = [origin.add(f"/{number}.jpg", body(number), content_type=JPEG) for number in range(COUNT)]
    own = [
        origin.add(f"/own-{n}.jpg", Pattern(50_000, 90 + n), content_type=JPEG, faults=[stall_after(10)])
        for n in (0, 1)
    ]
    lists = [[own[0], *urls[: 3 * COUNT // 4]], [own[1], *urls[COUNT // 4 :]]]
    words = []
    for number, listed in enumerate(lists):
        (tmp_path / f"{number}.txt").write_text("\n".join(listed))
        words.append(("crawl", "urllist", "-a", f"file={number}.txt"))
    if second == "get":
        words[1] = ("get", *lists[1])
    with contextlib.ExitStack() as stack:
        under_way = [stack.enter_context(start(tmp_path, *each)) for each in words]
        origin.wait_for(lambda: all(origin.bytes_sent(f"/own-{n}.jpg") for n in (0, 1)), 40)
        origin.release()
        done = [running.wait() for running in under_way]
    for one in done:
        assert_plain(one)
        assert one.status == 0, str(one)

    asked = Counter(request.path for request in origin.requests if request.path != "/robots.txt")
    assert asked == dict.fromkeys([f"/{n}.jpg" for n in range(COUNT)] + ["/own-0.jpg", "/own-1.jpg"], 1)
    bodies = [body(number) for number in range(COUNT)] + [Pattern(50_000, 90), Pattern(50_000, 91)]
    assert sorted(done[0].store.values()) == sorted(each.sha256() for each in bodies)
    assert parts_in(tmp_path / "store") == []
    assert ledger.counts()["done"] == COUNT + 2
    assert ledger.is_intact()
    assert command("verify").out == "damaged 0, unknown 0\n"


def test_what_another_one_brought_while_this_one_queued_is_not_fetched_again(command, origin, tmp_path):
    """Both are asked for at the start, and one place is all there is: the second waits until long after."""
    first = origin.add("/first.jpg", BIG, content_type=JPEG, faults=[stall_after(STALLS_AT)])
    second = origin.add("/second.jpg", body(1), content_type=JPEG)
    with start(tmp_path, "get", first, second, settings={"MEDIACRAWL_CONCURRENT_TRANSFERS": 1}) as slow:
        origin.wait_for(lambda: origin.bytes_sent("/first.jpg") >= STALLS_AT)
        assert command("get", second).status == 0
        origin.release()
        done = slow.wait()
    assert done.status == 0, str(done)
    assert len(origin.requests_for("/second.jpg")) == 1
    assert f"already there: {tmp_path}/store/get/127.0.0.1/second.jpg" in done.out


@pytest.mark.parametrize("survivor", ["crawl", "get"])
def test_the_part_of_a_process_that_is_killed_goes_on_in_the_other_one(origin, tmp_path, survivor):
    big = origin.add("/big.mp4", BIG, content_type="video/mp4", faults=[stall_after(STALLS_AT)])
    own = origin.add("/own.jpg", body(2), content_type=JPEG)
    (tmp_path / "big.txt").write_text(big)
    (tmp_path / "both.txt").write_text(f"{big}\n{own}")
    words = ("get", big, own) if survivor == "get" else ("crawl", "urllist", "-a", "file=both.txt")
    one_connection = {"MEDIACRAWL_CONNECTIONS_PER_FILE": 1}
    with start(tmp_path, "crawl", "urllist", "-a", "file=big.txt", settings=one_connection) as dying:
        origin.wait_for(lambda: origin.bytes_sent("/big.mp4") >= STALLS_AT)
        with start(tmp_path, *words, settings=one_connection) as living:
            origin.wait_for(lambda: origin.requests_for("/own.jpg"))
            dying.kill()
            dying.wait()
            done = living.wait()
    assert_plain(done)
    assert done.status == 0, str(done)
    assert BIG.sha256() in done.store.values()
    assert len(done.store) == 2
    begun, taken_over = origin.requests_for("/big.mp4")
    assert begun.range is None
    assert taken_over.range[0] > 0
    assert taken_over.body_bytes_sent < len(BIG)
    assert parts_in(tmp_path / "store") == []


def test_a_file_is_not_fetched_again_between_its_rename_and_the_ledger(origin, tmp_path):
    """The other process has the name already, and is about to say so."""
    url = origin.add("/a.jpg", body(3), content_type=JPEG)
    request = TransferRequest(url, url)
    other = Archive.open(LocalStore(tmp_path / "store"))
    transport = RequestsTransport()
    downloader = Downloader(other.store, transport, fetched_elsewhere=other.fetched_elsewhere)
    tried = []

    def at_step(step):
        if step in {"folder-sync", "ledger-done"}:
            tried.append(step)
            with pytest.raises(PartInUse):
                downloader.fetch(request)

    store = LocalStore(tmp_path / "store", at_step=at_step)
    archive = Archive.open(store)
    fetched = Downloader(store, transport).fetch(request)
    (entry,) = archive.write([Publish(Entry(url, url, path="a.jpg"), fetched)])
    assert tried == ["folder-sync", "ledger-done"]
    assert entry.state == State.DONE
    with pytest.raises(PartInUse):
        downloader.fetch(request)
    assert len(origin.requests) == 1
    assert parts_in(store.root) == []
    archive.close()
    other.close()
    transport.close()


def test_what_a_process_died_over_after_the_rename_is_taken_by_the_next_one(origin, tmp_path):
    """No lock holds the file any more: it is not waited for."""
    url = origin.add("/a.jpg", body(4), content_type=JPEG)
    archive = Archive.open(LocalStore(tmp_path / "store"))
    archive.ledger.claim(Entry(url, url, path="a.jpg", size_bytes=len(body(4)), sha256=body(4).sha256()))
    (tmp_path / "store" / "a.jpg").write_bytes(body(4).read())
    assert archive.fetched_elsewhere([url]) == set()
    archive.recover()
    assert archive.fetched_elsewhere([url]) == {url}
    archive.close()


def test_a_file_that_is_gone_is_not_held_to_be_brought(tmp_path):
    archive = Archive.open(LocalStore(tmp_path / "store"))
    entry = Entry("key", "http://127.0.0.1/a.jpg", path="a.jpg", size_bytes=1, sha256=sha256(b"a"))
    assert archive.fetched_elsewhere(["key"]) == set()
    archive.ledger.claim(entry)
    archive.ledger.finish([entry], 1.0)
    assert archive.fetched_elsewhere(["key"]) == set()
    (tmp_path / "store" / "a.jpg").write_bytes(b"a")
    archive.ledger.settle("key", State.DONE, 2.0)
    assert archive.fetched_elsewhere(["key"]) == {"key"}
    archive.close()
