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
    from collections.abc import Callable, Iterable, Sequence

logger = logging.getLogger(__name__)

_STATES = frozenset({State.PENDING, State.PUBLISHING, State.DONE, State.FAILED})
_NEEDED = ("key", "url")
_MAY_LEAVE = ("", "/", ".")  # how a path begins that has to be looked at
_NUMBER = (int, float)
# The types of a column that is set; NULL stands for a fact that is not known.
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(Entry._fields, (str,)),
    **dict.fromkeys(("size_bytes", "http_status", "attempts", "permanent"), (int,)),
    **dict.fromkeys(("wanted_at", "finished_at", "checked_at"), _NUMBER),
}
_SQL_TYPES = {str: "'text'", int: "'integer'", float: "'real'"}
# The same as `_is_plain`, for SQLite: a path that has to be looked at.
_MAY_LEAVE_SQL = "substr(path, 1, 1) IN ('', '/', '.') OR instr(path, '..') OR instr(path, char(0))"
_PERMANENT, _STATE, _PATH = map(Entry._fields.index, ("permanent", "state", "path"))
_MOST_SHAPES = 1_000
_sound_shapes: set[tuple[type, ...]] = set()  # the types of the columns of rows that were sound: there are few


def entry_of(row: Sequence[Any], tell: Callable[[object, str], None]) -> Entry | None:
    """Return the entry of a row, whose values are in the order of `Entry`.

    A damaged column counts as not set: its file is fetched anew, if the column is needed for it. A row without key or
    URL counts as none. `tell` is called with the key and the name of what is damaged.
    """
    values = list(row)
    if not (_is_plain(values) or _is_mended(values, tell)):
        return None
    values[_PERMANENT] = bool(values[_PERMANENT])
    return Entry(*values)


def suspects(names: Iterable[str] = Entry._fields) -> str:
    """Return the condition of SQL for the rows of which `entry_of` may find one of these columns damaged."""
    possible = {name: ", ".join(_SQL_TYPES[kind] for kind in _TYPES[name]) for name in names}
    nulls = {name: "" if name in (*_NEEDED, "state") else ", 'null'" for name in names}
    conditions = [f"typeof({name}) NOT IN ({possible[name]}{nulls[name]})" for name in possible]
    states = ", ".join(f"'{state}'" for state in sorted(_STATES))
    return " OR ".join([*conditions, f"state NOT IN ({states})", _MAY_LEAVE_SQL])


def _is_plain(values: list[Any]) -> bool:
    """Return whether the values are those of nearly every row, so that nothing else has to be looked at."""
    if tuple(map(type, values)) not in _sound_shapes:
        return False
    path = values[_PATH]
    may_leave = path is not None and (path[:1] in _MAY_LEAVE or ".." in path or "\0" in path)
    return not may_leave and values[_STATE] in _STATES


def _is_mended(values: list[Any], tell: Callable[[object, str], None]) -> bool:
    """Replace what is damaged in the values of a row; return False if there is no entry without it."""
    key, shape = values[0], tuple(map(type, values))
    damaged = [name for name, value in zip(Entry._fields, values, strict=True) if not _is_possible(name, value)]
    if not damaged and len(_sound_shapes) < _MOST_SHAPES:
        _sound_shapes.add(shape)
    if (path := values[_PATH]) is not None and "path" not in damaged and not _is_inside(path):
        damaged.append("path")
    for name in damaged:
        tell(key, name)
        if name in _NEEDED:
            return False
        values[Entry._fields.index(name)] = Entry._field_defaults[name]
    if "path" in damaged and values[_STATE] != State.FAILED:
        values[_STATE] = State.PENDING
    return True


def _is_possible(name: str, value: object) -> bool:
    if name == "state":
        return value in _STATES
    return isinstance(value, _TYPES[name]) or (value is None and name not in _NEEDED)


def _is_inside(path: str) -> bool:
    """Return whether a path may be that of a published file: it does not leave the store."""
    parts = path.split("/")
    return parts[0] != ".mediacrawl" and "\0" not in path and not any(part in {"", ".", ".."} for part in parts)


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
    _tell_damaged(redact_url(entry.url) or entry.key)
    return {}


@lru_cache(1024)  # a row is read several times in a run
def _tell_damaged(name: str) -> None:
    logger.warning("%s: its options in the ledger (name, digests, referer) are damaged and do not count", name)
