"""A proxy that collects uploads is noticed by the times of requests, and none is suspected without reason."""

from __future__ import annotations

import pytest

from mediacrawl.server.uploads.buffering import BufferingWatch

SIZE = 10_000_000


def seen(*patches):
    watch, now = BufferingWatch(), 0.0
    became_sure = []
    for gap, took, size in patches:
        watch.note_told("id", now)
        became_sure.append(watch.note_received("id", now + gap, now + gap + took, size))
        now += gap + took
    return became_sure, watch.is_buffered


@pytest.mark.parametrize(
    ("patches", "sure", "is_buffered"),
    [
        ([(60.0, 0.5, SIZE)], [False], False),
        ([(60.0, 0.5, SIZE), (30.0, 0.2, SIZE)], [False, True], True),
        ([(60.0, 0.5, SIZE)] * 3, [False, True, False], True),
        ([(60.0, 0.5, SIZE), (0.01, 20.0, SIZE), (60.0, 0.5, SIZE)], [False] * 3, False),
        ([(0.01, 60.0, SIZE)] * 3, [False] * 3, False),
        ([(1.0, 0.01, SIZE)] * 3, [False] * 3, False),
        ([(60.0, 0.01, 1000)] * 3, [False] * 3, False),
        ([(60.0, 0.5, SIZE), (60.0, 0.5, SIZE), (0.01, 60.0, SIZE)], [False, True, False], True),
    ],
)
def test_a_patch_that_comes_late_and_at_once_has_been_collected(patches, sure, is_buffered):
    assert seen(*patches) == (sure, is_buffered)


def test_an_upload_whose_offset_was_not_told_says_nothing():
    assert not BufferingWatch().note_received("id", 60.0, 60.1, SIZE)
