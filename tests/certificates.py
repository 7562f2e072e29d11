"""Certificates for tests: an authority, and servers that it vouches for, over TLS."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING, Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

_DAY = dt.timedelta(days=1)
_NOT_SIGNED = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
_SIGNS = x509.KeyUsage(
    key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False, **dict.fromkeys(_NOT_SIGNED, False)
)


class Authority:
    """An authority with its certificate in a file. `file` is that of its certificate."""

    def __init__(self, folder: Path, name: str = "An authority of the tests") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / "authority.pem"
        self._number = 0
        made = self._builder(self._name, self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        made = made.add_extension(_SIGNS, critical=True)
        self.file.write_bytes(_pem(made.sign(self._key, hashes.SHA256())))

    def rehashed(self) -> Path:
        """A folder as OpenSSL reads it: the name of each file is the hash of the authority's name."""
        folder = self._folder / "authorities"
        folder.mkdir(exist_ok=True)
        words = ["openssl", "x509", "-hash", "-noout", "-in", str(self.file)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        (folder / f"{done.stdout.strip()}.0").write_bytes(self.file.read_bytes())
        return folder

    def context(self, *names: str, days: int = 1) -> ssl.SSLContext:
        """The context of a server with a certificate for these names and addresses, valid for `days` from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternative = x509.SubjectAlternativeName([_general(name) for name in names])
        builder = self._builder(x509.Name([]), key.public_key(), days).add_extension(alternative, critical=True)
        self._number += 1
        file = self._folder / f"server{self._number}.pem"
        plain = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        file.write_bytes(pem + _pem(builder.sign(self._key, hashes.SHA256())))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int = 1) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        made = x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
        # Without these, Python 3.13 refuses a certificate (RFC 5280 4.2.1.1 and 4.2.1.2).
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = made.add_extension(own, critical=False)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        return made.not_valid_before(now - 3 * _DAY).not_valid_after(now + days * _DAY)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class TlsFront:
    """Takes connections over TLS, and hands what comes on to a server without TLS.

    with TlsFront(authority.context("127.0.0.1"), origin.netloc) as front:
        get(f"https://{front.netloc}/a")
    """

    def __init__(self, context: ssl.SSLContext, netloc: str) -> None:
        self._context = context
        host, _, port = netloc.rpartition(":")
        self._behind = host, int(port)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), self._context.wrap_socket(sock, server_side=True) as secured:
            self._sockets.append(secured)
            with socket.create_connection(self._behind, 10) as behind:
                thread = threading.Thread(target=_copy, args=(behind, secured), daemon=True)
                thread.start()
                _copy(secured, behind)
                thread.join(30)


def _copy(source: Any, target: Any) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError, ValueError):
        target.unwrap() if isinstance(target, ssl.SSLSocket) else target.shutdown(socket.SHUT_WR)
