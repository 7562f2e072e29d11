"""URLs as plain values: their origins, their form on the network, and their keys. No I/O."""

from mediacrawl.urls.as_sent import as_sent, has_controls, is_plain, key_of_url, resolve, split_plain, target_of
from mediacrawl.urls.former_keys import former_key_of_url, is_row_of
from mediacrawl.urls.origin import DEFAULT_PORTS, HTTP_SCHEMES, Origin

__all__ = [
    "DEFAULT_PORTS",
    "HTTP_SCHEMES",
    "Origin",
    "as_sent",
    "former_key_of_url",
    "has_controls",
    "is_plain",
    "is_row_of",
    "key_of_url",
    "resolve",
    "split_plain",
    "target_of",
]
