"""Requests as JSON, as the frontier stores them: reading them runs no code, unlike reading pickles.

Values of meta and cb_kwargs come back with the same type. JSON has no notation for some common types; such a value is
written as an object with the key `$`, which names its type.
"""

from __future__ import annotations

import binascii
import json
import pickle
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from scrapy import Request
from scrapy.utils.misc import load_object
from scrapy.utils.request import request_from_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Spider

_TYPE, _VALUE = "$", "value"
_TEXT = frozenset({str})
_PLAIN = frozenset({str, int, float, bool, type(None)})
_PICKLE_BEGINS = b"\x80"  # of protocol 2 and later
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
# Attributes that are not written if they have these values, those of a request for a page without more.
_DEFAULTS = {
    "method": "GET",
    "body": b"",
    "encoding": "utf-8",
    "priority": 0,
    "dont_filter": False,
    "callback": None,
    "errback": None,
    "cookies": {},
    "meta": {},
    "cb_kwargs": {},
    "flags": [],
}


class UnreadableRequest(Exception):
    """Stored bytes are not a request of this spider: they are damaged, or the spider has lost a method."""


class UnstorableRequest(Exception):
    """JSON cannot represent a request: a callback is not a method of the spider, or meta contains an object."""


def request_to_bytes(request: Request, spider: Spider | None) -> bytes:
    """Return a request as JSON.

    Raises:
        UnstorableRequest: with the reason in a few words.
    """
    try:
        facts = request.to_dict(spider=spider)
        headers = [[_text(name), list(map(_text, values))] for name, values in facts.pop("headers").items()]
        is_plain = "_class" not in facts
        stored = {
            name: value if type(value) in _PLAIN else _encoded(value)
            for name, value in facts.items()
            if not (is_plain and name in _DEFAULTS and value == _DEFAULTS[name])
        }
        if headers:
            stored["headers"] = headers
        return _to_json(stored).encode("ascii")
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        raise UnstorableRequest(" ".join(str(error).split())) from None


def request_from_bytes(data: bytes, spider: Spider | None) -> Request:
    """Return the request that `request_to_bytes` has stored.

    Raises:
        UnreadableRequest: with the reason in a few words.
    """
    try:
        facts = _from_json(data.decode("ascii"))
        headers = facts.get("headers", [])
        facts["headers"] = {_bytes(name): list(map(_bytes, values)) for name, values in headers}
        return _request(facts, spider)
    except Exception as error:  # the constructor of a project's own class may raise anything
        raise UnreadableRequest(" ".join(f"{type(error).__name__}: {error}".split())) from None


def is_pickled(data: bytes) -> bool:
    """Return whether an earlier version has stored a request, as a pickle."""
    return isinstance(data, bytes) and data.startswith(_PICKLE_BEGINS)


def request_from_pickle(data: bytes, spider: Spider | None) -> Request:
    """Return a request that an earlier version has stored. Only for bytes that the user of this process has written.

    Raises:
        UnreadableRequest: with the reason in a few words.
    """
    try:
        return request_from_dict(pickle.loads(data), spider=spider)  # noqa: S301 - see `Frontier.reads_pickles`
    except Exception as error:  # a class that the project has lost, for example
        raise UnreadableRequest(" ".join(f"{type(error).__name__}: {error}".split())) from None


def _request(facts: dict[str, Any], spider: Spider | None) -> Request:
    if "_class" in facts:
        kind = load_object(facts["_class"])
        if not (isinstance(kind, type) and issubclass(kind, Request)):
            raise TypeError(f"{facts['_class']} is not a class of requests")
    return request_from_dict(facts, spider=spider)


def _text(header: bytes) -> str:
    return header.decode("latin-1")


def _bytes(header: str) -> bytes:
    return header.encode("latin-1")


def _encoded(value: Any) -> Any:
    """Return a value as the JSON encoder writes it without a loss.

    Raises:
        TypeError: the type is not known here. An instance of a subclass is not an instance of its base class.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        if _TYPE not in value and _TEXT.issuperset(map(type, value)):
            return {key: one if type(one) in _PLAIN else _encoded(one) for key, one in value.items()}
        return {_TYPE: "dict", _VALUE: [[_encoded(key), _encoded(one)] for key, one in value.items()]}
    if kind is list:
        return _items(value)
    name, encode = _ENCODERS.get(kind, ("", None))
    if encode is None:
        raise TypeError(f"{kind.__module__}.{kind.__qualname__} is no type that JSON can keep")
    return {_TYPE: name, _VALUE: encode(value)}


def _decoded(found: dict[str, Any]) -> Any:
    """Return the value of a JSON object."""
    if _TYPE not in found:
        return found
    return _DECODERS[found[_TYPE]](found[_VALUE])


def _items(values: Any) -> list[Any]:
    if _PLAIN.issuperset(map(type, values)):
        return list(values)
    return [_encoded(one) for one in values]


def _moment(value: datetime | time) -> list[Any]:
    """Return a moment as text, and the number of equal moments before it; a zone with rules has no text."""
    if not (value.tzinfo is None or type(value.tzinfo) is timezone):
        raise TypeError(f"the time zone of {value} cannot be kept in JSON")
    return [value.isoformat(), value.fold]


def _base64(value: bytes | bytearray) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


_ENCODERS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    tuple: ("tuple", _items),
    set: ("set", _items),
    frozenset: ("frozenset", _items),
    bytes: ("bytes", _base64),
    bytearray: ("bytearray", _base64),
    datetime: ("datetime", _moment),
    time: ("time", _moment),
    date: ("date", date.isoformat),
    timedelta: ("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: ("Decimal", str),
    UUID: ("UUID", str),
}
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "dict": dict,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "bytes": binascii.a2b_base64,
    "bytearray": lambda text: bytearray(binascii.a2b_base64(text)),
    "datetime": lambda parts: datetime.fromisoformat(parts[0]).replace(fold=parts[1]),
    "time": lambda parts: time.fromisoformat(parts[0]).replace(fold=parts[1]),
    "date": date.fromisoformat,
    "timedelta": lambda parts: timedelta(*parts),
    "Decimal": Decimal,
    "UUID": UUID,
}
_from_json = json.JSONDecoder(object_hook=_decoded).decode
