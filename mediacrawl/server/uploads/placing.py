"""Where an uploaded file is to be: the safe path of a wish, if the person may write there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mediacrawl.server.accounts.rights import may_add, may_read
from mediacrawl.server.uploads.problems import NameRefused
from mediacrawl.store.safe_paths import safe_folders, safe_name

if TYPE_CHECKING:
    from mediacrawl.server.uploads.records import UploadWish
    from mediacrawl.store.base import Store

_SEPARATORS = re.compile(r"[/\\]")
_NO_RIGHT = "a manager of this server can give the right to upload"


def path_of_wish(wish: UploadWish, *, is_public: bool) -> str:
    """Return the path in the store that a file is to have: safe, whatever the client has sent.

    Raises:
        NameRefused: the person may not add a file there.
    """
    if not wish.person.can_upload:
        raise NameRefused(f"{wish.person.name} may not upload: {_NO_RIGHT}")
    *folders, name = _SEPARATORS.split(wish.name)
    top = wish.folder
    if not top and not folders and not may_read(wish.person, "", is_public=is_public):
        top = wish.person.own_folder
    path = safe_folders("/".join([top, *folders])) + safe_name(name)
    if not may_add(wish.person, path, is_public=is_public):
        advice = f"choose the folder {wish.person.own_folder}"
        raise NameRefused(f"{wish.person.name} may not add the file {path}: {advice}")
    return path


def refuse_conflict(store: Store, path: str) -> None:
    """Raise `NameRefused` if a folder of a path is a file or a link, so that no file can be there."""
    parents = path.split("/")[:-1]
    for count in range(1, len(parents) + 1):
        folder = "/".join(parents[:count])
        if not store.may_be_folder(folder):
            raise NameRefused(f"{path} cannot be the path of a file: {folder} is a file or a link, and not a folder")
