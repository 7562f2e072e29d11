"""The way of pages through the user's network, as that of media: proxies, certificate authorities, `.netrc`.

Scrapy (2.19) reads the environment for proxies, but neither `all_proxy` nor networks in `no_proxy`; its handler knows
no SOCKS, waits for its complete time limit if a proxy ends the connection within CONNECT, and verifies no certificate
by default.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from scrapy.downloadermiddlewares.httpproxy import HttpProxyMiddleware
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
)
from scrapy.http import Headers
from scrapy.settings import SETTINGS_PRIORITIES
from twisted.internet._sslverify import IOpenSSLTrustRoot
from twisted.internet.ssl import optionsForClientTLS
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from mediacrawl import config
from mediacrawl.crawl.ftp_robots import FtpRobots, is_ftp_robots
from mediacrawl.crawl.page_heads import invalid_head, limit_heads
from mediacrawl.crawl.public_endpoints import connects_to_public
from mediacrawl.errors import AddressRefused, redact_url
from mediacrawl.transport.addresses import PrivateAddress
from mediacrawl.transport.authorities import authorities_of
from mediacrawl.transport.connecting import Winners, connect
from mediacrawl.transport.errors import Route
from mediacrawl.transport.netrc_file import read_netrc
from mediacrawl.transport.proxies import environment_proxies, is_socks, proxy_for, with_credentials
from mediacrawl.transport.requests_transport import RequestsTransport
from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.settings import BaseSettings

    from mediacrawl.transport.authorities import Authorities

T = TypeVar("T")
_PROXY_AUTHORIZATION = "Proxy-Authorization"
_ROBOTS_TIMEOUT_S = 30.0
_WITHOUT_ADDRESS = {"data", "file"}  # schemes whose pages come over no connection
_UNTRUSTED = ("certificate verify failed", "VerificationError")
_DOWNLOAD_ERRORS = (CannotResolveHostError, DownloadConnectionRefusedError, DownloadFailedError, DownloadTimeoutError)


class PageNetwork:
    """Sends the pages of a crawl through the user's network."""

    def __init__(self, crawler: Crawler) -> None:
        """Read the settings and the environment.

        Raises:
            UsageProblem: a setting, or a variable of the environment, cannot be used.
        """
        settings = crawler.settings
        environment_proxies()
        self._crawler = crawler
        self._uses_environment = crawler.get_downloader_middleware(HttpProxyMiddleware) is not None
        self._authorities = page_authorities(settings)
        self._leaves_tls = _leaves_tls(settings)
        self._netrc = read_netrc(config.NETRC.of(settings))
        self._connect_timeout_s = config.CONNECT_TIMEOUT_S.of(settings)
        self._block_private = config.BLOCK_PRIVATE.of(settings)
        self._proxied: Any = None  # made when the first page needs it
        self._ftp_robots: FtpRobots | None = None  # likewise

    @contextmanager
    def proxy_chosen(self, request: Request) -> Iterator[bool]:
        """Set the proxy of a request as the environment names it, and yield whether the environment is decisive.

        It is not where the spider has chosen a proxy, or none, and where `HTTPPROXY_ENABLED` is False. Credentials
        are removed at the end: a request that is repeated is written to the disk with its headers.
        """
        meta = request.meta
        if not self._uses_environment or ("proxy" in meta and not meta.get("_scheme_proxy")):
            yield False
            return
        _forget_credentials(request)
        origin = Origin.of(request.url)
        proxy = proxy_for(environment_proxies(), origin) if origin is not None else None
        if proxy is None:
            meta.pop("proxy", None)
            meta.pop("_scheme_proxy", None)
        else:
            meta.update(proxy=redact_url(proxy), _scheme_proxy=True)
            parts = urlsplit(proxy)
            if parts.username is not None:
                user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
                request.headers[_PROXY_AUTHORIZATION] = b"Basic " + base64.b64encode(user.encode())
                meta["_auth_proxy"] = meta["proxy"]
        try:
            yield True
        finally:
            _forget_credentials(request)

    async def download(self, request: Request, handlers: Any) -> Response:
        """Download a page with the handler of its scheme, or through the transport of media.

        Raises:
            PackageMissing: the proxy is a SOCKS proxy, and PySocks is not installed.
            Exception: the exceptions of Scrapy; the message of a failed connection names the proxy.
        """
        if is_ftp_robots(request):
            return await self._robots_over_ftp(request)
        scheme = request.url.partition(":")[0].lower()
        handler = handlers._get_handler(scheme) if scheme in {"http", "https"} else None  # noqa: SLF001
        self._verify(handler)
        limit_heads(handler)
        proxy = proxy_of(request)
        is_ours = proxy is not None and _is_ours(handler, scheme, proxy)
        if self._block_private:
            await self._refuse_private(request, handler, proxy, is_ours=is_ours)
        with self._authorized(request):
            if is_ours:
                response: Response = await self._through_transport().download_request(request)
            else:
                try:
                    response = await handlers.download_request_async(request)
                except _DOWNLOAD_ERRORS as error:
                    raise await self._explained(error, request, proxy) from error
                except PrivateAddress as error:
                    raise _refused(request, self._route(request, proxy).private(str(error))) from None
                except ValueError as error:  # a URL without a host, for example: a page has led there
                    raise DownloadFailedError(redact_url(str(error))) from None
        route = self._route(request, proxy)
        if route.is_refused_by_proxy(response.status):
            request.meta["dont_retry"] = True
            raise DownloadFailedError(route.unauthorized().reason)
        return response

    async def _refuse_private(self, request: Request, handler: Any, proxy: str | None, *, is_ours: bool) -> None:
        """Make sure that a page comes from a public address, or from a proxy that is asked for no other.

        Raises:
            DownloadFailedError: its address is not public, or cannot be checked.
        """
        route, scheme = self._route(request, proxy), request.url.partition(":")[0].lower()
        if proxy:
            try:
                await in_thread(route.check_proxied_host)
            except AddressRefused as error:
                raise _refused(request, error) from None
        if not is_ours and scheme not in _WITHOUT_ADDRESS and not connects_to_public(handler):
            reason = f"{scheme} pages come from addresses that are not checked"
            if handler is not None:
                reason = f"the download handler {type(handler).__name__} connects to addresses that are not checked"
            raise _refused(request, route.private(reason))

    async def _robots_over_ftp(self, request: Request) -> Response:
        if self._ftp_robots is None:
            self._ftp_robots = FtpRobots(
                self._authorities, block_private=self._block_private, connect_timeout_s=self._connect_timeout_s
            )
        timeout_s = float(request.meta.get("download_timeout") or _ROBOTS_TIMEOUT_S)
        found: Response = await in_thread(partial(self._ftp_robots.read, request, proxy_of(request), timeout_s))
        return found

    async def close(self) -> None:
        """Close the connections."""
        if self._ftp_robots is not None:
            self._ftp_robots.close()
        if self._proxied is not None:
            await self._proxied.close()

    def stop(self) -> None:
        """Wake up the threads that wait for a page."""
        if self._ftp_robots is not None:
            self._ftp_robots.stop()
        if self._proxied is not None:
            self._proxied.stop()

    def _through_transport(self) -> Any:
        if self._proxied is None:
            # Imported only now: few crawls have such a proxy, and the base class is Scrapy's own affair.
            made = import_module("mediacrawl.crawl.proxied_pages").ProxiedPages
            verify = self._authorities or False
            transport = RequestsTransport(
                verify=verify, block_private=self._block_private, connect_timeout_s=self._connect_timeout_s
            )
            self._proxied = made(self._crawler, transport)
        return self._proxied

    def _verify(self, handler: Any) -> None:
        """Have Scrapy's handler verify certificates, unless the project has its own way, or wants none."""
        factory = getattr(handler, "_contextFactory", None)
        is_scrapys = type(factory).__module__ == "scrapy.core.downloader.contextfactory"
        if is_scrapys and self._authorities is not None and not self._leaves_tls:
            handler._contextFactory = VerifyingFactory(factory, self._authorities)  # noqa: SLF001

    @contextmanager
    def _authorized(self, request: Request) -> Iterator[None]:
        """Add the credentials of `.netrc` while the request is sent: nothing that keeps the request keeps them."""
        value = None
        if "Authorization" not in request.headers and "@" not in urlsplit(request.url).netloc:
            value = self._netrc.authorization(self._first_host(request))
        if value is not None:
            request.headers["Authorization"] = value
        try:
            yield
        finally:
            if value is not None:
                request.headers.pop("Authorization", None)

    @staticmethod
    def _first_host(request: Request) -> str:
        """Return the host of a request; empty after a redirect from another host, or from https to http."""
        came = [Origin.of(url) for url in (*request.meta.get("redirect_urls", ()), request.url)]
        if any(one is None or came[-1] is None or one.host != came[-1].host for one in came):
            return ""
        schemes = [one.scheme for one in came if one is not None]
        return "" if schemes[-1] == "http" and "https" in schemes else getattr(came[-1], "host", "")

    async def _explained(self, error: Exception, request: Request, proxy: str | None) -> Exception:
        """Return an error of Scrapy with a message that says what to do, and names the proxy."""
        route, text = self._route(request, proxy), str(error)
        if (head := invalid_head(error)) is not None:
            request.meta["dont_retry"] = True
            return DownloadFailedError(f"{head}{route.through}")
        if any(words in text for words in _UNTRUSTED):
            request.meta["dont_retry"] = True
            origin = Origin.of(request.url)
            reason = ""
            if origin is not None and self._authorities is not None:
                check = partial(
                    _certificate_problem,
                    origin,
                    self._authorities,
                    self._connect_timeout_s,
                    public_only=self._block_private,
                )
                reason = await in_thread(check)
            return DownloadFailedError(route.untrusted(reason or "it cannot be verified").reason)
        return type(error)(f"{text}{route.through}") if proxy else error

    def _route(self, request: Request, proxy: str | None) -> Route:
        timeout_s = float(request.meta.get("download_timeout") or 0)
        return Route(request.url, timeout_s, self._connect_timeout_s, proxy)


