"""Read the rows of a ledger file, which may be damaged: each column is checked before it counts."""

from __future__ import annotations

import json
import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mediacrawl.errors import redact_url
from mediacrawl.ledger.base import Entry, State
from mediacrawl.sources.list_entry import digest_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

_STATES = frozenset({State.PENDING, State.PUBLISHING, State.DONE, State.FAILED})
_WITH_PATH = frozenset({State.PUBLISHING, State.DONE})
_NUMBER = (int, float)
# The types of a column that is set; NULL stands for a fact that is not known.
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(Entry._fields, (str,)),
    **dict.fromkeys(("size_bytes", "http_status", "attempts", "permanent"), (int,)),
    **dict.fromkeys(("wanted_at", "finished_at", "checked_at"), _NUMBER),
}
_PERMANENT, _STATE, _PATH = map(Entry._fields.index, ("permanent", "state", "path"))
_MOST_SHAPES = 1_000
_sound_shapes: set[tuple[type, ...]] = set()  # the types of the columns of rows that were sound: there are few


def entry_of(row: Sequence[Any], tell: Callable[[str], None]) -> Entry | None:
    """Return the entry of a row, whose values are in the order of `Entry`.

    A damaged column counts as not set: its file is fetched anew, if the column is needed for it. A row without key or
    URL counts as none. `tell` is called with the name of what is damaged.
    """
    values = list(row)
    shape = tuple(map(type, values))
    if shape not in _sound_shapes and not _is_mended(values, shape, tell):
        return None
    values[_PERMANENT] = bool(values[_PERMANENT])
    if values[_STATE] not in _STATES:
        tell("state")
        values[_STATE] = State.PENDING
    path = values[_PATH]
    if path is None:
        is_sound = values[_STATE] not in _WITH_PATH
    elif not (is_sound := _is_inside(path)):
        values[_PATH] = None
    if not is_sound:
        tell("path")
        values[_STATE] = State.FAILED if values[_STATE] == State.FAILED else State.PENDING
    return Entry(*values)


def _is_mended(values: list[Any], shape: tuple[type, ...], tell: Callable[[str], None]) -> bool:
    """Replace the values of a wrong type; return False if there is no entry without them."""
    is_sound = True
    for at, name in enumerate(Entry._fields):
        value = values[at]
        if not (isinstance(value, _TYPES[name]) or (value is None and name not in ("key", "url", "state"))):
            tell(name)
            if name in ("key", "url"):
                return False
            values[at] = Entry._field_defaults[name]
            is_sound = False
    if is_sound and len(_sound_shapes) < _MOST_SHAPES:
        _sound_shapes.add(shape)
    return True


def _is_inside(path: str) -> bool:
    """Return whether a path may be that of a published file: it does not leave the store."""
    return not (path.startswith(("/", ".mediacrawl/")) or ".." in path.split("/") or "\0" in path)


def options_of(entry: Entry) -> dict[str, str]:
    """Return what the row keeps of the list, see `sources.list_entry.KEPT`.

    Damaged options count as none, with one warning for each URL.
    """
    if not entry.wish:
        return {}
    try:
        options = json.loads(entry.wish)
    except (ValueError, RecursionError):
        options = None
    is_sound = isinstance(options, dict) and all(isinstance(value, str) for value in options.values())
    if is_sound and digest_problem(options) is None:
        return dict(options)
    _tell_damaged(redact_url(entry.url))
    return {}


@lru_cache(1024)  # a row is read several times in a run
def _tell_damaged(url: str) -> None:
    logger.warning("%s: its options in the ledger (name, digests, referer) are damaged and do not count", url)
