"""A host that asks for quiet while worker processes fetch from it: the command ends, and the host gets its quiet."""

from __future__ import annotations

import pytest
from crawling import run, sha256
from origin import Answer

FILES = 100
QUIET_S = 1
TAKES_S = 0.05
# What was on its way when the answer came may still arrive: a request, and the news to the other processes.
ON_ITS_WAY_S = 0.3


def body(number):
    return b"\x89PNG\r\n\x1a\n" + b"%d " % number * 300


@pytest.fixture
def busy(origin):
    """Files of which each fortieth is busy when it is first asked for, 503 and 429 in turn."""
    seen = set()

    def answer(request):
        number = int(request.path.strip("/p.ng"))
        if number % 40 == 7 and number not in seen:
            seen.add(number)
            return Answer(503 if number % 80 == 7 else 429, [("Retry-After", str(QUIET_S))], b"later")
        origin.pause(TAKES_S)  # so that there is something left to ask for
        return Answer(200, [("Content-Type", "image/png")], body(number))

    for number in range(FILES):
        origin.on(f"/p{number}.png", answer)
    return origin


def asked_during_quiet(origin):
    """Requests that came between an answer that asks for quiet and the end of that quiet."""
    requests = origin.requests
    asked_at = [request.finished_at for request in requests if request.status in {429, 503}]
    return [
        request.path
        for request in requests
        if any(at + ON_ITS_WAY_S < request.started_at < at + QUIET_S for at in asked_at)
    ]


@pytest.mark.parametrize(
    "words",
    [("crawl", "urllist", "-a", "file=list"), pytest.param(("get", "-i", "list"), marks=pytest.mark.slow)],
    ids=" ".join,
)
def test_one_retry_after_does_not_hang_a_crawl_with_workers_and_is_obeyed_by_all_of_them(busy, tmp_path, words):
    (tmp_path / "list").write_text("".join(f"{busy.url(f'/p{number}.png')}\n" for number in range(FILES)))
    done = run(tmp_path, *words)
    assert done.status == 0, str(done)
    assert sorted(done.store.values()) == sorted(sha256(body(number)) for number in range(FILES))
    assert {request.status for request in busy.requests} >= {429, 503}
    assert asked_during_quiet(busy) == []


@pytest.mark.slow
def test_nor_a_gallery(busy, tmp_path):
    images = "".join(f'<img src="/p{number}.png">' for number in range(FILES))
    done = run(tmp_path, "crawl", "site", "-a", f"url={busy.page('/', images)}")
    assert done.status == 0, str(done)
    assert len(done.store) == FILES
    assert asked_during_quiet(busy) == []