@implementer(IPolicyForHTTPS, IOpenSSLTrustRoot)
class VerifyingFactory:
    """Scrapy's factory of TLS connections, with the verification of certificates by given authorities."""

    def __init__(self, factory: Any, authorities: Authorities) -> None:
        self._factory = factory
        self._authorities = authorities

    def creatorForNetloc(self, hostname: bytes, _port: int) -> Any:  # noqa: N802 - named by Twisted
        """Return the options of connections to a host."""
        options = self._factory._get_cert_options_kwargs()  # noqa: SLF001
        trust: Any = self
        return optionsForClientTLS(hostname.decode("ascii"), trustRoot=trust, extraCertificateOptions=options)

    def _addCACertsToContext(self, context: Any) -> None:  # noqa: N802 - named by Twisted
        context.load_verify_locations(*self._authorities)


def page_authorities(settings: BaseSettings) -> Authorities | None:
    """Return the authorities that verify the certificates of pages; None if these are not verified.

    The project's own `DOWNLOAD_VERIFY_CERTIFICATES` takes precedence over `MEDIACRAWL_VERIFY_TLS`.

    Raises:
        UsageProblem: the environment or the setting names authorities that are none.
    """
    if _is_set(settings, "DOWNLOAD_VERIFY_CERTIFICATES"):
        if not settings.getbool("DOWNLOAD_VERIFY_CERTIFICATES"):
            return None
        return authorities_of(config.VERIFY_TLS.of(settings) or True)
    return authorities_of(config.VERIFY_TLS.of(settings))


