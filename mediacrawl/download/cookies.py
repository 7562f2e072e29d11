"""The cookies of a run: jars of the standard library, with the rules of RFC 6265 where its policy has none.

All transfers of a run share its jars, in threads and in worker processes. Each process has a copy of the jars. A
change is applied to the copy of its process, and sent to the others, see `Cookies.subscribe`.
"""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from functools import cache, partial
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import Request

from mediacrawl.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from http.cookiejar import CookiePolicy
    from pathlib import Path

    CookieListener = Callable[[int, "CookieChange"], None]

MAIN_JAR = 0
"""The number of the jar of a run; a crawl may have more."""

CookieChange = Cookie | tuple[str | None, str | None, str | None]
"""A cookie that was set, or domain, path and name of the cookies that were removed; None stands for all."""

_MOST_BYTES = 4096  # of a cookie (RFC 6265 6.1)
_MOST_OF_DOMAIN = 180  # cookies; the oldest makes room for another one
_EXPIRED_EVERY_S = 60.0
_SECONDS = re.compile(r"-?[0-9]{1,18}")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SET_COOKIE = "Set-Cookie"
_SECURE = ("https", "wss")


class WatchedJar(CookieJar):
    """A jar that reports its changes. Thread-safe, as the jar of the standard library."""

    # Of the standard library, where Scrapy uses them too; the stubs do not have them.
    _cookies: dict[str, dict[str, dict[str, Cookie]]]
    _cookies_lock: threading.RLock
    _cookies_for_domain: Callable[[str, Request], list[Cookie]]

    def __init__(self, on_change: Callable[[CookieChange], None], policy: CookiePolicy | None = None) -> None:
        super().__init__(policy)
        self._on_change = on_change
        self._expired_at = 0.0

    def __bool__(self) -> bool:
        """Return whether a cookie was ever set: cheaper than a count of the cookies."""
        return bool(self._cookies)

    def set_cookie(self, cookie: Cookie) -> None:
        """Set a cookie, and report it unless the jar had the same one."""
        old = self._of_domain(cookie.domain).get((cookie.path, cookie.name))
        if old is None:
            self._make_room(cookie.domain)
        super().set_cookie(cookie)
        if old is None or vars(old) != vars(cookie):
            self._on_change(cookie)

    def clear(self, domain: str | None = None, path: str | None = None, name: str | None = None) -> None:
        """Remove cookies, and report that.

        Raises:
            KeyError: there is no such cookie.
        """
        super().clear(domain, path, name)
        self._on_change((domain, path, name))

    def set_cookie_if_ok(self, cookie: Cookie, request: Request) -> None:
        """Set a cookie if the policy allows that. Over http, it replaces no cookie that came over https as Secure."""
        if request.type in _SECURE or not self._has_secure(cookie):
            super().set_cookie_if_ok(cookie, request)

    def _has_secure(self, cookie: Cookie) -> bool:
        host = cookie.domain.removeprefix(".")
        same = (other for domain in (host, f".{host}") for other in self._of_domain(domain).values())
        return any(other.secure and other.name == cookie.name for other in same)

    def apply(self, change: CookieChange) -> None:
        """Carry out a change of another jar, and do not report it."""
        if isinstance(change, Cookie):
            super().set_cookie(change)
        else:
            with suppress(KeyError):
                super().clear(*change)

    def clear_expired_cookies(self) -> None:
        """Remove expired cookies, once a minute: the policy sends none in any case."""
        if time.monotonic() >= self._expired_at:
            self._expired_at = time.monotonic() + _EXPIRED_EVERY_S
            super().clear_expired_cookies()

    def _cookies_for_request(self, request: Request) -> list[Cookie]:
        """Return the cookies for a request: only of the domains that it may have cookies of, and not of all."""
        found: list[Cookie] = []
        for domain in self._domains_of(_host_of(request.full_url)):
            found += self._cookies_for_domain(domain, request)
        return found

    def has_name(self, host: str, name: str) -> bool:
        """Return whether there is a cookie of that name for some URL of a host."""
        return any(key[1] == name for domain in self._domains_of(host) for key in self._of_domain(domain))

    def _domains_of(self, host: str) -> list[str]:
        host = _bracketed(host)
        host = host if "." in host else f"{host}.local"  # the standard library's name for a host without a dot
        labels = host.split(".")
        domains = (host, *(f".{'.'.join(labels[start:])}" for start in range(len(labels))))
        return [domain for domain in domains if domain in self._cookies]

    def _of_domain(self, domain: str) -> dict[tuple[str, str], Cookie]:
        with self._cookies_lock:
            paths = self._cookies.get(domain, {})
            return {(path, name): cookie for path, named in paths.items() for name, cookie in named.items()}

    def _make_room(self, domain: str) -> None:
        of_domain = self._of_domain(domain)
        if len(of_domain) >= _MOST_OF_DOMAIN:
            path, name = next(iter(of_domain))
            with suppress(KeyError):
                self.clear(domain, path, name)


