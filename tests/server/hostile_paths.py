"""Paths that are no files of a store, and a store in which each of them would lead somewhere."""

from __future__ import annotations

import os
import socket

SECRET = b"a secret"


def make_traps(root):
    """Make a store beside a secret, with all kinds of ways to it."""
    outside = root.parent
    (outside / "secret").write_bytes(SECRET)
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "c.jpg").write_bytes(b"picture")
    (root / "ünï 東.jpg").write_bytes(b"picture")
    (root / "a:b.jpg").write_bytes(b"picture")
    (root / "back\\slash.jpg").write_bytes(b"picture")
    (root / os.fsdecode(b"latin-\xff.jpg")).write_bytes(b"picture")
    for hidden in (root / ".mediacrawl", root / "a" / ".mediacrawl", root / ".git"):
        hidden.mkdir(exist_ok=True)
        (hidden / "secret.sqlite3").write_bytes(SECRET)
    (root / ".netrc").write_bytes(SECRET)
    (root / "link").symlink_to(outside / "secret")
    (root / "inner-link").symlink_to("a/b/c.jpg")
    (root / "up").symlink_to("..")
    (root / "a" / "away").symlink_to(outside)
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nowhere")
    (root / "to-hidden").symlink_to(".mediacrawl")
    os.mkfifo(root / "fifo")
    here = os.open(root, os.O_RDONLY)  # a path of a socket is short
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"/proc/self/fd/{here}/socket")
    os.close(here)
    return root


HOSTILE = [
    "",
    ".",
    "..",
    "/",
    "a",
    "a/b",
    "a/b/",
    "a/b/c.jpg/",
    "a/b/c.jpg/.",
    "a/b/c.jpg/x",
    "a//b/c.jpg",
    "/a/b/c.jpg",
    "./a/b/c.jpg",
    "a/./b/c.jpg",
    "a/../a/b/c.jpg",
    "../store/a/b/c.jpg",
    "../secret",
    "a/../../secret",
    "a/b/../../../secret",
    "..\\secret",
    "a\\b\\c.jpg",
    "C:/secret",
    "C:\\secret",
    "C:secret",
    "//server/share",
    "\\\\server\\share",
    "\\\\?\\C:\\secret",
    "%2e%2e/secret",
    "..%2fsecret",
    "%2e%2e%2fsecret",
    "..;/secret",
    "..\u2215secret",
    "\uff0e\uff0e/secret",
    "link",
    "inner-link",
    "up/secret",
    "a/away/secret",
    "loop",
    "loop/x",
    "dangling",
    "to-hidden/secret.sqlite3",
    ".mediacrawl",
    ".mediacrawl/secret.sqlite3",
    ".MEDIACRAWL/secret.sqlite3",
    ".\u200cmediacrawl/secret.sqlite3",
    "\u200c.mediacrawl/secret.sqlite3",
    "a/.mediacrawl/secret.sqlite3",
    ".git/secret.sqlite3",
    ".netrc",
    "a/b/c.jpg\0",
    "a/b/c.jpg\0.txt",
    "\0",
    "../secret\0.jpg",
    "\ud800",
    "x" * 300,
    "x/" * 3000 + "x",
    "fifo",
    "socket",
    "nothing",
]
