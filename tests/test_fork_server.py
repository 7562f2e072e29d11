"""A forked process ends as any other: what it has left open is told, wherever that is."""

from __future__ import annotations

import subprocess

import fork_server
import pytest
from crawling import environment


@pytest.mark.parametrize(
    "code",
    [
        "left = socket.socket()",
        "left = [socket.socket()]; left.append(left); del left",
        "settings.left = socket.socket()",
        "settings.left = [socket.socket()]; settings.left.append(settings.left)",
        "settings.FILES_STORE = socket.socket()",
    ],
    ids=["in the program", "in a cycle", "in a module", "in a cycle in a module", "in place of what was there"],
)
def test_what_is_left_open_is_told_at_the_end(code, tmp_path):
    words = ["-c", f"import socket; from mediacrawl import settings; {code}"]
    with fork_server.start(words, tmp_path, environment(), subprocess.DEVNULL) as process:
        out, err = process.communicate()
    assert (process.returncode, out) == (0, b"")
    assert b"ResourceWarning: unclosed <socket.socket" in err
