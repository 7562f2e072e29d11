"""Scrapy's exporters of JSON, with escapes for characters that would steer the terminal on which a feed is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy import exporters

from mediacrawl.visible import escape_json

if TYPE_CHECKING:
    from io import BytesIO
    from json import JSONEncoder


class JsonItemExporter(exporters.JsonItemExporter):
    """Writes a feed in JSON. A parser reads the same items as from Scrapy's own feed."""

    def __init__(self, file: BytesIO, **kwargs: Any) -> None:
        super().__init__(file, **kwargs)
        _escape(self.encoder)


class JsonLinesItemExporter(exporters.JsonLinesItemExporter):
    """Writes a feed in JSON Lines. A parser reads the same items as from Scrapy's own feed."""

    def __init__(self, file: BytesIO, **kwargs: Any) -> None:
        super().__init__(file, **kwargs)
        _escape(self.encoder)


def _escape(encoder: JSONEncoder) -> None:
    encode = encoder.encode
    encoder.encode = lambda o: escape_json(encode(o))  # type: ignore[method-assign]
