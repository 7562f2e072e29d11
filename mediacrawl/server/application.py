"""The one application of a server: files, uploads, pages, and the checks that hold for all, under RSGI and WSGI."""

from __future__ import annotations

import sys
import time
from io import BytesIO
from typing import TYPE_CHECKING, Any

from mediacrawl.server.access_log import AccessLog, AnsweredRequest
from mediacrawl.server.routing import (
    BROKEN_OFF,
    FORM_TYPE,
    PATH_AS_SENT,
    Part,
    RequestHead,
    Router,
    has_page,
    page_cookies,
)
from mediacrawl.server.rsgi import RsgiFiles, fields_of_scope, send_planned
from mediacrawl.server.site import ResourceRequest, StoreSite, text_response
from mediacrawl.server.uploads.rsgi import RsgiUploads
from mediacrawl.server.wsgi import WsgiFiles, field_of, path_info, with_file, without_file
from mediacrawl.server.wsgi_bridge import WsgiBridge

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable

    from mediacrawl.server.accounts.access import Access, Identified
    from mediacrawl.server.options import ServeOptions
    from mediacrawl.server.ranges import PlannedResponse
    from mediacrawl.server.routing import RoutedRequest

    Pages = Callable[..., Iterable[bytes]]
    StartResponse = Callable[..., Any]


_NO_UPLOADS = text_response(501, "This server takes no uploads: `mediacrawl serve` does.", ("Connection", "close"))


