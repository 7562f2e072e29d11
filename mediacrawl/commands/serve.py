"""`mediacrawl serve`: streams the store to browsers and download programs, for people with logins of their own."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from scrapy.exceptions import UsageError

from mediacrawl import config
from mediacrawl.backends import store_of
from mediacrawl.cli.main import StoreCommand, one_line
from mediacrawl.errors import StoreNotWritable, UsageProblem
from mediacrawl.server.options import FtpOptions, ServeOptions
from mediacrawl.server.running import STOPPING, refuse_missing_packages
from mediacrawl.system.child_process import become_module

if TYPE_CHECKING:
    import argparse

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_HOST = re.compile(r"\*|\.?[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_ORIGIN = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_MOST_PORT = 65_535


class Command(StoreCommand):
    """Becomes the process of the server, which knows no Scrapy."""

    def syntax(self) -> str:
        """Return the arguments, for `--help`."""
        return "[options] [FOLDER]"

    def short_desc(self) -> str:
        """Return the line of the list of commands."""
        return "Serve the store to browsers and download programs"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of the server."""
        super().add_options(parser)
        add = parser.add_argument
        add("--host", default="127.0.0.1", metavar="ADDRESS", help="listen there; 0.0.0.0 for all (127.0.0.1)")
        add("--port", default=8000, type=int, help="listen there; 0 for a free one (8000)")
        add("--public", action="store_true", help="everybody may read the common folder without a login")
        add(
            "--hosts", action="append", default=[], metavar="NAME,…", help="names under which people reach the server"
        )
        add("--prefix", default="", metavar="/NAME", help="of all paths, behind a proxy that keeps it")
        add("--tls-cert", metavar="FILE", help="certificate and chain, in PEM")
        add("--tls-key", metavar="FILE", help="key of the certificate, in PEM")
        add(
            "--trusted-proxy",
            action="append",
            default=[],
            metavar="ADDRESS",
            help="address or network of a proxy with TLS, whose X-Forwarded-… fields are believed; may be repeated",
        )
        add(
            "--upload-origin",
            action="append",
            default=[],
            metavar="ORIGIN",
            help="pages of this site may upload too, with an application password; may be repeated",
        )
        add("--accel-redirect", default="", metavar="/LOCATION", help="let nginx send the files (X-Accel-Redirect)")
        add("--no-access-log", action="store_true", help="write no line for each request")
        add("--create", action="store_true", help="make the store if there is none")
        _add_ftp_options(parser)

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        """Check the arguments, and become the server."""
        if len(args) > 1:
            raise UsageError("serve takes one folder")
        with one_line():
            refuse_missing_packages()
            options = self._options(args, opts)
            _refuse_missing_folder(options.store, create=opts.create)
            become_module("mediacrawl.server.running", options.as_json(), held=STOPPING)

    def _options(self, args: list[str], opts: argparse.Namespace) -> ServeOptions:
        store = store_of(args[0]) if args else self.store()
        return ServeOptions(
            store=store.root,
            ledger=config.LEDGER.of(self._settings),
            host=_address("--host", opts.host),
            port=_port("--port", opts.port),
            hosts=tuple(_host(name) for given in opts.hosts for name in given.split(",") if name.strip()),
            prefix=_path("--prefix", opts.prefix),
            is_public=opts.public,
            tls_cert=_file(opts.tls_cert),
            tls_key=_file(opts.tls_key),
            trusted_proxies=tuple(opts.trusted_proxy),
            log_access=not opts.no_access_log,
            upload_origins=tuple(map(_origin, opts.upload_origin)),
            accel_location=_path("--accel-redirect", opts.accel_redirect),
            ftp=_ftp_options(opts),
        )


def _add_ftp_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("FTP").add_argument
    add("--ftp-port", type=int, metavar="N", help="serve FTP there, as well; 0 for a free port (no FTP)")
    add("--ftp-host", metavar="ADDRESS", help="listen for FTP there (that of --host)")
    add("--ftp-passive-ports", metavar="N-M", help="ports of data connections, to be opened in a firewall (any)")
    add("--ftp-public-address", metavar="IPV4", help="address that clients are told, behind NAT (the one they reach)")
    add("--ftp-tls-cert", metavar="FILE", help="certificate and chain for FTP, in PEM (those of --tls-cert)")
    add("--ftp-tls-key", metavar="FILE", help="key of that certificate, in PEM")
    add("--ftp-without-tls", action="store_true", help="let clients send passwords and files that all can read")


