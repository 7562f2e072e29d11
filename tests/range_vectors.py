"""One table of `Range` fields for every range parser here: the package's, the origin's, the server's.

Each row: the field, the complete length, and what RFC 9110 (14.1.1, 14.1.2, 14.2) makes of it: None where
Range is to be ignored, [] where nothing of it can be satisfied (416), else the half-open ranges in the order
asked.
"""

from __future__ import annotations

_HUGE = "9" * 5000  # more digits than int() takes

RANGES: list[tuple[str | None, int, list[tuple[int, int]] | None]] = [
    (None, 10, None),
    ("bytes=0-0", 10, [(0, 1)]),
    ("bytes=9-9", 10, [(9, 10)]),
    ("bytes=0-9", 10, [(0, 10)]),
    ("bytes=2-4", 10, [(2, 5)]),
    ("bytes=4-", 10, [(4, 10)]),
    ("bytes=0-", 10, [(0, 10)]),
    ("bytes=-1", 10, [(9, 10)]),
    ("bytes=-3", 10, [(7, 10)]),
    ("bytes=-10", 10, [(0, 10)]),
    ("bytes=-11", 10, [(0, 10)]),
    ("bytes=5-99", 10, [(5, 10)]),
    (f"bytes=5-{_HUGE}", 10, [(5, 10)]),
    (f"bytes=-{_HUGE}", 10, [(0, 10)]),
    ("bytes=0-0", 1, [(0, 1)]),
    ("BYTES=1-2", 10, [(1, 3)]),  # 14.1: unit names are case-insensitive
    ("bytes=007-008", 10, [(7, 9)]),
    # Beyond the end
    ("bytes=10-", 10, []),
    ("bytes=10-20", 10, []),
    (f"bytes={_HUGE}-", 10, []),
    ("bytes=-0", 10, []),
    ("bytes=10-,-0", 10, []),
    # Nothing there
    ("bytes=0-", 0, []),
    ("bytes=0-0", 0, []),
    ("bytes=-0", 0, []),
    ("bytes=-5", 0, None),  # satisfiable, says 14.1.2, but no Content-Range can tell it
    # Several
    ("bytes= 1-2 ,", 10, [(1, 3)]),  # 5.6.1.2: a recipient takes empty elements
    ("bytes=0-0,10-", 10, [(0, 1)]),
    ("bytes=0-1,4-5", 10, [(0, 2), (4, 6)]),
    ("bytes=0-1 , -2", 10, [(0, 2), (8, 10)]),
    # Invalid: one bad part spoils all
    ("bytes=3-2", 10, None),
    ("bytes=3-2,5-6", 10, None),
    ("bytes=", 10, None),
    ("bytes=,", 10, None),
    ("bytes=-", 10, None),
    ("bytes=--1", 10, None),
    ("bytes=a-b", 10, None),
    ("bytes=1-2-3", 10, None),
    ("bytes=+1-2", 10, None),
    ("bytes=1 - 2", 10, None),
    ("bytes=1.0-2", 10, None),
    ("bytes=1_0-20", 100, None),
    ("bytes 1-2", 10, None),
    ("items=1-2", 10, None),
]