class Cookies:
    """The jars of a run, by number. Thread-safe; no method blocks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jars: dict[int, WatchedJar] = {}
        self._listeners: tuple[CookieListener, ...] = ()

    def subscribe(self, listener: CookieListener) -> None:
        """Notify `listener` of the cookies that are known now, and of each later change."""
        with self._lock:
            self._listeners += (listener,)
            known = [(number, cookie) for number, jar in self._jars.items() for cookie in list(jar)]
        for number, cookie in known:
            listener(number, cookie)

    def unsubscribe(self, listener: CookieListener) -> None:
        """Stop notifying `listener`."""
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other != listener)

    def has_any(self, number: int) -> bool:
        """Return whether a jar may have a cookie."""
        return bool(self._jars.get(number))

    def field(self, number: int, url: str) -> str:
        """Return the Cookie header of a jar for a URL (RFC 6265 5.4); empty if there is none."""
        jar = self._jars.get(number)
        if not jar:
            return ""
        request = _request_for(url)
        jar.add_cookie_header(request)
        return request.get_header("Cookie") or ""

    def keep(self, number: int, url: str, lines: Iterable[str]) -> set[str]:
        """Carry out the Set-Cookie lines of the response to a URL (RFC 6265 5.3).

        Return the names of the cookies that the lines remove, whether the jar had them or not.
        """
        jar, host = self._jar(number), _host_of(url)
        removed = set()
        for line in lines:  # one by one: a cookie may be set and removed in one response
            if (meant := _as_meant(line, host)) is not None:
                request = _request_for(url)
                cookies = jar.make_cookies(_Fields(meant), request)  # type: ignore[arg-type]
                for cookie in cookies:
                    jar.set_cookie_if_ok(cookie, request)
                name = meant.partition("=")[0].strip()
                if not cookies and not jar.has_name(host, name):
                    removed.add(name)
        return removed

    def apply(self, number: int, change: CookieChange, sent_by: CookieListener | None = None) -> None:
        """Carry out a change of another process or jar. `sent_by` is its listener, which is not notified."""
        self._jar(number).apply(change)
        self._tell(number, change, sent_by)

    def _jar(self, number: int) -> WatchedJar:
        with self._lock:
            jar = self._jars.get(number)
            if jar is None:
                jar = self._jars[number] = WatchedJar(partial(self._tell, number), CookieRules())
            return jar

    def _tell(self, number: int, change: CookieChange, sent_by: CookieListener | None = None) -> None:
        for listener in self._listeners:
            if listener != sent_by:  # not `is`: each access creates a new bound method
                listener(number, change)


class CookieRules(DefaultCookiePolicy):
    """The policy of the standard library, with the rules of RFC 6265 and RFC 6265bis that it lacks.

    A cookie without a Domain is for its own host only. A cookie is Secure only over https, and one whose name begins
    with `__Secure-` or `__Host-` is only set as that name promises.
    """

    def __init__(self) -> None:
        super().__init__(
            netscape=True,
            rfc2965=False,
            hide_cookie2=True,
            strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain,
        )

    def set_ok(self, cookie: Cookie, request: Request) -> bool:
        """Return whether a cookie of the response to a request is kept."""
        if cookie.secure and request.type not in _SECURE:
            return False
        return self.is_as_promised(cookie, request) and super().set_ok(cookie, request)

    def is_as_promised(self, cookie: Cookie, _request: Request) -> bool:
        """Return whether a cookie has the attributes that the prefix of its name promises."""
        name = cookie.name.lower()
        if not name.startswith(("__secure-", "__host-")):
            return True
        is_of_host = not cookie.domain_specified and cookie.path_specified and cookie.path == "/"
        return bool(cookie.secure) and (is_of_host or name.startswith("__secure-"))


class _Fields:
    """A response with one Set-Cookie line, as a jar reads it."""

    def __init__(self, line: str) -> None:
        self._line = line

    def info(self) -> _Fields:
        return self

    def get_all(self, name: str, default: list[str]) -> list[str]:
        return [self._line] if name == _SET_COOKIE else default


def _as_meant(line: str, host: str) -> str | None:
    """Return a Set-Cookie line with the attributes that count (RFC 6265 5.2); None if the cookie is to be ignored.

    The jar of the standard library takes the first of repeated attributes, refuses a cookie for a wrong Max-Age,
    removes cookies of any domain, and knows neither addresses nor public suffixes.
    """
    pair, *rest = line.split(";")
    name, equals, _ = pair.partition("=")
    if not equals or not name.strip() or len(pair) > _MOST_BYTES or _CONTROLS.search(line):
        return None
    given = {name.strip().lower(): value.strip() for name, _, value in (part.partition("=") for part in rest)}
    domain = given.get("domain", "").lower().removeprefix(".")
    if domain and domain != host and (_is_address(host) or not host.endswith(f".{domain}") or _is_suffix(domain)):
        return None
    kept = [pair.strip()]
    if domain and not (domain == host and (_is_address(host) or _is_suffix(domain))):
        kept.append(f"Domain={domain}")
    if given.get("path", "").startswith("/"):
        kept.append(f"Path={given['path']}")
    if _SECONDS.fullmatch(given.get("max-age", "")):
        kept.append(f"Max-Age={min(int(given['max-age']), 10**9)}")
    elif "expires" in given:
        kept.append(f"Expires={given['expires']}")
    return "; ".join([*kept, *(flag for flag in ("Secure", "HttpOnly") if flag.lower() in given)])


def _request_for(url: str) -> Request:
    """Return the request that a jar is asked about: without credentials, which the jar would take for the host."""
    parts = urlsplit(url)
    return Request(f"{parts.scheme}://{_bracketed(_host_of(url))}{parts.path or '/'}")  # noqa: S310


def _host_of(url: str) -> str:
    host = urlsplit(url).hostname or ""
    if not host.isascii():
        with suppress(UnicodeError):
            return host.encode("idna").decode("ascii")
    return host


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@cache
def _suffixes() -> Any:
    """Return the list of public suffixes that the package brings: it is not fetched."""
    from tldextract import TLDExtract  # noqa: PLC0415 - takes long to import, and few sites need it

    return TLDExtract(cache_dir=None, suffix_list_urls=(), include_psl_private_domains=True)


def _is_suffix(domain: str) -> bool:
    """Return whether anybody may register names below a domain, so that no cookie may be for all of them."""
    if "." not in domain:
        return True
    found = _suffixes()(domain)
    return bool(found.suffix) and not found.domain


def read_cookies(path: Path, option: str = "--cookies") -> Iterator[Cookie]:
    """Read a cookies.txt, as browsers' extensions, curl, wget and yt-dlp write it.

    Args:
        path: of the file.
        option: that names the file, for messages.

    Raises:
        UsageProblem: the file cannot be read, or a line is no cookie. The message has no part of the line.
    """
    try:
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("latin-1")  # bytes are sent as they are
    except OSError as error:
        raise UsageProblem(f"{option} {path}: cannot be read: {error.strerror}") from None
    for number, line in enumerate(text.splitlines(), start=1):
        is_http_only = line.startswith("#HttpOnly_")
        line = line.removeprefix("#HttpOnly_") if is_http_only else line  # noqa: PLW2901
        if not line.strip() or line.startswith("#"):
            continue
        try:
            yield _cookie_of(line.split("\t"))
        except ValueError:
            raise UsageProblem(
                f"{option} {path}: line {number} is no cookie: 7 fields with tabs between them are expected"
                " (the format of Netscape)"
            ) from None


def _cookie_of(fields: list[str]) -> Cookie:
    """Return the cookie of a line: domain, whether subdomains are included, path, secure, expires, name, value."""
    domain, with_subdomains, path, secure, expires, name, value = fields
    host = domain.strip().lower().removeprefix(".")
    if not host or not path.startswith("/") or not name or _CONTROLS.search(f"{name}{value}"):
        raise ValueError(name)
    expires_s = int(float(expires)) if expires.strip() else 0
    is_domain = with_subdomains.strip().upper() == "TRUE" and not _is_address(host) and "." in host
    stored = f".{host}" if is_domain else host if "." in host else f"{host}.local"
    return Cookie(
        0, name, value, None, False, stored, is_domain, is_domain, path, True,
        secure.strip().upper() == "TRUE", expires_s or None, not expires_s, None, None, {},
    )  # fmt: skip
