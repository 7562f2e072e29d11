"""tus under RSGI: requests become calls of `Uploads` in threads, and content is read no faster than it is written.

The newest request of an upload goes on with it. A client that comes back after its network has changed does not wait
for the connection that it has lost, which the system may take for alive for many minutes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from mediacrawl.backends import has_ledger, ledger_url, store_of
from mediacrawl.errors import MachineError, MediacrawlError, StoreNotWritable
from mediacrawl.server.connections import most_connections
from mediacrawl.server.ranges import PlannedResponse
from mediacrawl.server.rsgi import send_planned
from mediacrawl.server.site import ResourceRequest, text_response
from mediacrawl.server.uploads import protocol
from mediacrawl.server.uploads.arrival import Arrival, RequestContent
from mediacrawl.server.uploads.buffering import BufferingWatch
from mediacrawl.server.uploads.problems import (
    NoSuchUpload,
    OffsetConflict,
    SilentClient,
    TakenOver,
    TooManyRequests,
    UploadTooLarge,
)
from mediacrawl.server.uploads.records import UploadWish
from mediacrawl.server.uploads.uploads import UPLOAD_KEPT_S, Uploads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from mediacrawl.server.accounts.access import Identified
    from mediacrawl.server.accounts.rights import Person
    from mediacrawl.server.options import ServeOptions
    from mediacrawl.server.routing import RequestHead, RoutedRequest
    from mediacrawl.server.uploads.records import UploadFacts
    from mediacrawl.server.uploads.writer import UploadWriter

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

_THREADS = 8  # that write, and as many that answer
_FINISHING_THREADS = 4  # that read whole files
_MOST_AT_A_TIME = 128  # requests with content, each with up to 2 MiB in memory
_MOST_OF_ONE_PERSON = 32  # of these: else one, with slow connections, could hold up all others
_SWEEP_EVERY_S = 3600.0
_CHANGING = frozenset({"POST", "PATCH", "DELETE"})
_BY_PROXY = ("x-forwarded-for", "x-forwarded-proto", "x-real-ip", "forwarded", "via")

_NOT_A_PERSON = text_response(403, "Uploads need a login.")
_OTHER_ORIGIN = text_response(403, "A page of another site may not upload: its origin can be allowed by the owner.")
_FAILED = text_response(500, "The server could not do this. Its log says why.")


class _Asked(NamedTuple):
    """A request of a person that has been decided about."""

    person: Person
    request: ResourceRequest
    content: RequestContent
    is_by_proxy: bool


class _Receiving(NamedTuple):
    """The content of a request that is about to be received, and the writer that takes it."""

    writer: UploadWriter
    arrival: Arrival
    began: float


class RsgiUploads:
    """The uploads of a server, for one event loop."""

    def __init__(self, options: ServeOptions, identify: Callable[[ResourceRequest], Awaitable[Identified]]) -> None:
        """Prepare; the store is opened for writing by the first request, or by `start`.

        Args:
            options: of the server.
            identify: returns the person who has sent a request, or the response to one of nobody.
        """
        self._options = options
        self._identify = identify
        self._base = f"{options.prefix}/uploads/"
        self._file_base = f"{options.prefix}/files/"
        self._opened = _OpenedOnce(options)
        self._writing = ThreadPoolExecutor(_THREADS, "uploads")
        self._finishing = ThreadPoolExecutor(_FINISHING_THREADS, "whole uploads")
        self._answering = ThreadPoolExecutor(_THREADS, "upload facts")
        self._most = min(_MOST_AT_A_TIME, most_connections() // 2)  # the other half is for pages and files
        self._most_of_one = min(_MOST_OF_ONE_PERSON, self._most // 2)
        self._arriving: Counter[str] = Counter()  # by the name of the person
        self._buffering = BufferingWatch()
        self._turns = _Turns()
        self._sweep: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Settle what a crash has left, in a thread, and remove what expires, each hour."""
        self._sweep = loop.call_later(_SWEEP_EVERY_S, self.start, loop)
        loop.run_in_executor(self._answering, self._opened.sweep)

    def close(self) -> None:
        """Make the bytes of all uploads durable, and close the store."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._opened.close()
        self._writing.shutdown()
        self._finishing.shutdown()
        self._answering.shutdown()

    async def respond(self, head: RequestHead, route: RoutedRequest, connection: Any) -> None:
        """Respond to a request, whose path is that behind `/uploads/`, by the protocol of RSGI."""
        origin = head.field("origin")
        is_foreign = origin is not None and not protocol.is_own_origin(origin, route.client.scheme, route.client.host)
        is_allowed = is_foreign and origin in self._options.upload_origins
        content = RequestContent(connection, is_to_be_asked_for=head.field("expect") is not None)
        try:
            if head.method in _CHANGING and is_foreign and not is_allowed:
                response = _OTHER_ORIGIN
            else:
                response = await self._response(head, route, content, is_foreign=is_foreign)
        except Exception:
            logger.exception("a request for an upload has failed")
            response = _FAILED
        if is_allowed and origin is not None:
            response = protocol.allowing(response, origin)
        if response.status >= 400 and head.method in _CHANGING:
            await content.read_away()
        send_planned(connection, head.method, response)

    async def _response(
        self, head: RequestHead, route: RoutedRequest, content: RequestContent, *, is_foreign: bool
    ) -> PlannedResponse:
        command = protocol.command_of(protocol.UploadRequest(head.method, route.path, head.field, self._base))
        if isinstance(command, protocol.Describe):
            origin = head.field("origin")
            return protocol.capabilities(origin if origin in self._options.upload_origins else None)
        request = ResourceRequest(head.method, "", head.field, route.client.address)
        found = await self._identify(request)
        if found.person is None:
            return found.refusal or _NOT_A_PERSON
        if not found.is_basic and (is_foreign or (head.method in _CHANGING and head.field("origin") is None)):
            return _OTHER_ORIGIN  # each browser tells its origin, and an allowed one has no sessions
        if isinstance(command, PlannedResponse):
            return command
        asked = _Asked(found.person, request, content, any(head.field(name) for name in _BY_PROXY))
        try:
            return await self._carried_out(command, asked)
        except protocol.BadRequest as error:
            return error.response
        except MediacrawlError as error:
            if isinstance(error, MachineError):
                logger.error("an upload of %s: %s", found.person.name, error)
            return protocol.refused(error)

    async def _carried_out(self, command: protocol.TusCommand, asked: _Asked) -> PlannedResponse:
        async with AsyncExitStack() as turn:  # before anything else is waited for: in the order of the requests
            if ids := _ids_of(command):
                await turn.enter_async_context(self._turns.of(asked.person, ids))
            uploads = await self._answer(self._opened.get)
            match command:
                case protocol.ListUploads():
                    async with self._turns.of(asked.person, [""]):  # one at a time: they may be many
                        return await self._answer(self._listed, uploads, asked.person)
                case protocol.Create():
                    return await self._create(uploads, command, asked)
                case protocol.Join():
                    wish = _wish(asked.person, command, None, command.concat)
                    facts = await self._run(self._finishing, uploads.join, wish, command.ids)
                    return protocol.created(facts, self._base, self._file_base)
                case protocol.Tell():
                    return await self._tell(uploads, command, asked)
                case protocol.Append():
                    return await self._append(uploads, command, asked, turn)
                case protocol.Remove():
                    await self._answer(uploads.remove, command.id, asked.person)
            return protocol.removed()

    def _listed(self, uploads: Uploads, person: Person) -> PlannedResponse:
        found, left_bytes = uploads.list_unfinished(person), uploads.left_bytes(person)
        return protocol.listed(found, left_bytes, is_buffered=self._buffering.is_buffered)

    async def _create(self, uploads: Uploads, command: protocol.Create, asked: _Asked) -> PlannedResponse:
        wish = _wish(asked.person, command, command.length, "partial" if command.is_partial else "")
        has_content = command.has_content and command.length > 0
        if has_content:
            self._refuse_too_many(asked.person)
        facts = await self._answer(uploads.create, wish)
        try:
            if has_content:
                facts = await self._receive_first(uploads, facts, command, asked)
            facts = await self._published(uploads, facts, asked.person)
        except MediacrawlError:  # nobody has been told where the upload is
            with suppress(MediacrawlError):
                await self._answer(uploads.remove, facts.id, asked.person)
            raise
        self._buffering.note_told(facts.id, time.monotonic())
        return protocol.created(facts, self._base, self._file_base)

    async def _receive_first(
        self, uploads: Uploads, facts: UploadFacts, command: protocol.Create, asked: _Asked
    ) -> UploadFacts:
        """Append the content of a creation. What stops it midway is not told: the client goes on from the offset."""
        content = protocol.Append(facts.id, 0, command.content_length, command.checksum)
        try:
            return await self._receive(uploads, await self._begin(uploads, content, asked), facts, asked)
        except (MachineError, TakenOver, SilentClient) as error:
            logger.warning("an upload of %s stops at its beginning: %s", asked.person.name, error)
        await asked.content.read_away()
        return await self._answer(uploads.facts, facts.id, asked.person)

    async def _append(
        self, uploads: Uploads, command: protocol.Append, asked: _Asked, turn: AsyncExitStack
    ) -> PlannedResponse:
        facts = await self._answer(uploads.look, command.id, asked.person)
        if facts.concat.startswith("final"):
            raise protocol.BadRequest(403, "This upload is made of others, and takes no content.")
        length = facts.length_bytes
        if length is not None and command.offset + (command.length or 0) > length:
            raise UploadTooLarge(f"the upload has {length} bytes in total, and these are more")
        if not facts.is_published:
            try:
                receiving = await self._begin(uploads, command, asked)
            except NoSuchUpload:  # unless another process has finished it meanwhile
                facts = await self._answer(uploads.look, command.id, asked.person)
                raise OffsetConflict(facts.offset, command.offset) from None
            await turn.aclose()  # a later request takes over
            facts = await self._receive(uploads, receiving, facts, asked)
        elif command.offset != length:
            raise OffsetConflict(length or 0, command.offset)
        self._buffering.note_told(facts.id, time.monotonic())
        return protocol.appended(facts, self._file_base)

    async def _tell(self, uploads: Uploads, command: protocol.Tell, asked: _Asked) -> PlannedResponse:
        facts = await self._answer(uploads.facts, command.id, asked.person)
        facts = await self._published(uploads, facts, asked.person)  # its client sends nothing more
        self._buffering.note_told(facts.id, time.monotonic())
        return protocol.told(facts, self._file_base)

    def _refuse_too_many(self, person: Person) -> None:
        if self._arriving.total() >= self._most or self._arriving[person.name] >= self._most_of_one:
            raise TooManyRequests("too many uploads arrive at this moment: try again in a moment")

    async def _begin(self, uploads: Uploads, command: protocol.Append, asked: _Asked) -> _Receiving:
        """Take over an upload, for the content of a request, which `_receive` receives."""
        self._refuse_too_many(asked.person)
        self._arriving[asked.person.name] += 1
        began = time.monotonic()
        arrival = Arrival(asked.content, self._writing, command.length)
        try:
            return _Receiving(await self._writer(uploads, command, asked.person, arrival), arrival, began)
        except BaseException:
            self._note_end(asked.person)
            raise

    def _note_end(self, person: Person) -> None:
        """Count the content of a request as received, or given up."""
        self._arriving[person.name] -= 1
        if not self._arriving[person.name]:
            del self._arriving[person.name]

    async def _receive(
        self, uploads: Uploads, receiving: _Receiving, facts: UploadFacts, asked: _Asked
    ) -> UploadFacts:
        """Append the content of a request to an upload. Return the facts of the upload with its durable offset."""
        writer, arrival, began = receiving
        try:
            is_complete = await arrival.copy_to(writer)
            if is_complete and asked.is_by_proxy:
                self._note_received(facts.id, began, arrival)
            return await self._end_of(uploads, writer, facts, asked, is_complete=is_complete)
        except BaseException:
            with suppress(MediacrawlError):
                await asyncio.shield(self._write(writer.drop))
            raise
        finally:
            self._note_end(asked.person)

    async def _end_of(
        self, uploads: Uploads, writer: UploadWriter, facts: UploadFacts, asked: _Asked, *, is_complete: bool
    ) -> UploadFacts:
        """Publish an upload whose last byte was written, or else make its bytes durable."""
        if writer.offset == facts.length_bytes and facts.concat != "partial":
            person = await self._person_now(asked)
            async with self._turns.of(person, [facts.id]):
                path = await self._run(self._finishing, uploads.finish, facts.id, person, writer)
            return facts._replace(offset=writer.offset, path=path, is_published=True)
        durable = await self._write(writer.close if is_complete else writer.drop)
        return facts._replace(offset=durable, expires_at=time.time() + UPLOAD_KEPT_S)

    async def _person_now(self, asked: _Asked) -> Person:
        """Return the person again: to receive content may take hours, in which a login may have ended."""
        found = await self._identify(asked.request)
        return found.person if found.person is not None else asked.person._replace(can_upload=False)

    async def _writer(
        self, uploads: Uploads, command: protocol.Append, person: Person, arrival: Arrival
    ) -> UploadWriter:
        loop = asyncio.get_running_loop()
        return await self._answer(
            uploads.writer,
            command.id,
            person,
            command.offset,
            checksum=command.checksum,
            at_takeover=lambda: _call_soon(loop, arrival.end),
        )

    async def _published(self, uploads: Uploads, facts: UploadFacts, person: Person) -> UploadFacts:
        """Publish an upload if it is whole, and return its facts."""
        if facts.is_published or not facts.is_whole or facts.concat == "partial":
            return facts
        path = await self._run(self._finishing, uploads.finish, facts.id, person)
        return facts._replace(path=path, is_published=True)

    def _note_received(self, upload_id: str, began: float, arrival: Arrival) -> None:
        if self._buffering.note_received(upload_id, began, time.monotonic(), arrival.size_bytes):
            logger.warning(
                "the proxy in front of this server seems to collect uploads before it sends them on, so that they "
                "cannot be resumed: nginx needs `proxy_request_buffering off` (docs/uploads.md)"
            )

    async def _answer(self, function: Callable[P, T], *arguments: P.args, **more: P.kwargs) -> T:
        return await self._run(self._answering, function, *arguments, **more)

    async def _write(self, function: Callable[P, T], *arguments: P.args, **more: P.kwargs) -> T:
        return await self._run(self._writing, function, *arguments, **more)

    @staticmethod
    async def _run(threads: ThreadPoolExecutor, function: Callable[P, T], *arguments: P.args, **more: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, partial(function, *arguments, **more))


class _Turns:
    """Have the requests for one upload look it up, take it over and finish it one after the other, as they have come.

    A request that waits for its turn has no thread, so that many of them hold up no other upload.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, person: Person, ids: Iterable[str]) -> AsyncIterator[None]:
        """Wait for the turn of a request, and keep it."""
        keys = [(person.name, one) for one in sorted(set(ids))]  # in one order: no two requests wait for each other
        locks = [self._locks.setdefault(key, asyncio.Lock()) for key in keys]
        async with AsyncExitStack() as held:
            for lock in locks:
                await held.enter_async_context(lock)
            yield


