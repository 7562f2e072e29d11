"""Joins the cookies of a crawl's pages with those of its media."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from scrapy.http.cookies import CookieJar

from mediacrawl.download.cookies import MAIN_JAR, CookieRules, WatchedJar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from http.cookiejar import Cookie

    from scrapy.downloadermiddlewares.cookies import CookiesMiddleware

    from mediacrawl.download.cookies import CookieChange, Cookies


class PageCookies:
    """The jars of Scrapy's cookie middleware, one for each `cookiejar` of a request's meta.

    Only the event loop uses these jars. Transfers use `cookies`, in which each jar has a copy: a change of one is
    carried out in the other.
    """

    def __init__(self, middleware: CookiesMiddleware, cookies: Cookies, loop: asyncio.AbstractEventLoop) -> None:
        self._cookies = cookies
        self._loop = loop
        self._numbers: dict[Any, int] = {None: MAIN_JAR}
        self._keys: list[Any] = [None]  # of the jars, by number
        self._jars = _Jars(self._watched)
        before, middleware.jars = middleware.jars, self._jars  # type: ignore[assignment] # it makes jars as the former
        for key, jar in before.items():
            for cookie in jar:
                self._jars[key].set_cookie(cookie)
        cookies.subscribe(self._hear)

    @classmethod
    def of(
        cls, middleware: CookiesMiddleware | None, cookies: Cookies, loop: asyncio.AbstractEventLoop
    ) -> PageCookies | None:
        """Join the jars of a middleware with `cookies`; return None if a crawl has no such jars."""
        jars = getattr(middleware, "jars", None)
        if middleware is None or getattr(jars, "default_factory", None) is not CookieJar:
            return None
        return cls(middleware, cookies, loop)

    def number_of(self, meta: Mapping[str, Any]) -> int | None:
        """Return the number of the jar for a request's meta; None if the request takes part in no jar."""
        if meta.get("dont_merge_cookies", False):
            return None
        key = meta.get("cookiejar")
        if key not in self._numbers:
            self._numbers[key] = len(self._keys)
            self._keys.append(key)
        return self._numbers[key]

    def field(self, number: int, url: str) -> str:
        """Return the Cookie header of a jar for a URL; empty if there is none."""
        return self._cookies.field(number, url)

    def _watched(self, key: Any) -> CookieJar:
        """Return a jar of Scrapy that reports its changes to the transfers."""
        number = self.number_of({"cookiejar": key})
        assert number is not None
        jar = CookieJar(_PageRules())
        told = partial(self._cookies.apply, number, sent_by=self._hear)
        jar.jar = WatchedJar(told, jar.policy)
        return jar

    def _hear(self, number: int, change: CookieChange) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._apply, number, change)

    def _apply(self, number: int, change: CookieChange) -> None:
        of_scrapy: Any = self._jars[self._keys[number]].jar
        of_scrapy.apply(change)


class _PageRules(CookieRules):
    """The rules of cookies, except that a spider may give a cookie with a name of any kind."""

    def is_as_promised(self, cookie: Cookie, request: Any) -> bool:
        """Return whether a cookie is one of the spider's, or has the attributes that its name promises."""
        given = request.request.cookies
        names = given if isinstance(given, dict) else [one.get("name") for one in given]
        return cookie.name in names or super().is_as_promised(cookie, request)


class _Jars(dict[Any, CookieJar]):
    """Makes the jar of a key when it is first used."""

    def __init__(self, make: Callable[[Any], CookieJar]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Any) -> CookieJar:
        jar = self[key] = self._make(key)
        return jar
