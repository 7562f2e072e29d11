"""HTTP header values as plain values: `from_header` reads one, `to_header` writes one.

The package does no I/O and does not depend on its callers. A parser accepts any value that a server sent and never
raises: a value that the RFC does not allow gives None (or an empty result), so that a caller has one case for
"missing" and "broken".
"""

from mediacrawl.headers.charset import percent_decoded
from mediacrawl.headers.dates import http_date
from mediacrawl.headers.digests import Digest, digest_from_hex, digests_from_headers
from mediacrawl.headers.disposition import filename_from_disposition
from mediacrawl.headers.media_type import (
    extension_for,
    is_html,
    kind_of_path,
    kind_of_type,
    media_type,
    type_of_path,
)
from mediacrawl.headers.ranges import ContentRange, parse_range, range_header
from mediacrawl.headers.retry_after import retry_after_s
from mediacrawl.headers.validators import Agreement, ETag, Validators

__all__ = [
    "Agreement",
    "ContentRange",
    "Digest",
    "ETag",
    "Validators",
    "digest_from_hex",
    "digests_from_headers",
    "extension_for",
    "filename_from_disposition",
    "http_date",
    "is_html",
    "kind_of_path",
    "kind_of_type",
    "media_type",
    "parse_range",
    "percent_decoded",
    "range_header",
    "retry_after_s",
    "type_of_path",
]