class RsgiApplication:
    """The application under RSGI. One instance serves one event loop."""

    def __init__(
        self,
        options: ServeOptions,
        pages: Pages,
        refuse: Callable[[ResourceRequest], Awaitable[PlannedResponse | None]],
        *,
        identify: Callable[[ResourceRequest], Awaitable[Identified]] | None = None,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        """Open the store.

        Args:
            options: of the server.
            pages: a WSGI application that responds to all requests but those for files and uploads.
            refuse: as for `RsgiFiles`.
            identify: as for `RsgiUploads`; None: there are no uploads.
            at_end: called after the last request.

        Raises:
            StoreNotWritable: there is no such store, or it cannot be read.
            UsageProblem: an option is wrong.
        """
        self._router = Router(options)
        self._site = _site_of(options)
        self._files = RsgiFiles(self._site, refuse)
        self._uploads = RsgiUploads(options, identify) if identify is not None else None
        self._pages = pages
        self._prefix = options.prefix
        self._bridge: WsgiBridge | None = None
        self._at_end = at_end
        self._log = AccessLog(sys.stdout) if options.log_access and sys.stdout is not None else None

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads of the pages, and settle the uploads that a crash has interrupted."""
        self._bridge = WsgiBridge(self._pages, prefix=self._prefix)
        if self._uploads is not None:
            self._uploads.start(loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the threads, and close the store."""
        if self._bridge is not None:
            self._bridge.close()
        if self._uploads is not None:
            self._uploads.close()
        self._files.close()
        self._site.close()
        if self._at_end is not None:
            self._at_end()
        if self._log is not None:
            self._log.close()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Respond to a request."""
        if scope.proto != "http":
            return
        if self._log is None:
            await self._respond(scope, protocol)
            return
        began, recording = time.monotonic(), _RecordingProtocol(protocol)
        try:
            await self._respond(scope, recording)
        finally:
            self._note(self._log, scope, recording, began)

    async def _respond(self, scope: Any, protocol: Any) -> None:
        fields = fields_of_scope(scope)
        head = RequestHead(
            method=scope.method,
            path=scope.path,
            peer=scope.client.rpartition(":")[0].strip("[]"),
            scheme=scope.scheme,
            host=scope.authority or fields.get("host"),
            field=fields.get,
            names=fields,
            query=scope.query_string,
        )
        route = self._router.route(head)
        if isinstance(protocol, _RecordingProtocol):
            protocol.note_request(route.client.address, fields.get("range", ""))
        response = route.response
        if response is None and route.part is Part.FILES:
            response = await self._files.respond(_file_request(head, route), protocol)
            if response is None:
                return
            if has_page(response, head.field):
                route = route.as_page(head)
                response = route.response
        elif response is None and route.part is Part.UPLOADS:
            if self._uploads is not None:
                await self._uploads.respond(head, route, protocol)
                return
            response = _NO_UPLOADS
        if response is not None:
            send_planned(protocol, head.method, response)
        else:
            assert self._bridge is not None
            await self._bridge.respond(head, route, protocol)

    @staticmethod
    def _note(log: AccessLog, scope: Any, recording: _RecordingProtocol, began: float) -> None:
        log.note(
            AnsweredRequest(
                client=recording.address,
                method=scope.method,
                path=scope.path,
                version=scope.http_version,
                status=recording.status,
                length=recording.length,
                wanted=recording.wanted,
                began=began,
            )
        )


class _RecordingProtocol:
    """The protocol of RSGI, with what the access log tells of the response."""

    __slots__ = ("_protocol", "address", "length", "status", "wanted")

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self.address = self.length = self.wanted = ""
        self.status = 500  # the response of the server if the application has failed

    def note_request(self, address: str, wanted: str) -> None:
        self.address, self.wanted = address, wanted

    def __aiter__(self) -> Any:
        return self._protocol.__aiter__()

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        self._record(status, headers)
        self._protocol.response_empty(status, headers)

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self._record(status, headers)
        self._protocol.response_bytes(status, headers, body)

    def response_file(self, status: int, headers: list[tuple[str, str]], path: str) -> None:
        self._record(status, headers)
        self._protocol.response_file(status, headers, path)

    def response_file_range(
        self, status: int, headers: list[tuple[str, str]], path: str, start: int, stop: int
    ) -> None:
        self._record(status, headers)
        self._protocol.response_file_range(status, headers, path, start, stop)

    def _record(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.status = status
        self.length = _length_of(headers)


class WsgiApplication:
    """The application under gunicorn with threads. Thread-safe."""

    def __init__(
        self,
        options: ServeOptions,
        pages: Pages,
        refuse: Callable[[ResourceRequest], PlannedResponse | None],
        *,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        """Open the store. The arguments and errors are those of `RsgiApplication`; `refuse` is as for `WsgiFiles`."""
        self._router = Router(options)
        self._site = _site_of(options)
        self._files = WsgiFiles(self._site, refuse)
        self._pages = pages
        self._prefix = options.prefix
        self._at_end = at_end
        self._log = AccessLog(sys.stdout) if options.log_access and sys.stdout is not None else None

    def close(self) -> None:
        """Close the store and the database of people, and end the thread of the access log."""
        self._site.close()
        if self._at_end is not None:
            self._at_end()
        if self._log is not None:
            self._log.close()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Respond to a request."""
        if self._log is None:
            return self._respond(environ, start_response, [""])
        log, began, address = self._log, time.monotonic(), [""]

        def note_and_start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            log.note(
                AnsweredRequest(
                    client=address[0],
                    method=environ["REQUEST_METHOD"],
                    path=path_info(environ),
                    version=environ["SERVER_PROTOCOL"].removeprefix("HTTP/"),
                    status=int(status[:3]),
                    length=_length_of(headers),
                    wanted=environ.get("HTTP_RANGE", ""),
                    began=began,
                )
            )
            return start_response(status, headers, *error)

        return self._respond(environ, note_and_start, address)

    def _respond(self, environ: dict[str, Any], start_response: StartResponse, address: list[str]) -> Iterable[bytes]:
        head = head_of_environ(environ)
        route = self._router.route(head)
        address[0] = route.client.address
        if route.response is not None:
            return without_file(head.method, route.response, start_response)
        if route.part is Part.UPLOADS:
            return without_file(head.method, _NO_UPLOADS, start_response)
        if route.part is Part.FILES:
            response, file = self._files.planned(_file_request(head, route))
            if file is not None:
                return with_file(environ, file, response, start_response)
            if not has_page(response, head.field):
                return without_file(head.method, response, start_response)
            route = route.as_page(head)
            if route.response is not None:
                return without_file(head.method, route.response, start_response)
        body = environ["wsgi.input"].read(route.length) if route.length else b""
        if len(body) != route.length:
            return without_file(head.method, BROKEN_OFF, start_response)
        return self._pages(self._environ_of_page(environ, route, body), start_response)

    def _environ_of_page(self, environ: dict[str, Any], route: RoutedRequest, body: bytes) -> dict[str, Any]:
        """Return the environment with the client that the router has found, and without the prefix in the path."""
        kept = {name: value for name, value in environ.items() if not name.startswith("HTTP_X_FORWARDED_")}
        kept |= {
            "SCRIPT_NAME": self._prefix,
            "PATH_INFO": route.path.encode("utf-8", "surrogateescape").decode("latin-1"),
            PATH_AS_SENT: route.path,
            "REMOTE_ADDR": route.client.address,
            "HTTP_COOKIE": page_cookies(environ.get("HTTP_COOKIE", "")),
            "CONTENT_TYPE": FORM_TYPE if route.length else "",
            "wsgi.url_scheme": route.client.scheme,
            "wsgi.input": BytesIO(body),
        }
        return kept | ({"HTTP_HOST": route.client.host} if route.client.host is not None else {})


def head_of_environ(environ: dict[str, Any]) -> RequestHead:
    """Return a request as the router takes it."""
    names = [name[5:].replace("_", "-").lower() for name in environ if name.startswith("HTTP_")]
    fields = field_of(environ)
    own = {"content-length": "CONTENT_LENGTH", "content-type": "CONTENT_TYPE"}

    def field(name: str) -> str | None:
        return environ.get(own[name]) if name in own else fields(name)

    return RequestHead(
        method=environ["REQUEST_METHOD"],
        path=environ.get("SCRIPT_NAME", "") + path_info(environ),
        peer=environ.get("REMOTE_ADDR", ""),
        scheme=environ.get("wsgi.url_scheme", "http"),
        host=environ.get("HTTP_HOST"),
        field=field,
        names=names,
        query=environ.get("QUERY_STRING", ""),
    )


def _length_of(headers: list[tuple[str, str]]) -> str:
    return next((value for name, value in headers if name == "Content-Length"), "")


def _site_of(options: ServeOptions) -> StoreSite:
    return StoreSite(options.store, ledger=options.ledger, accel_location=options.accel_location)


def _file_request(head: RequestHead, route: RoutedRequest) -> ResourceRequest:
    return ResourceRequest(head.method, route.path, head.field, route.client.address)


def rsgi_application(options: ServeOptions) -> RsgiApplication:
    """Return the application of a server whose databases are up to date. Called once in a process.

    Raises:
        StoreNotWritable: there is no such store, or it cannot be read.
        UsageProblem: an option is wrong.
    """
    pages, access = _parts(options)
    return RsgiApplication(options, pages, access.refuse, identify=access.identify, at_end=access.close)


def wsgi_application(options: ServeOptions) -> WsgiApplication:
    """Return the same application for a WSGI server: one process of gunicorn with threads."""
    pages, access = _parts(options)
    return WsgiApplication(options, pages, access.refuse_in_thread, at_end=access.close)


def _parts(options: ServeOptions) -> tuple[Pages, Access]:
    """Set Django up; return its application, and the check of permission."""
    from mediacrawl.server.accounts.access import Access  # noqa: PLC0415 - Django may be missing
    from mediacrawl.server.accounts.handler import page_handler  # noqa: PLC0415

    return page_handler(options), Access(options)
