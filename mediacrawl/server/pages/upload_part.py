"""The upload part of the page of a folder: who has it, and the scripts of that page. Files are sent by tus."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from django.urls import get_script_prefix

from mediacrawl.server.accounts.configuration import CONTENT_POLICY
from mediacrawl.server.accounts.rights import may_add
from mediacrawl.server.pages.rows import as_unicode
from mediacrawl.server.pages.served_store import store_options
from mediacrawl.store.safe_paths import safe_folders

if TYPE_CHECKING:
    from mediacrawl.server.accounts.rights import Person


class UploadPart(NamedTuple):
    """What the page of a folder needs for uploads into it.

    Attributes:
        endpoint: the URL at which uploads begin, see `mediacrawl.server.uploads.protocol`.
        folder: the path of the folder in the store.
        nonce: of the scripts of this response.
    """

    endpoint: str
    folder: str
    nonce: str

    @property
    def content_policy(self) -> str:
        """The content security policy of this response: its own scripts run, and ask this server alone.

        With `'self'` in the place of the nonce, a file of the store could become a script of the page.
        """
        return f"{CONTENT_POLICY}; script-src 'nonce-{self.nonce}'; connect-src 'self'"


def upload_part(person: Person | None, folder: str) -> UploadPart | None:
    """Return what a page needs for uploads into a folder; None if the person may not add files to it."""
    if person is None or as_unicode(folder) != folder:  # clients send names as Unicode
        return None
    if folder and safe_folders(folder) != f"{folder}/":  # the files would get into another folder
        return None
    if not may_add(person, f"{folder}/name" if folder else "name", is_public=store_options().is_public):
        return None
    return UploadPart(f"{get_script_prefix()}uploads/", folder, secrets.token_urlsafe(16))
