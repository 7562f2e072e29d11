"""The proxies that the environment names: the variables that `requests` and `curl` read."""

from __future__ import annotations

import ipaddress
import os
import re
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import getproxies

from mediacrawl.errors import UsageProblem

if TYPE_CHECKING:
    from mediacrawl.urls import Origin

_SOCKS = ("socks4", "socks4a", "socks5", "socks5h")
_PORTS = {"http": 80, "https": 443} | dict.fromkeys(_SOCKS, 1080)
# While these variables are unchanged, the proxies are unchanged too.
_NAMES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
_VARIABLES = (*_NAMES, *map(str.upper, _NAMES), "REQUEST_METHOD")
_BREAKS = re.compile(r"[\s\x00-\x1f\x7f]")


class Proxies(NamedTuple):
    """The proxies of the environment.

    Attributes:
        http: URL of the proxy for http URLs, with its credentials; None without a proxy.
        https: the same for https URLs.
        ftp: the same for ftp and ftps URLs, as the environment names it: it is checked when an FTP server is needed.
        no_proxy: the hosts that are requested without a proxy, as the environment names them.
    """

    http: str | None = None
    https: str | None = None
    no_proxy: str = ""
    ftp: str | None = None


def environment_proxies() -> Proxies:
    """Return the proxies that the environment names now.

    Raises:
        UsageProblem: a variable has a value that is not the URL of a proxy.
    """
    return _proxies(tuple(map(os.environ.get, _VARIABLES)))


@lru_cache(1)
def _proxies(_values: tuple[str | None, ...]) -> Proxies:
    """Return the proxies. Reading the complete environment for each host costs as much as a small file."""
    found = getproxies()
    http, https = (
        proxy_url(found[name], f"{name}_proxy") if found.get(name) else None
        for name in (("http" if found.get("http") else "all"), ("https" if found.get("https") else "all"))
    )
    no_proxy = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return Proxies(http, https, no_proxy, found.get("ftp") or found.get("all") or None)


@lru_cache(16)
def proxy_url(given: str, variable: str) -> str:
    """Return the URL of a proxy with its scheme and port.

    Raises:
        UsageProblem: the value is not the URL of a proxy of a known kind. The message has no credentials.
    """
    url = given.strip()
    url = url if "://" in url else f"http://{url}"
    with suppress(ValueError):
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
        if parts.hostname and port and parts.scheme in _PORTS and not _BREAKS.search(parts.netloc):
            user, at, _ = parts.netloc.rpartition("@")
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            return f"{parts.scheme}://{user}{at}{host}:{port}"
    kinds = ", ".join(f"{kind}://" for kind in ("http", "https", *_SOCKS))
    shown = re.sub(r"^([^/]*//)?.*@", r"\1", given, flags=re.DOTALL)  # a password may contain a slash
    written = "; in a user name or a password, / @ # ? : are %2F %40 %23 %3F %3A" if shown != given else ""
    raise UsageProblem(f"{variable}={shown} is not the URL of a proxy: {kinds} and HOST:PORT are{written}")


def proxy_for(proxies: Proxies, origin: Origin) -> str | None:
    """Return the URL of the proxy for an origin; None if the origin is requested without a proxy."""
    return _proxy_among(proxies, origin) if proxies.http or proxies.https or proxies.ftp else None


@lru_cache(256)  # most files have the same few hosts
def _proxy_among(proxies: Proxies, origin: Origin) -> str | None:
    of_scheme = {"http": proxies.http, "https": proxies.https}
    proxy = of_scheme.get(origin.scheme, proxies.ftp)
    return None if proxy is None or _is_exempt(origin, proxies.no_proxy) else proxy


def is_socks(proxy: str | None) -> bool:
    """Return whether a proxy is a SOCKS proxy."""
    return proxy is not None and proxy[:5].lower() == "socks"


def resolves_names(proxy: str) -> bool:
    """Return whether a proxy is of a kind that is chosen so that this machine resolves no names of hosts."""
    return proxy.partition(":")[0].lower() in {"socks5h", "socks4a"}


def with_credentials(proxy: str, user: str, password: str) -> str:
    """Return the URL of a proxy with a user name and a password."""
    parts = urlsplit(proxy)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"))


def _is_exempt(origin: Origin, no_proxy: str) -> bool:
    host = _canonical(origin.host)
    return any(_matches(entry, host, origin.port) for entry in re.split(r"[\s,]+", no_proxy) if entry)


def _matches(entry: str, host: str, port: int) -> bool:
    """Return whether an entry of `no_proxy` names a host: `*`, a domain, an address, or a network, and a port."""
    if entry == "*":
        return True
    name = entry
    if entry.count(":") == 1 or "]:" in entry:  # more colons are those of an IPv6 address
        name, _, wanted = entry.rpartition(":")
        if wanted != str(port):
            return False
    name = _canonical(name.removeprefix("*").lstrip("."))
    if (address := _address(host)) is None:
        return bool(name) and (host == name or host.endswith(f".{name}"))
    with suppress(ValueError):
        return address in ipaddress.ip_network(name, strict=False)
    return False


def _canonical(host: str) -> str:
    """Return a host name in one form: lower-case, in ASCII, without brackets, zone, or a dot at the end."""
    host = host.removeprefix("[").removesuffix("]").partition("%")[0].rstrip(".").lower()
    if not host.isascii():
        with suppress(UnicodeError):
            return host.encode("idna").decode("ascii")
    return host


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with suppress(ValueError):
        return ipaddress.ip_address(host)
    return None
