"""Answers of all kinds, true ones and lies, several in a row: never a wrong file, no hang, no traceback.

See `response_model` for what a client can tell. A failure prints its plan: paste it into `REGRESSIONS`.

    MEDIACRAWL_TESTS=full python -m pytest -m slow -n 0 -s tests/download/test_response_fuzzer.py
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import sys
import threading
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import response_model
from drawing import FULL, SEED, drawn
from fetching import AT_ONCE, Rig
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from response_model import MODIFIED, Answer, Conversation, Plan, Planted
from response_server import ResponseServer

from mediacrawl.download import downloader, segments, verification
from mediacrawl.download.cancel import Cancel
from mediacrawl.download.retry import HostPauses
from mediacrawl.download.segments import SegmentPolicy
from mediacrawl.errors import TransferError
from mediacrawl.headers import Digest, ETag, Validators

if TYPE_CHECKING:
    from collections.abc import Callable

KIB = 1024
ENDS_WITHIN_S = 30
SILENCE_S = 10
ROUND = 60  # plans that one run of hypothesis draws

# --- what is drawn ----------------------------------------------------------------------------------

# Every change to a true answer; those at the beginning are what hypothesis shrinks to.
CHANGES = {
    "cut": [0.5, 0.0, 0.01, 0.3, 0.9, 0.999, 1.0, -1],
    "reset": [True],
    "version": [1],
    "body": ["other version", "from 0", "whole", "shifted", "short", "range", "html", "json"],
    "status": [200, 206, 203, 416, 304, 204, 202, 300, 302, 401, 403, 404, 410, 429, 503, 500],
    "ranges": [False],
    "etag": ["none", "weak", "changed", "bare"],
    "modified": ["none", "changed", "junk"],
    "date": [False],
    "content_range": [
        "none", "really from 0", "really later", "on 200", "later start",
        "from 0", "larger total", "smaller total", "star", "equals", "colon",
        "no unit", "capital", "blanks", "items", "exclusive", "backwards", "unsatisfied", "two", "shorter", "start",
    ],
    "coding": [
        "gzip", "gzip cut", "gzip lie", "utf-8", "identity", "x-gzip", "deflate", "gzip twice lie", "br lie", "empty",
    ],
    "framing": ["close", "chunked", "both", "chunked in two fields", "chunked twice"],
    "length": [
        "longer", "shorter", "huge", "endless", "repeated", "repeated other", "repeated other first", "list",
        "list other", "plus", "zeros", "underscore", "decimal", "negative", "empty", "words", "semicolon",
        "two numbers", "hex",
    ],
    "chunks": [
        "whole", "small", "odd", "extensions", "leading zeros", "trailers", "0x", "plus", "blanks", "underscore",
        "negative", "empty", "words", "huge", "endless", "too large", "too small", "no end of data",
        "other end of data", "bare LF", "no last chunk", "no end of trailers", "last chunk cut",
    ],
    "surplus": ["junk", "answer"],
    "repeat": [
        (name, how)
        for name in ("Content-Length", "ETag", "Content-Range", "Content-Type", "Last-Modified", "Content-Encoding",
                     "Transfer-Encoding", "Accept-Ranges", "Repr-Digest", "Location", "Retry-After", "Date")
        for how in ("equal", "other")
    ],
    "order": [1, 3, 5, 7],
    "content_type": ["octets", "none", "media", "html", "multipart"],
    "accept_ranges": ["none", ""],
    "digest": ["right", "wrong"],
    "retry_after": ["0", "1", "120", "400", "Thu, 01 Jan 2026 00:00:01 GMT", "soon"],
    "location": ["/b.jpg", "/a.jpg", "http://[", "ftp://h/a", "//127.0.0.1:1/a"],
    "line": [
        "HTTP/1.0 {} OK", "HTTP/1.1 {} ", "HTTP/1.1 {}", "HTTP/1.1  {}  OK", "http/1.1 {} OK", "ICY {} OK",
        "HTTP/2 {} OK", "HTTP/1.2 {} OK", "HTTP/1.1 {} \xe9\t", "HTTP {} OK",
    ],
    "interim": ["100", "103", "103 that misleads"],
    "keeps": [False],
}  # fmt: skip
# What goes with a change, as it has no effect alone.
TOGETHER = {
    "chunks": ("framing", ["chunked", "both", "chunked in two fields"]),
    "retry_after": ("status", [429, 503]),
    "location": ("status", [302, 300]),
    "reset": ("cut", [0.5, 0.9, 1.0]),
}
WEIGHTS = {"cut": 5, "body": 3, "content_range": 3, "version": 2, "etag": 2, "framing": 2, "noise": 3}


def _changes(name: str) -> list[dict[str, object]]:
    if name == "noise":
        return [{"noise": ((form, number),)} for form in response_model.NOISES for number in (0, 4, 7)]
    if name not in TOGETHER:
        return [{name: value} for value in CHANGES[name]]
    other, others = TOGETHER[name]
    return [{other: more, name: value} for value in CHANGES[name] for more in others]


def _weighted() -> list[dict[str, object]]:
    """All changes in one list, which is drawn from in one step: each field about as often as its weight says."""
    found = []
    for name in [*CHANGES, "noise"]:
        changes = _changes(name)
        found += changes * max(1, round(40 * WEIGHTS.get(name, 1) / len(changes)))
    return found


def _merged(changes: list[dict[str, object]]) -> Answer:
    merged: dict[str, object] = {}
    for change in changes:
        noise = (*merged.get("noise", ()), *change.get("noise", ()))
        merged |= change | {"noise": noise}
    return Answer(**merged)


# What an answer begins with, before it is changed: changes that show nothing alone do so together with one of these.
BASES = [
    {}, {"cut": 0.5}, {"framing": "chunked"}, {"framing": "chunked", "cut": 0.5}, {"framing": "close"},
    {"framing": "close", "cut": 0.5, "digest": "right"}, {"etag": "none"}, {"etag": "none", "version": 1},
    {"version": 1}, {"version": 1, "status": 206}, {"status": 206}, {"digest": "wrong"},
]  # fmt: skip
_few = st.one_of(*(st.lists(st.sampled_from(_weighted()), min_size=n, max_size=n) for n in (1, 0, 1, 2, 1, 2, 4)))
answers = st.tuples(st.sampled_from(BASES), _few).map(lambda pair: _merged([pair[0], *pair[1]]))
planted = st.builds(
    Planted,
    at=st.sampled_from([0.7, 1.0, 0.5, 0.99]),
    etag=st.sampled_from(["strong", "weak", "none"]),
    modified=st.sampled_from(["right", "none"]),
    total=st.booleans().map(lambda without: not without),
)


# What there is when the answers begin that are drawn: nothing, a part of this run, or one of an earlier run.
PRELUDES = [
    (),
    (Answer(cut=0.5),),
    None,
    (Answer(cut=0.5, etag="none"),),
    (Answer(framing="chunked", cut=0.9),),
    None,
]


@st.composite
def plans(draw: st.DrawFn, *, large: bool = False) -> Plan:
    prelude = draw(st.sampled_from(PRELUDES))
    size = draw(st.sampled_from([200, 300, 400] if large or prelude is None else [40, 1, 300])) * KIB
    if draw(st.integers(0, 3)) == 3:
        size = draw(st.sampled_from([size + 1, size - 1] if large or prelude is None else [size + 1, 60, 17, 1]))
    other = draw(st.sampled_from([size, size, size + 777, max(1, size * 2 // 3)]))
    helpers = st.one_of(answers, st.just(Answer(version=1, status=206)), st.just(Answer()))
    return Plan(
        answers=(prelude or ()) + tuple(draw(st.lists(answers, max_size=3))),
        helpers=tuple(draw(st.lists(helpers, max_size=2))) if large else (),
        rest=draw(st.one_of(st.just(Answer()), st.just(Answer(version=1)), answers)),
        size=size,
        other_size=other,
        media=draw(st.sampled_from(sorted(response_model.SIGNATURES))),
        planted=draw(planted) if prelude is None else None,
        digest=draw(st.sampled_from(["", "", "", "sha256", "md5"])),
        hashes=draw(st.booleans()),
        revalidates=draw(st.integers(0, 9)) == 9,
        later=draw(st.integers(0, 1)),
    )


# --- a transfer and its verdict ---------------------------------------------------------------------


class Bench:
    """Runs plans, each with a transport, a server and a part of its own, and counts."""

    def __init__(self, root: Path, kind: type, connections: int) -> None:
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.hang = ""
        self.is_shrinking = False
        self.now = 1000.0  # of the clock on which transfers wait
        self._kind = kind
        self._connections = connections
        self._rig = Rig(root, None, None)
        self._plans = 0

    def close(self) -> None:
        self._rig.archive.close()

    @property
    def answers(self) -> int:
        return self.statuses.total()

    def check(self, plan: Plan) -> None:
        """Run a plan, and after a failure a later run, in which the server tells nothing but the truth."""
        self._plans += 1
        key = f"file {self._plans}"
        if plan.planted is not None:
            self._plant(plan, key)
        first = Conversation(plan)
        failed = self._run(first, key)
        if failed:
            later = Conversation(dataclasses.replace(plan, answers=(), helpers=(), rest=Answer(version=plan.later)))
            self._run(later, key, before=first)

    def _plant(self, plan: Plan, key: str) -> None:
        data, part = plan.versions()[0], plan.planted
        have = min(len(data), max(130 * KIB, int(len(data) * part.at)))
        etag = {"strong": '"v0"', "weak": 'W/"v0"', "none": None}[part.etag]
        modified = MODIFIED[0] if part.modified == "right" else None
        total = len(data) if part.total else None
        self._rig.plant(data[:have], total=total, etag=etag, modified=modified, key=key)

    def _run(self, conversation: Conversation, key: str, before: Conversation | None = None) -> bool:
        """Run one transfer and judge it. Return whether it failed as it may."""
        cancel = Cancel()
        self._rig.transport = self._kind()
        with ResponseServer(conversation, waits_for_helpers=self._connections > 1) as server:
            outcome = self._outcome(conversation, server, key, cancel)
            self._rig.transport.close()
        assert not server.errors, "".join(traceback.format_exception(server.errors[0]))
        self.counts["transfers"] += 1
        self.statuses.update(sent.status for sent in conversation.sent)
        wrong, data = self._wrong(conversation, outcome, before)
        excuse = self._excuse(conversation, before)
        if wrong and outcome == wrong:
            self.hang = _told(wrong, conversation, before)  # too slow to be shrunk
            return False
        if wrong and not (excuse in response_model.KNOWN_GAPS or (excuse and isinstance(wrong, _WrongFile))):
            pytest.fail(_told(wrong, conversation, before), pytrace=False)
        if excuse in response_model.KNOWN_GAPS:
            self.counts["with a known gap"] += 1
        elif excuse:
            self.counts["untellable"] += 1
        self.counts["files" if data is not None else "failures"] += 1
        if wrong:
            self.counts[f"wrong, as {excuse!r} is not told"] += 1
        return data is None and before is None

    def _outcome(self, conversation: Conversation, server: ResponseServer, key: str, cancel: Cancel) -> object:
        plan, found = conversation.plan, []
        fetching = self._rig.downloader(
            pauses=HostPauses(clock=lambda: self.now),
            backoff=AT_ONCE,
            sha256=plan.hashes,
            segments=SegmentPolicy(self._connections, from_bytes=64 * KIB, measure_s=0.0),
        )
        digests = ()
        if plan.digest:
            digests = (Digest(plan.digest, hashlib.new(plan.digest, conversation.versions[0]).digest()),)

        def fetch() -> None:
            try:
                found.append(
                    self._rig.fetch(
                        server.url,
                        key=key,
                        downloader=fetching,
                        cancel=cancel,
                        digests=digests,
                        connections=self._connections,
                        timeout_s=SILENCE_S,
                        revalidate=Validators(ETag("v0")) if plan.revalidates else None,
                        expected_type=plan.media,
                    )
                )
            except BaseException as error:
                found.append(error)

        thread = threading.Thread(target=fetch, name="transfer")
        thread.start()
        thread.join(ENDS_WITHIN_S)
        if not thread.is_alive():
            return found[0]
        stack = "".join(traceback.format_stack(sys._current_frames()[thread.ident]))
        cancel.set()
        self._rig.transport.abort()
        server.close()
        thread.join(ENDS_WITHIN_S)
        return f"hangs:\n{stack}"

    def _wrong(
        self, conversation: Conversation, outcome: object, before: Conversation | None
    ) -> tuple[str, bytes | None]:
        """Return what is wrong with an outcome, empty if nothing is, and the file, if there is one."""
        if isinstance(outcome, str):
            return outcome, None
        if isinstance(outcome, TransferError) and not conversation.is_endless:
            told = f"failed, though every answer told the truth: {outcome!r}"
            return (told if conversation.has_to_succeed else ""), None
        if isinstance(outcome, BaseException):
            return "raised:\n" + "".join(traceback.format_exception(outcome)), None
        if conversation.is_endless:
            return f"asked {len(conversation.sent)} times", None
        if outcome.part is None:
            unmodified = any(sent.status == 304 and sent.ask.is_conditional for sent in conversation.sent)
            return ("" if unmodified else "nothing was unmodified, and nothing was fetched"), b""
        data = self._published(outcome)
        expected = hashlib.sha256(data).hexdigest() if conversation.plan.hashes else ""
        if (outcome.size_bytes, outcome.sha256) != (len(data), expected):
            return f"size and hash are not those of the file: {outcome}", data
        wrong = conversation.wrong_with(data)
        if not wrong and before is None:
            tag = outcome.validators.etag
            wrong = conversation.wrong_with_tag(tag.opaque if tag and not tag.weak else None, data)
        return (_WrongFile(f"the file {wrong}") if wrong else ""), data

    def _published(self, outcome: object) -> bytes:
        """Return the bytes of a part, and end it as the archive does."""
        path = Path(outcome.part.file)
        data = path.read_bytes()
        path.unlink()
        outcome.part.published()
        return data

    def _excuse(self, conversation: Conversation, before: Conversation | None) -> str:
        """Why this transfer may end with a wrong file."""
        both = [conversation] + ([before] if before else [])
        reasons = [reason for one in both for reason in one.untellable]
        if reasons and not conversation.plan.digest:
            return reasons[0]
        return next((gap for one in both for gap in one.gaps), "")

    def __str__(self) -> str:
        counts = {"answers": self.answers, **self.counts}
        by_status = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        return f"{', '.join(f'{count} {name}' for name, count in counts.items())}\n  by status: {by_status}"


class _WrongFile(str):
    """What is wrong with a file that was stored."""

    __slots__ = ()


def _told(wrong: str, conversation: Conversation, before: Conversation | None) -> str:
    """The message of a failure, with the plan as an expression for `REGRESSIONS`."""
    earlier = [] if before is None else ["failed, as it may, after", before.log(), "and the later run after"]
    plan = conversation.plan if before is None else before.plan
    return "\n".join([wrong, f"{plan!r},", *earlier, conversation.log() or "  (no request)"])


@pytest.fixture(params=[1, 4], ids=["", "segments"])
def bench(request, tmp_path, transport_kind, monkeypatch):
    """Small pieces and small large files, so that bodies of a test take those ways too."""
    for module in (verification, downloader):
        monkeypatch.setattr(module, "BESIDE_FROM_BYTES", 200 * KIB)
    monkeypatch.setattr(segments, "_SPLIT_BYTES", 16 * KIB)
    with contextlib.closing(Bench(tmp_path / "store", transport_kind, request.param)) as running:
        running.large = request.param > 1

        def wait(cancel: Cancel, seconds: float) -> None:
            """Let the clock go on by that, in place of waiting."""
            running.now += max(0.0, seconds)
            cancel.check()

        monkeypatch.setattr(Cancel, "wait", wait)
        for sync in ("fsync", "fdatasync"):  # half of the time, and a power cut is none of the subjects here
            monkeypatch.setattr(os, sync, lambda _fd: None)
        yield running


def fuzz(bench: Bench, least_answers: int, first_seed: int) -> None:
    """Draw plans until so many answers were sent."""
    number = first_seed
    while bench.answers < least_answers:

        @seed(number)
        @settings(
            max_examples=ROUND,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        @given(plans(large=bench.large))
        def run(plan: Plan) -> None:
            if not bench.hang and (bench.answers < least_answers or bench.is_shrinking):
                try:
                    bench.check(plan)
                except BaseException:
                    bench.is_shrinking = True
                    raise

        run()
        assert not bench.hang, bench.hang
        number += 1


# --- the tests --------------------------------------------------------------------------------------

LARGE = 200 * KIB
# The least plans that once ended with a wrong file or a traceback. Some still do: see `response_model.KNOWN_GAPS`.
REGRESSIONS = [
    # The file was recorded with the ETag of the newer version, which had been begun and left again.
    Plan((Answer(framing="chunked", cut=0.9), Answer(version=1, cut=0.5)), size=LARGE, other_size=LARGE),
    Plan(answers=(Answer(status=503, length="endless", surplus="answer"),)),
    # The file was cut off at the first chunk, as `4000` was read from its third digit on.
    Plan((Answer(framing="chunked", chunks="no end of data"),)),
    Plan((Answer(framing="chunked", chunks="bare LF"),)),
    # The line end behind the data was stored as data, and the next answer continued behind it.
    Plan((Answer(framing="chunked", chunks="too large"),)),
    # The sizes of the following chunks were stored as data.
    Plan((Answer(framing="chunked", chunks="negative"),), planted=Planted(), size=LARGE, other_size=LARGE),
    Plan((Answer(framing="chunked", chunks="huge"),), planted=Planted(), size=LARGE, other_size=LARGE),
    Plan((Answer(framing="chunked", chunks="endless"),), planted=Planted(), size=LARGE, other_size=LARGE),
    # Bytes behind a body were taken for the next answer, on the same connection.
    Plan((Answer(surplus="answer", digest="wrong"),)),
    Plan((Answer(cut=0.5), Answer(status=206, version=1, surplus="answer")), size=LARGE, other_size=LARGE),
    # A number of 5,000 digits was a traceback.
    Plan(rest=Answer(length="endless")),
    Plan((Answer(length="endless"),), size=LARGE, other_size=LARGE),
    # The fields behind this line were lost: the framing of the chunks was stored, and a cut body was complete.
    *(
        Plan((Answer(framing=framing, cut=cut, noise=((form, 0),)),))
        for form in ("junk", "latin-1", "blank before colon", "CR end")
        for framing, cut in (("chunked", None), ("length", 0.5))
    ),
    Plan((Answer(cut=0.5, noise=(("blank before colon", 5),)),)),
    # The text behind a bare CR was a field.
    Plan((Answer(framing="close", noise=(("CR length", 0),)),)),
    Plan((Answer(framing="close", noise=(("CR range", 0),)),)),
    Plan((Answer(framing="chunked", noise=(("CR range", 0),)),)),
    # The head of the 206 was true, and its bytes were others.
    *(
        Plan((Answer(cut=0.5), Answer(body=body, framing=framing)), size=LARGE, other_size=LARGE)
        for body, framing in (
            ("other version", "length"),
            ("from 0", "length"),
            ("shifted", "length"),
            ("whole", "chunked"),
            ("html", "close"),
        )
    ),
    Plan((Answer(cut=0.5, body="other version"),), size=LARGE, other_size=LARGE),
    Plan(helpers=(Answer(body="other version"),), size=2 * LARGE, other_size=2 * LARGE),
    Plan(helpers=(Answer(body="from 0"),), size=2 * LARGE, other_size=2 * LARGE),
    # A document was stored as media.
    Plan((Answer(body="json"),)),
    # Fewer bytes under the strong ETag of a part, whose length is known, were stored as the file.
    Plan((Answer(ranges=False, body="short"),), planted=Planted(), size=LARGE, other_size=LARGE),
    Plan(rest=Answer(status=200, body="range"), planted=Planted(), size=LARGE, other_size=LARGE),
    Plan(rest=Answer(ranges=False, framing="close", cut=0.5), planted=Planted(), size=LARGE, other_size=LARGE),
]


_NONE = {"etag": "none", "modified": "none"}
# What a downloader meets most often: chance leaves some of it out in a short run.
COMMON = [
    Plan((Answer(cut=0.5),), size=LARGE, other_size=LARGE),
    Plan((Answer(cut=0.5, reset=True), Answer(version=1)), rest=Answer(version=1), size=LARGE, other_size=LARGE),
    Plan((Answer(cut=0.5), Answer(version=1, status=206)), rest=Answer(version=1), size=LARGE, other_size=LARGE),
    Plan((Answer(version=1, status=206, etag="none"),), planted=Planted(etag="none"), size=LARGE, other_size=LARGE),
    Plan((Answer(version=1, status=206, **_NONE),), planted=Planted(**_NONE), size=LARGE, other_size=LARGE),
    Plan((Answer(cut=0.5), Answer(etag="weak")), size=LARGE, other_size=LARGE),
    Plan((Answer(cut=0.5), Answer(content_range="really from 0")), size=LARGE, other_size=LARGE),
    Plan((Answer(cut=0.5), Answer(content_range="really later")), size=LARGE, other_size=LARGE),
    Plan((Answer(cut=0.5), Answer(content_range="on 200")), size=LARGE, other_size=LARGE),
    Plan((Answer(cut=0.5), Answer(content_range="none")), size=LARGE, other_size=LARGE),
    Plan((Answer(cut=0.5), Answer(coding="gzip")), size=LARGE, other_size=LARGE),
    Plan((Answer(cut=0.5), Answer(coding="gzip", framing="chunked")), size=LARGE, other_size=LARGE),
    Plan((Answer(cut=0.5), Answer(status=416)), size=LARGE, other_size=LARGE),
    Plan((Answer(version=1, status=206),), planted=Planted(at=1.0, total=False), size=LARGE, other_size=2 * LARGE),
    *(
        Plan(helpers=(answer,), size=2 * LARGE, other_size=2 * LARGE)
        for answer in (
            Answer(version=1),
            Answer(version=1, status=206),
            Answer(cut=0.5),
            Answer(content_range="really later"),
            Answer(content_range="really from 0"),
            Answer(coding="gzip"),
            Answer(status=503),
            Answer(status=429, retry_after="1"),
        )
    ),
    *(
        Plan((answer,))
        for answer in (
            Answer(interim="103", cut=0.5),  # not through the short way
            Answer(framing="close", cut=0.5, digest="right"),
            Answer(framing="close", cut=0.5, reset=True),
            Answer(framing="close", cut=-1),
            Answer(framing="close", coding="gzip", cut=0.9),
            Answer(framing="chunked", coding="gzip cut"),
            Answer(framing="chunked", chunks="no last chunk"),
            Answer(framing="chunked", cut=0.5),
            Answer(framing="both", length="shorter"),
            Answer(length="repeated other"),
            Answer(length="repeated other first"),
            Answer(body="html"),
            Answer(body="html", content_type="media"),
            Answer(digest="wrong"),
        )
    ),
    Plan(rest=Answer(digest="wrong")),
    Plan(rest=Answer(version=1), digest="sha256"),
    Plan((Answer(status=304),), revalidates=True),
]


def test_what_a_downloader_meets_most_often(bench):
    for plan in COMMON:
        bench.check(plan)
        assert not bench.hang, bench.hang


def test_plans_that_once_ended_badly(bench):
    for plan in REGRESSIONS:
        bench.check(plan)
        assert not bench.hang, bench.hang


def test_answers_that_lie_make_no_wrong_file_no_hang_and_no_traceback(bench):
    least = 150 if bench.large else 100  # 500 answers over both transports
    fuzz(bench, least, first_seed=1)
    assert bench.answers >= least
    assert bench.counts["files"] > bench.counts["transfers"] // 4, "the model lies too often to test anything"
    assert bench.counts["untellable"] < bench.counts["transfers"] // 4


# Where an answer with one change stands: what it has besides that, and its plan.
PLACES: dict[str, tuple[dict[str, object], Callable[[Answer], Plan]]] = {
    "first": ({}, lambda answer: Plan((answer,))),
    "always": ({}, lambda answer: Plan(rest=answer)),
    "cut": ({"cut": 0.5}, lambda answer: Plan((answer,))),
    "in chunks": ({"framing": "chunked"}, lambda answer: Plan((answer,))),
    "in chunks and cut": ({"framing": "chunked", "cut": 0.5}, lambda answer: Plan((answer,))),
    "without a length": ({"framing": "close"}, lambda answer: Plan((answer,))),
    "without a length, cut": ({"framing": "close", "cut": 0.5}, lambda answer: Plan((answer,), digest="sha256")),
    "after a part": ({}, lambda answer: _large(answers=(Answer(cut=0.5), answer))),
    "after a part of unknown length": (
        {},
        lambda answer: _large(answers=(Answer(framing="chunked", cut=0.5), answer)),
    ),
    "another version": (
        {"version": 1},
        lambda answer: _large(answers=(Answer(cut=0.5), answer), rest=Answer(version=1)),
    ),
    "another version as 206": (
        {"version": 1, "status": 206},
        lambda answer: _large(answers=(Answer(cut=0.5), answer), rest=Answer(version=1)),
    ),
    "after an earlier run": ({}, lambda answer: _large(answers=(answer,), planted=Planted())),
    "after one with a weak ETag": (
        {},
        lambda answer: _large(answers=(answer,), planted=Planted(etag="weak", total=False)),
    ),
    "after one with a date": (
        {"etag": "none"},
        lambda answer: _large(answers=(answer,), planted=Planted(etag="none", total=False)),
    ),
    "another version after one with a date": (
        {"etag": "none", "version": 1, "status": 206},
        lambda answer: _large(answers=(answer,), planted=Planted(etag="none")),
    ),
    "to all helpers": ({}, lambda answer: _large(helpers=(answer,))),
    "to a helper": ({}, lambda answer: _large(helpers=(answer, Answer(), Answer()))),
    "behind a redirect": ({}, lambda answer: Plan((Answer(status=302, location="/b.jpg"), answer))),
    "with surplus": ({"surplus": "answer", "status": 503}, lambda answer: Plan((answer,))),
}


def _large(**given: object) -> Plan:
    return Plan(size=400 * KIB, other_size=400 * KIB, **given)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_each_change_alone(bench, place):
    """Each field and each line of a head by itself, in each place, all of them in the full form."""
    base, plan = PLACES[place]
    print(f"MEDIACRAWL_SEED={SEED}")
    changes = [change for name in [*CHANGES, "noise"] for change in _changes(name)]
    for change in drawn(changes, 5, place):
        bench.check(plan(_merged([base, change])))
        assert not bench.hang, bench.hang
    print(bench)


@pytest.mark.slow
def test_many_answers_that_lie(bench):
    print(f"MEDIACRAWL_SEED={SEED}")
    fuzz(bench, 5000 if FULL else 250, first_seed=SEED)
    print(bench)
