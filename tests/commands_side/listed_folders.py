"""A made-up `mediacrawl serve` on an origin: files, and folders as JSON, apart from the code of the server."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import parse_qs, quote, urlsplit

from origin import Answer, plain

PREFIX = "/files/"


def answer_json(facts):
    """The answer with a value as JSON, or with bytes that only claim to be JSON."""
    body = facts if isinstance(facts, bytes) else json.dumps(facts).encode()
    return Answer(200, [("Content-Type", "application/json")], body)


def file_entry(name, body=b"", **changes):
    sha256 = hashlib.sha256(body).hexdigest()
    facts = {"name": name, "path": name, "href": quote(name, safe=""), "kind": "file", "size": len(body)}
    return facts | {"modified": "2026-01-02T03:04:05Z", "sha256": sha256} | changes


def folder_entry(name, **changes):
    return {"name": name, "path": f"{name}/", "href": f"{quote(name, safe='')}/", "kind": "folder"} | changes


class ListedFolders:
    """Files by their paths, below `/files/`, `page` entries in each page of a folder."""

    def __init__(self, origin, files, *, page=2, authorization=None):
        self.origin, self.files, self.page, self.authorization = origin, dict(files), page, authorization
        self.lists_sha256 = True
        for path, body in self.files.items():
            self.put(path, body)

    def put(self, path, body):
        """Add a file, or replace it."""
        self.files[path] = body
        self.origin.add(f"{PREFIX}{quote(path)}", body)
        above = ["", *(path[: at + 1] for at, character in enumerate(path) if character == "/")]
        for folder in above:
            self.origin.on(f"{PREFIX}{quote(folder)}", lambda request, folder=folder: self._listed(request, folder))

    def url(self, folder=""):
        return self.origin.url(f"{PREFIX}{folder}")

    def asked(self, folder=""):
        """The requests for a folder."""
        return self.origin.requests_for(f"{PREFIX}{folder}")

    def _listed(self, request, folder):
        if self.authorization and request.headers.get("authorization") != self.authorization:
            return plain(401, headers=[("WWW-Authenticate", 'Basic realm="mediacrawl"')])
        if "application/json" not in request.headers.get("accept", ""):
            return Answer(200, [("Content-Type", "text/html")], b"<!doctype html><title>Folder</title>")
        entries = self._entries(folder)
        start = int(parse_qs(urlsplit(request.target).query).get("from", ["0"])[0])
        stop = start + self.page
        following = f"?from={stop}" if stop < len(entries) else None
        return answer_json({"folder": folder, "entries": entries[start:stop], "next": following})

    def _entries(self, folder):
        found = {}
        for path, body in sorted(self.files.items()):
            if path.startswith(folder):
                name, slash, _ = path.removeprefix(folder).partition("/")
                more = {} if self.lists_sha256 else {"sha256": None}
                found[name] = folder_entry(name) if slash else file_entry(name, body, **more)
        return list(found.values())
