"""A server of tus 1.0.0 as the target of files: `mediacrawl serve`, tusd, and others."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from mediacrawl.errors import ConnectionLost, InvalidResponse, TransferError, redact_url
from mediacrawl.headers import media_type
from mediacrawl.push.http_client import HttpClient, refusal
from mediacrawl.push.targets import Sent
from mediacrawl.push.tus_fields import CHUNK_TYPE, CLIENT_VERSION, is_tus, metadata_of, offset_of, upload_url
from mediacrawl.sources.folder_page import ListedFile, read_folder_page
from mediacrawl.urls import resolve, target_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.push.http_client import HttpResponse, NetworkOptions
    from mediacrawl.push.local_files import LocalFile
    from mediacrawl.push.push_state import Pushed, PushState
    from mediacrawl.push.targets import Errand

_JSON = {"Accept": "application/json"}
_TUS = {"Tus-Resumable": CLIENT_VERSION}
_BLOCK_BYTES = 64 * 1024  # a block has to be sent within the time limit for a connection
_FINISHING_S = 600.0  # how long a server may need for the last bytes: it hashes and syncs a large file
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404
_MOST_REDIRECTS = 5
_MOST_PAGES = 10_000


class _Site(NamedTuple):
    """A server of tus, and the folder that files are sent to.

    Attributes:
        endpoint: the URL at which uploads are created.
        files: the URL of the folder, if the server lists it; empty otherwise.
        folder: the path of the folder on the server: empty, or with "/" at its end.
    """

    endpoint: str
    files: str = ""
    folder: str = ""


class _Told(NamedTuple):
    """What the server tells of an upload.

    Attributes:
        offset: all bytes before it are there.
        location: the URL of the file, which `mediacrawl serve` tells once it is published; None: not told.
    """

    offset: int
    location: str | None


class TusTarget:
    """See `PushTarget`.

    The URL is that of the endpoint of a server of tus, or that of a folder of `mediacrawl serve`, as its pages have
    it. A folder is listed, so that files which are there already are not sent again.
    """

    def __init__(self, url: str, network: NetworkOptions, state: PushState) -> None:
        """Prepare; no request is sent before the first file."""
        self._url = redact_url(url)
        self._client = HttpClient(url, network)
        self._state = state
        self._lock = threading.Lock()
        self._found: _Site | None = None
        self._listed: dict[str, dict[str, ListedFile]] = {}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def place(self, file: LocalFile) -> str:
        """Return the URL that the file gets in the folder; on a server that lists none, it only stands for it."""
        return resolve(f"{self._url.removesuffix('/')}/", quote(file.name, errors="surrogateescape"))

    def send(self, errand: Errand) -> Sent:
        """Send a file, or what the server lacks of it; see `PushTarget.send`."""
        with errand.cancel.watch(self._client):
            try:
                return self._sent(errand)
            except TransferError:
                errand.cancel.check()  # a stop breaks connections
                raise

    def _sent(self, errand: Errand) -> Sent:
        site = self._site()
        file = errand.opened.file
        place = self.place(file)
        pushed = self._state.find(file, place)
        if (present := self._present(site, errand, pushed)) is not None:
            return present
        pushed = self._hashed(errand, place)
        told = self._told(site, pushed)
        if told is None:
            pushed, told = self._created(site, errand, pushed, place)
        return self._sent_from(site, errand, pushed, place, told)

    def _sent_from(self, site: _Site, errand: Errand, pushed: Pushed, place: str, told: _Told) -> Sent:
        size = errand.opened.file.size_bytes
        self._refuse_more(errand, place, told.offset)
        errand.confirm(told.offset)
        url = resolve(site.endpoint, target_of(pushed.upload_url))
        is_present = pushed.is_done and told.offset == size
        while told.offset < size:
            told = self._appended(errand, url, told.offset)
            errand.confirm(told.offset)
        errand.opened.check()
        self._state.note(errand.opened.file, place, pushed._replace(is_done=True))
        return Sent(redact_url(resolve(site.endpoint, told.location or url)), pushed.sha256, is_present)

    def _hashed(self, errand: Errand, place: str) -> Pushed:
        """Return what is known of a file, with its SHA-256, which is computed once."""
        file = errand.opened.file
        pushed = self._state.find(file, place)
        if not pushed.sha256:
            with errand.progress.sleeping("computes its sha256"):
                pushed = pushed._replace(sha256=errand.opened.sha256(errand.cancel.check))
            self._state.note(file, place, pushed)
        return pushed

    # The protocol

    def _created(self, site: _Site, errand: Errand, pushed: Pushed, place: str) -> tuple[Pushed, _Told]:
        """Create an upload. It is noted before any byte is sent. Of an empty file, that is all."""
        file = errand.opened.file
        fields = {
            **_TUS,
            "Upload-Length": str(file.size_bytes),
            "Upload-Metadata": metadata_of(file, site.folder.removesuffix("/"), pushed.sha256),
        }
        response = self._client.request("POST", site.endpoint, fields)
        if response.status != 201:
            raise refusal(site.endpoint, response)
        found = upload_url(site.endpoint, response.location)
        if found is None or found == site.endpoint:
            raise InvalidResponse(site.endpoint, "the server has created an upload without saying where")
        pushed = pushed._replace(upload_url=found, is_done=False)
        self._state.note(file, place, pushed)
        return pushed, _Told(0, response.headers.get("Content-Location"))

    def _told(self, site: _Site, pushed: Pushed) -> _Told | None:
        """Return what the server has of an upload that was begun; None if there is none any more."""
        if not pushed.upload_url:
            return None
        url = upload_url(site.endpoint, pushed.upload_url)
        if url is None:
            return None
        response = self._client.request("HEAD", url, _TUS, wait_s=_FINISHING_S)
        if response.status in {403, 404, 410}:
            return None
        if response.is_error:
            raise refusal(url, response)
        if (offset := offset_of(response.headers)) is None:
            raise InvalidResponse(url, "the server does not tell the offset of the upload")
        return _Told(offset, response.headers.get("Content-Location"))

    def _appended(self, errand: Errand, url: str, offset: int) -> _Told:
        """Send the rest of a file. Return what the server tells."""
        content = _Rest(errand, offset)
        fields = {**_TUS, "Content-Type": CHUNK_TYPE, "Upload-Offset": str(offset)}
        response = self._client.request("PATCH", url, fields, content=content, wait_s=_FINISHING_S)
        errand.cancel.check()
        if response.status not in {200, 204}:
            raise refusal(url, response)
        told = offset_of(response.headers)
        if told is None or told <= offset:
            raise ConnectionLost(url, f"the server has taken no byte at the offset {offset}")
        self._refuse_more(errand, url, told)
        return _Told(told, response.headers.get("Content-Location"))

    @staticmethod
    def _refuse_more(errand: Errand, url: str, offset: int) -> None:
        """Raise `InvalidResponse` if the server tells of more bytes than the file has."""
        if offset > errand.opened.file.size_bytes:
            raise InvalidResponse(url, f"the server has {offset} bytes of a file of {errand.opened.file.size_bytes}")

    # What is there

    def _present(self, site: _Site, errand: Errand, pushed: Pushed) -> Sent | None:
        """Return the result for a file that the server lists with the same size and SHA-256."""
        if not site.files:
            return None
        file = errand.opened.file
        listed = self._listing(site, file.name.rpartition("/")[0]).get(file.name.rpartition("/")[2])
        if listed is None or listed.size_bytes != file.size_bytes or listed.sha256 is None:
            return None
        pushed = self._hashed(errand, self.place(file))
        if listed.sha256.hex != pushed.sha256:
            return None
        return Sent(redact_url(listed.url), pushed.sha256, is_present=True)

    def _listing(self, site: _Site, folder: str) -> dict[str, ListedFile]:
        """Return the files of a folder below that of the site, by name, as they were when it was first asked for."""
        with self._lock:
            known = self._listed.get(folder)
        if known is None:
            below = f"{quote(folder, errors='surrogateescape')}/" if folder else ""
            known = {file.name: file for file in self._files_at(resolve(site.files, below) if below else site.files)}
            with self._lock:
                self._listed[folder] = known
        return known

    def _files_at(self, url: str) -> Iterator[ListedFile]:
        """Yield the files of a folder; none if there is no such folder."""
        page_url: str | None = url
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            if page_url is None:
                return
            response = self._client.request("GET", page_url, _JSON)
            if response.status == _NOT_FOUND:
                return
            if response.is_error:
                raise refusal(page_url, response)
            try:
                page = read_folder_page(response.content, url)
            except ValueError as error:
                raise InvalidResponse(page_url, f"no folder of mediacrawl serve: {error}") from None
            yield from page.files
            seen.add(page_url)
            page_url = page.next_url
            if page_url in seen:
                raise InvalidResponse(url, "the pages of the folder have no end")

    def _site(self) -> _Site:
        """Return the server, once it was asked what it is."""
        with self._lock:
            if self._found is None:
                self._found = self._asked()
            return self._found

    def _asked(self) -> _Site:
        response = self._client.request("OPTIONS", self._url)
        if is_tus(response.headers):
            return _Site(self._url)
        site = self._of_folder()
        if site is not None and is_tus(self._client.request("OPTIONS", site.endpoint).headers):
            return site
        raise TransferError(
            self._url, "no server of tus 1.0.0, and no folder of mediacrawl serve: name the URL of one of these"
        )

    def _of_folder(self) -> _Site | None:
        """Return the site whose folder has the URL, or the URL that it leads to.

        A folder that is not there yet is one of the next folder above that is there.
        """
        wanted = resolve(self._url, f"{target_of(self._url).partition('?')[0].removesuffix('/')}/")
        url, response = self._followed(wanted)
        if url == wanted:
            while response.status == _NOT_FOUND and (above := resolve(url, "../")) != url:
                url, response = above, self._client.request("GET", above, _JSON)
            below = wanted.removeprefix(url)
        else:
            below = ""
        if response.status in {_UNAUTHORIZED, _FORBIDDEN}:
            raise refusal(url, response)
        if response.status != _OK or media_type(response.headers.get("Content-Type")) != "application/json":
            return None
        return _site_of_folder(url, response.content, below)

    def _followed(self, url: str) -> tuple[str, HttpResponse]:
        """Return the response to a request for a folder, and its URL after redirects."""
        for _ in range(_MOST_REDIRECTS):
            response = self._client.request("GET", url, _JSON)
            if not (300 <= response.status < 400 and response.location):
                return url, response
            found = upload_url(url, response.location)
            if found is None or not resolve(url, response.location).startswith(f"{url.partition(':')[0]}:"):
                raise refusal(url, response)  # a server that wants https, for example
            url = found.partition("?")[0]
        raise InvalidResponse(self._url, f"more than {_MOST_REDIRECTS} redirects")


def _site_of_folder(url: str, content: bytes, below: str) -> _Site | None:
    """Return the site of a folder: its uploads are at `uploads/`, beside the `files/` that all folders are below.

    `below` is the path, as a URL has it, from the folder to the one that files are sent to.
    """
    try:
        folder = read_folder_page(content, url).folder
    except ValueError:
        return None
    path = target_of(url)
    depth = folder.count("/")
    base = path.removesuffix("/").rsplit("/", depth)[0] if depth else path.removesuffix("/")
    if not unquote(base).endswith("/files"):
        return None
    endpoint = resolve(url, f"{base.removesuffix('files')}uploads/")
    return _Site(endpoint, resolve(url, below) if below else url, folder + unquote(below))


class _Rest:
    """The bytes of a file from an offset on, as the content of a request."""

    def __init__(self, errand: Errand, start: int) -> None:
        self._errand = errand
        self._start = start

    def __len__(self) -> int:
        return self._errand.opened.file.size_bytes - self._start

    def __iter__(self) -> Iterator[bytes]:
        return self._errand.blocks(self._start, _BLOCK_BYTES)