def _leaves_tls(settings: BaseSettings) -> bool:
    """Return whether a project has neither the add-on nor a setting about certificates: pages are Scrapy's then."""
    return not any(_is_set(settings, name) for name in ("DOWNLOAD_VERIFY_CERTIFICATES", config.VERIFY_TLS.name))


def _is_set(settings: BaseSettings, name: str) -> bool:
    return (settings.getpriority(name) or 0) > SETTINGS_PRIORITIES["default"]


def _forget_credentials(request: Request) -> None:
    """Remove the credentials of a proxy that Scrapy's middleware, or an earlier call, has added to a request."""
    if request.meta.pop("_auth_proxy", None) is not None:
        request.headers.pop(_PROXY_AUTHORIZATION, None)


def proxy_of(request: Request) -> str | None:
    """Return the proxy with its credentials, which Scrapy's middleware has moved into a header."""
    proxy: str | None = request.meta.get("proxy")
    if not proxy:
        return None
    authorization = Headers(request.headers).get(_PROXY_AUTHORIZATION)
    if authorization is None or not authorization.startswith(b"Basic "):
        return proxy
    try:
        user, _, password = base64.b64decode(authorization[6:]).decode("latin-1").partition(":")
    except ValueError:
        return proxy
    return with_credentials(proxy, user, password)


def _is_ours(handler: Any, scheme: str, proxy: str) -> bool:
    """Return whether the transport of media brings a page through a proxy, and not the handler of its scheme.

    A handler that is not Scrapy's is the choice of the project.
    """
    is_plain = scheme == "http" and not is_socks(proxy) and not proxy.lower().startswith("https:")
    return not is_plain and type(handler).__module__.startswith("scrapy.")


def _refused(request: Request, error: AddressRefused) -> DownloadFailedError:
    """Return the failure of a page whose address is refused; it is not requested again."""
    request.meta["dont_retry"] = True
    return DownloadFailedError(error.reason)


def _certificate_problem(
    origin: Origin, authorities: Authorities, timeout_s: float, *, public_only: bool = False
) -> str:
    """Return why the certificate of a server is not accepted, in the words of media: Twisted has none for it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(*authorities)
        with connect(origin.host, origin.port, timeout_s, (), Winners(), public_only=public_only) as sock:
            context.wrap_socket(sock, server_hostname=origin.host).close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, ValueError):
        pass
    return ""


async def in_thread(function: Callable[[], T], discard: Callable[[T], object] = lambda _: None) -> T:
    """Call a function in a thread of its own, which no exit of the interpreter waits for.

    Args:
        function: blocks.
        discard: receives a result that no caller waits for any more.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(result: Any, error: BaseException | None) -> None:
        if future.cancelled():
            if error is None:
                discard(result)
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as caught:
            error = caught
        try:
            loop.call_soon_threadsafe(finish, result, error)
        except RuntimeError:  # the loop is closed
            if error is None and result is not None:
                discard(result)

    threading.Thread(target=run, daemon=True, name="page").start()
    return await future