def _ids_of(command: protocol.TusCommand) -> tuple[str, ...]:
    """Return the uploads that a command is about."""
    match command:
        case protocol.Tell() | protocol.Append() | protocol.Remove():
            return (command.id,)
        case protocol.Join():
            return command.ids
    return ()


class _OpenedOnce:
    """The uploads of a store, opened when they are first needed. Methods may be called from any thread, and block."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._uploads: Uploads | None = None
        self._is_closed = False

    def get(self) -> Uploads:
        """Return the uploads.

        Raises:
            StoreNotWritable, DiskFull: the store cannot be used; or the server ends.
        """
        with self._lock:
            if self._is_closed:
                raise StoreNotWritable("the server ends")
            if self._uploads is None:
                options = self._options
                self._uploads = Uploads(options.store, options.ledger, is_public=options.is_public)
            return self._uploads

    def sweep(self) -> None:
        """Settle what a crash has left, and remove what has expired, unless nothing was ever uploaded or fetched."""
        try:
            if has_ledger(ledger_url(self._options.ledger, store_of(str(self._options.store)))):
                self.get().sweep()
        except MediacrawlError as error:
            logger.warning("cannot look for uploads that have expired: %s", error)

    def close(self) -> None:
        """Make the bytes of all uploads durable, and close the store."""
        with self._lock:
            self._is_closed = True
            if self._uploads is not None:
                self._uploads.close()


def _wish(person: Person, command: protocol.Create | protocol.Join, length: int | None, concat: str) -> UploadWish:
    """Return what a client wants.

    Raises:
        BadRequest: the metadata cannot be used.
    """
    file = protocol.announced_file(command.metadata)
    return UploadWish(
        person,
        file.folder,
        file.name,
        length,
        file.sha256,
        file.modified,
        metadata=command.raw_metadata,
        concat=concat,
    )


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(function)
