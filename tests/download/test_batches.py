"""Several files one after another: what happens to one leaves the others alone."""

from __future__ import annotations

import pytest
from origin import drop_after, headers_without_end, status

from mediacrawl.download.cancel import Cancel
from mediacrawl.download.progress import Progress
from mediacrawl.download.records import Fetched, TransferRequest
from mediacrawl.errors import DiskFull, TransferError
from mediacrawl.store.parts import PartFile

COUNT = 3
BODY = b"\0film" * 100_000  # large enough for a record


@pytest.mark.parametrize("failing", range(COUNT))
def test_a_part_that_a_full_disk_cannot_close_keeps_no_other_locked(rig, monkeypatch, failing):
    requests = [TransferRequest(f"k{n}", rig.origin.add(f"/{n}.mp4", BODY)) for n in range(COUNT)]
    full = rig.store.parts.name(f"k{failing}")
    write_at, close = PartFile.write_at, PartFile.close

    def no_room(part, offset, data):
        if full in part.path.name:
            raise DiskFull("no space left")
        write_at(part, offset, data)

    def closed(part):
        close(part)
        if full in part.path.name:
            raise DiskFull("no space left for the record")

    monkeypatch.setattr(PartFile, "write_at", no_room)
    monkeypatch.setattr(PartFile, "close", closed)
    downloader = rig.downloader()
    outcomes = downloader.fsync_completed(downloader.fetch_batch(requests, Cancel(), lambda _: Progress("")))
    monkeypatch.undo()
    assert [type(outcome) for outcome in outcomes] == [
        DiskFull if number == failing else Fetched for number in range(COUNT)
    ]
    for outcome in outcomes:
        if isinstance(outcome, Fetched):
            outcome.part.close()
    for request in requests:
        rig.store.parts.open(request.key).close()  # raises PartInUse if it is locked


@pytest.mark.parametrize("fault", [status(404), drop_after(10, times=None), headers_without_end()])
def test_the_error_of_a_file_holds_nothing_of_its_transfer(rig, fault):
    request = TransferRequest("k", rig.origin.add("/a.mp4", BODY, faults=[fault]))
    [error] = rig.downloader().fetch_batch([request], Cancel(), lambda _: Progress(""))
    assert isinstance(error, TransferError)
    assert error.__traceback__ is error.__context__ is None  # its frames would hold the head
