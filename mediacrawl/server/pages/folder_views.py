"""The pages of the store: folders, players, search, and the files of the package."""

from __future__ import annotations

from functools import partial
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlencode

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import get_script_prefix, reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from mediacrawl.server.accounts import sessions
from mediacrawl.server.accounts.access import is_basic
from mediacrawl.server.accounts.rights import is_private, may_read
from mediacrawl.server.pages.error_views import error_page
from mediacrawl.server.pages.listing import (
    MOST_FOUND,
    ORDERS,
    SEARCH_S,
    Cursor,
    FolderEntry,
    Listing,
    Order,
    find_by_name,
    list_folder,
    neighbours,
)
from mediacrawl.server.pages.rows import Links, PathStep, entry_facts, played_kind, quoted
from mediacrawl.server.pages.served_store import store_options, store_site
from mediacrawl.server.pages.static_files import STATIC_FILES
from mediacrawl.server.pages.upload_part import upload_part
from mediacrawl.server.ranges import is_inline
from mediacrawl.server.routing import PATH_AS_SENT
from mediacrawl.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.server.accounts.rights import Person

_MOST_SEARCHES = 2  # at a time: each takes a thread, and the disk
_MOST_WORDS = 8
_MOST_QUERY = 200  # characters
_MOST_ACCEPT = 1_000  # characters: Django takes a quadratic time for its parameters
_A_YEAR_S = 365 * 24 * 3600
_TITLES = {"name": "Name", "size": "Size", "date": "Date"}
_KINDS_OF_JSON = ["text/html", "application/json"]
_searches = BoundedSemaphore(_MOST_SEARCHES)


def start_page(_request: Any) -> Any:
    """Lead to the files."""
    return HttpResponseRedirect(reverse("files"))


@require_safe
def folder_page(request: Any) -> Any:
    """Show a folder, as a page or as JSON."""
    path, person = _path(request, "/files/"), sessions.person_of(request)
    folder = path.removesuffix("/")
    if not _may_open(request, person, folder):
        return _refused(request, person, folder)
    if path == "/":  # `/files//`: an empty name, from which the links of the root lead nowhere
        raise Http404
    order, wants_json = _order(request), _wants_json(request)
    listing = _listing(person, folder, order, _cursor(request))
    if path != folder or not folder:
        respond = _folder_json if wants_json else _folder_html
        response = respond(request, person, folder, order, listing)
        patch_vary_headers(response, ["Accept", "Authorization"])
        return response
    return HttpResponseRedirect(_links().folder(folder))


@require_safe
def player_page(request: Any) -> Any:
    """Show a picture, or play a file."""
    path, person = _path(request, "/play/"), sessions.person_of(request)
    may_see = _may_see(person)
    if not may_see(path) or _is_wrong(request, person):
        return _refused(request, person, path)
    files = store_site().files
    file = files.open(path)
    if file is None:
        raise Http404
    file.close()
    links = _links()
    before, after = neighbours(files, path, lambda other: played_kind(other) is not None and may_see(other))
    facts = {
        "title": visible(file.name),
        "path": links.steps(path),
        "kind": played_kind(path),
        "source": links.file(path),
        "is_inline": is_inline(file.name),
        "entry": links.row(FolderEntry(path, is_folder=False, identity=file.identity)),
        "previous": _player_step(links, before),
        "next": _player_step(links, after),
    }
    return show(request, "pages/player.html", person, facts)


@require_safe
def search_page(request: Any) -> Any:
    """Show the files and folders with a name, in the store or below one folder."""
    person = sessions.person_of(request)
    query = request.GET.get("q", "")[:_MOST_QUERY].strip()
    folder = unquote(request.GET.get("in", ""), errors="surrogateescape").strip("/")
    if not _may_open(request, person, folder):
        return _refused(request, person, folder)
    links = _links()
    facts: dict[str, Any] = {"query": visible(query), "folder": quoted(folder)}
    facts |= {"shown_folder": visible(folder), "folder_href": links.folder(folder)}
    facts["everywhere"] = f"{reverse('search')}?{urlencode({'q': query})}"
    if words := query.split()[:_MOST_WORDS]:
        if not _searches.acquire(blocking=False):
            return error_page(503, "Other people are searching. Repeat the search in a few seconds.", retry_after_s=3)
        try:
            found = find_by_name(store_site().files, words, _may_see(person), below=folder)
        finally:
            _searches.release()
        facts["entries"] = [links.row(entry, with_folder=True) for entry in found.entries]
        verb = "shown of those" if found.has_more else "found"
        facts["count"] = f"{len(found.entries):,} {verb} in {_counted(found.folders, 'folder')}"
        facts["stopped"] = "" if found.is_complete else _why_stopped(has_more=found.has_more)
    return show(request, "pages/search.html", person, facts)


def static_file(request: Any, name: str) -> Any:
    """Send a file of the package, which browsers keep if the request has its version."""
    file = STATIC_FILES.get(name)
    if file is None:
        raise Http404
    response = HttpResponse(file.content, content_type=file.content_type)
    is_version = request.GET.get("v") == file.version
    response.headers["Cache-Control"] = f"public, max-age={_A_YEAR_S}, immutable" if is_version else "no-cache"
    return response


def show(request: Any, template: str, person: Person | None, facts: dict[str, Any], *, status: int = 200) -> Any:
    """Return a page for one person, which no cache keeps.

    Args:
        request: Django's.
        template: the name of the template.
        person: who asks; None without a login.
        facts: for the template; `query` and `folder` fill the field of the search.
        status: of the response.
    """
    own = _links().folder(person.own_folder) if person is not None else ""
    response = render(request, template, {"person": person, "own_folder": own} | facts, status=status)
    response.headers["Cache-Control"] = "private, no-store"
    return response