def _ftp_options(opts: argparse.Namespace) -> FtpOptions | None:
    """Return the options of FTP; None without `--ftp-port`."""
    if opts.ftp_port is None:
        if any(value for name, value in vars(opts).items() if name.startswith("ftp_")):
            raise UsageProblem("options of FTP were given, and no port to serve it at: add --ftp-port 2121")
        return None
    has_own = opts.ftp_tls_cert or opts.ftp_tls_key
    return FtpOptions(
        host=_address("--ftp-host", opts.ftp_host) if opts.ftp_host else _address("--host", opts.host),
        port=_port("--ftp-port", opts.ftp_port),
        passive_ports=_ports(opts.ftp_passive_ports),
        public_address=_ipv4(opts.ftp_public_address),
        tls_cert=_file(opts.ftp_tls_cert if has_own else opts.tls_cert),
        tls_key=_file(opts.ftp_tls_key if has_own else opts.tls_key),
        allows_plain=opts.ftp_without_tls,
    )


def _port(option: str, number: int) -> int:
    if not 0 <= number <= _MOST_PORT:
        raise UsageProblem(f"{option} {number}: expected a number from 0 to {_MOST_PORT}")
    return number


def _ports(text: str | None) -> tuple[int, int] | None:
    """Return the first and the last of the ports that a text like `50000-50099` names."""
    if text is None:
        return None
    found = _PORTS.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 0 < first <= last <= _MOST_PORT:
        raise UsageProblem(f"--ftp-passive-ports {text}: expected two ports, as 50000-50099")
    return first, last


def _ipv4(text: str | None) -> str:
    try:
        return str(IPv4Address(text)) if text else ""
    except ValueError:
        raise UsageProblem(
            f"--ftp-public-address {text}: expected the IPv4 address of your router, as 203.0.113.9"
        ) from None


def _refuse_missing_folder(store: Path, *, create: bool) -> None:
    """Check that there is a store, or make one: its path may be mistyped.

    Raises:
        UsageProblem: there is none, and none is to be made.
        StoreNotWritable: it cannot be made.
    """
    if store.is_dir():
        return
    if store.exists():
        raise UsageProblem(f"{store} is not a folder")
    if not create:
        raise UsageProblem(f"there is no store {store}: to make an empty one, add --create")
    try:
        store.mkdir(parents=True)
    except OSError as error:
        raise StoreNotWritable(f"cannot make the store {store}: {error.strerror}") from None
    print(f"made an empty store: {store}", file=sys.stderr)


def _address(option: str, text: str) -> str:
    """Return an address to listen at."""
    if text == "localhost":
        return "127.0.0.1"
    try:
        return str(ip_address(text.strip("[]")))
    except ValueError:
        raise UsageProblem(
            f"{option} {text}: expected an address of this machine, as 127.0.0.1, 0.0.0.0 (all) or ::1; names under "
            f"which people reach the server are given with --hosts"
        ) from None


def _host(text: str) -> str:
    """Return a name that a Host field may have."""
    name = text.strip().lower()
    if ":" in name and not name.startswith("["):
        with suppress(ValueError):
            name = f"[{ip_address(name)}]"
    if _HOST.fullmatch(name) is None:
        raise UsageProblem(
            f"--hosts {text.strip()}: expected names without scheme, port and path, as media.example.org"
        )
    return name


def _path(option: str, text: str) -> str:
    """Return the path of a prefix: empty, or with "/" at its beginning and not at its end."""
    path = f"/{text.strip('/')}" if text.strip("/") else ""
    if path and (_PREFIX.fullmatch(path) is None or {".", ".."} & set(path.split("/"))):
        raise UsageProblem(f"{option} {text}: expected a path of letters, digits, '.', '_', '~' and '-', as /media")
    return path


def _origin(text: str) -> str:
    """Return the origin of a site, as browsers send it."""
    origin = text.lower().rstrip("/")
    if _ORIGIN.fullmatch(origin) is None:
        raise UsageProblem(
            f"--upload-origin {text}: expected scheme, name and port of a site, as https://example.org"
        )
    return origin.removesuffix(":80" if origin.startswith("http:") else ":443")


def _file(text: str | None) -> Path | None:
    return Path(text).absolute() if text else None
