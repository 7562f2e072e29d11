"""The certificate authorities that are trusted: those of a setting, of the environment, or of `requests`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from mediacrawl.errors import UsageProblem

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
    return Authorities(folder=path) if Path(path).is_dir() else Authorities(file=_checked(name, path))


def _checked(name: str, path: str) -> str:
    """Return a path if it is that of a file of certificates. OpenSSL would read all of them, which takes longer."""
    try:
        if b"-----BEGIN " in Path(path).read_bytes():
            return path
    except OSError as error:
        raise UsageProblem(f"{name}={path}: {error.strerror}") from None
    raise UsageProblem(f"{name}={path}: the file has no certificates in PEM format")