def _path(request: Any, begin: str) -> str:
    """Return the path of the store in a request, as the system writes names."""
    path: str = request.META[PATH_AS_SENT]
    return path.removeprefix(begin)


def _links() -> Links:
    return Links(get_script_prefix())


def _may_see(person: Person | None) -> Callable[[str], bool]:
    return partial(may_read, person, is_public=store_options().is_public)


def _may_open(request: Any, person: Person | None, folder: str) -> bool:
    """Return whether a person may look into a folder; each may look into the root, and sees what may be read."""
    if _is_wrong(request, person):
        return False
    return (not folder and person is not None) or _may_see(person)(folder)


def _is_wrong(request: Any, person: Person | None) -> bool:
    """Return whether a request has a password, and a wrong one: it is not answered as if it had none."""
    return person is None and is_basic(request.META.get("HTTP_AUTHORIZATION"))


def _refused(request: Any, person: Person | None, path: str) -> Any:
    """Return the response for a path that a person may not see; a private one is as if it was not there."""
    is_common = not is_private(path.partition("/")[0])
    if _is_wrong(request, person) or (person is None and not (store_options().is_public and is_common)):
        return sessions.login_needed(request)
    if person is not None and is_common and not person.can_read:
        raise PermissionDenied
    raise Http404


def _order(request: Any) -> Order:
    """Return the order that a request wants: `sort=size`, descending `sort=-size`."""
    wanted: str = request.GET.get("sort", "name")
    by = wanted.removeprefix("-")
    if by not in ORDERS:
        raise BadRequest("sort")
    return Order(by, wanted != by)


def _cursor(request: Any) -> Cursor | None:
    try:
        return Cursor.from_text(request.GET["after"]) if "after" in request.GET else None
    except ValueError:
        raise BadRequest("after") from None


def _wants_json(request: Any) -> bool:
    """Return whether a request wants JSON: by its query, or as it accepts nothing that is preferred."""
    if "format" in request.GET:
        return bool(request.GET["format"] == "json")
    if len(request.headers.get("Accept", "")) > _MOST_ACCEPT:
        return False
    try:
        return bool(request.get_preferred_type(_KINDS_OF_JSON) == "application/json")
    except ValueError:  # a malformed parameter
        return False


def _listing(person: Person | None, folder: str, order: Order, after: Cursor | None) -> Listing:
    found = list_folder(store_site().files, folder, _may_see(person), order=order, after=after)
    if found is None and person is not None and folder == person.own_folder:
        return Listing([], 0, None)  # it is made with its first file
    if found is None:
        raise Http404
    return found


def _query(order: Order, after: Cursor | None = None, **more: str) -> str:
    """Return the query of a page of a folder; the usual order needs none."""
    wanted = dict(more)
    if order != Order():
        wanted["sort"] = f"{'-' if order.is_descending else ''}{order.by}"
    if after is not None:
        wanted["after"] = after.to_text()
    return f"?{urlencode(wanted)}" if wanted else ""


def _folder_json(_request: Any, _person: Person | None, folder: str, order: Order, listing: Listing) -> Any:
    entries = [entry_facts(entry, store_site().digests.of) for entry in listing.entries]
    following = listing.following and _query(order, listing.following, format="json")
    response = JsonResponse({"folder": f"{folder}/" if folder else "", "entries": entries, "next": following})
    response.headers["Cache-Control"] = "private, no-store"
    return response


class _Column(NamedTuple):
    by: str
    title: str
    href: str
    sorted: str
    mark: str


def _column(folder_href: str, order: Order, by: str) -> _Column:
    """Return the head of a column; its link sorts by it, or turns the order round."""
    if order.by != by:  # large and recent first
        return _Column(by, _TITLES[by], folder_href + _query(Order(by, by != "name")), "", "")
    turned = folder_href + _query(Order(by, not order.is_descending))
    if order.is_descending:
        return _Column(by, _TITLES[by], turned, "descending", "↓")
    return _Column(by, _TITLES[by], turned, "ascending", "↑")


def _folder_html(request: Any, person: Person | None, folder: str, order: Order, listing: Listing) -> Any:
    links = _links()
    here = links.folder(folder)
    path = links.steps(folder)
    part = upload_part(person, folder)
    facts = {
        "title": path[-1].name,
        "upload": part,
        "folder": quoted(folder),
        "path": path,
        "entries": [links.row(entry) for entry in listing.entries],
        "columns": [_column(here, order, by) for by in ORDERS],
        "count": _counted(listing.total, "entry", "entries"),
        "first": here + _query(order) if "after" in request.GET else "",
        "next": here + _query(order, listing.following) if listing.following else "",
        "section": "own" if person is not None and folder == person.own_folder else "",
        "is_without_common": not folder and not may_read(person, "", is_public=store_options().is_public),
    }
    response = show(request, "pages/folder.html", person, facts)
    if part is not None:
        response.headers["Content-Security-Policy"] = part.content_policy
    return response


def _player_step(links: Links, path: str | None) -> PathStep | None:
    return None if path is None else PathStep(visible(path.rpartition("/")[2]), links.player(path))


def _counted(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def _why_stopped(*, has_more: bool) -> str:
    if has_more:
        return f"These are the first {MOST_FOUND} by name, and there are more. Add a word to find fewer."
    return f"The search has ended after {SEARCH_S:.0f} seconds, before the whole store was searched."
