"""The certificate authorities that are trusted: those of a setting, of the environment, or of `requests`."""

from __future__ import annotations

import binascii
import os
import re
from pathlib import Path
from typing import NamedTuple

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from mediacrawl.errors import UsageProblem

_LABELS = (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")  # that OpenSSL reads
_REHASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_SEQUENCE = 0x30  # the tag of a certificate in DER (X.690 8.9)
_FILES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")  # in the order of precedence


class Authorities(NamedTuple):
    """A file and folders of certificates. Each may be None, but not both.

    Attributes:
        file: path of a file of certificates in PEM format.
        folder: path of a folder whose files have the names that `openssl rehash` gives them; several are joined with
            ":", as OpenSSL expects.
    """

    file: str | None = None
    folder: str | None = None

    @property
    def path(self) -> str:
        """The file, or else the folder: for a session that takes one path."""
        return self.file or self.folder or ""


def authorities_of(verify: bool | str | Authorities) -> Authorities | None:
    """Return the authorities that verify the certificates of servers; None if no certificate is verified.

    Args:
        verify: the value of `MEDIACRAWL_VERIFY_TLS`: a path counts alone, and True leaves the choice to the
            environment, as for `requests`, `curl` and OpenSSL.

    Raises:
        UsageProblem: a variable of the environment, or `verify`, names a file that holds no certificates.
    """
    if isinstance(verify, Authorities):
        return verify
    if not verify:
        return None
    if isinstance(verify, str):
        return _at("MEDIACRAWL_VERIFY_TLS", verify)
    for name in _FILES[:2]:
        if path := os.environ.get(name):
            return _at(name, path)
    file, folder = os.environ.get(_FILES[2]), os.environ.get("SSL_CERT_DIR")
    if folder and not any(Path(path).is_dir() for path in folder.split(os.pathsep)):
        raise UsageProblem(f"SSL_CERT_DIR={folder}: there is no such folder")
    return Authorities(_checked(_FILES[2], file) if file else DEFAULT_CA_BUNDLE_PATH, folder or None)


def _at(name: str, path: str) -> Authorities:
    try:
        if not Path(path).is_dir():
            return Authorities(file=_checked(name, path))
        if any(_REHASHED.fullmatch(file.name) for file in Path(path).iterdir()):
            return Authorities(folder=path)
    except OSError as error:
        raise UsageProblem(f"{name}={path}: {error.strerror}") from None
    raise UsageProblem(f"{name}={path}: the folder has no certificates with the names that `openssl rehash` gives")


def _checked(name: str, path: str) -> str:
    """Return a path if it is that of a file of certificates.

    Only the form of the certificates is checked. OpenSSL needs 50 ms for those of a system, at each start.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UsageProblem(f"{name}={path}: {error.strerror}") from None
    blocks = [block.partition(b"-----") for block in content.split(b"-----BEGIN ")[1:]]
    found = [text for label, _, text in blocks if label in _LABELS]
    if not found:
        raise UsageProblem(f"{name}={path}: the file has no certificates in PEM format")
    if not all(map(_is_certificate, found)):
        raise UsageProblem(f"{name}={path}: a certificate in the file is damaged")
    return path


def _is_certificate(text: bytes) -> bool:
    """Return whether the text after the first line of a PEM block (RFC 7468) is a complete structure of DER."""
    body, end, _ = text.partition(b"-----END ")
    try:
        data = binascii.a2b_base64(b"".join(body.split()), strict_mode=True)
    except binascii.Error:
        return False
    if not end or len(data) < 2 or data[0] != _SEQUENCE:
        return False
    size_bytes = data[1] & 0x7F if data[1] & 0x80 else 0
    length = int.from_bytes(data[2 : 2 + size_bytes]) if size_bytes else data[1]
    return 2 + size_bytes + length <= len(data)
