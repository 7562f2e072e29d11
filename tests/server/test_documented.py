"""The modules and command lines of docs/applications.md, run as they are written there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from serving import Server

import mediacrawl

DOCS = Path(mediacrawl.__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((DOCS / "applications.md").read_text(encoding="utf-8"))
MODULES = {body.partition("\n")[0].removeprefix("# ").strip(): body for kind, body in BLOCKS if kind == "python"}
COMMANDS = {line.split()[0]: line for kind, body in BLOCKS if kind == "" for line in body.splitlines()}
ADDRESSES = ("--bind 127.0.0.1:8000", "--host 127.0.0.1 --port 8000")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store, and the modules beside it."""
    for folder in ("public", "other"):
        (tmp_path / "store" / folder).mkdir(parents=True)
        (tmp_path / "store" / folder / "a.jpg").write_bytes(b"picture")
    for name, body in MODULES.items():
        assert "/srv/archive" in body
        (tmp_path / name).write_text(body.replace("/srv/archive", str(tmp_path / "store")))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "store"


def started(command, module, store):
    """The server that a command line starts, at a socket in the place of its address."""
    line = COMMANDS[command]
    (address,) = [address for address in ADDRESSES if address in line]
    line = line.replace(address, "--bind unix:{socket}" if command == "gunicorn" else "--uds {socket}")
    documented = line.split()[-1].partition(":")[0]
    return Server(command, store, commands={command: line.replace(documented, module or documented).split()})


@pytest.mark.parametrize("command", ["gunicorn", "granian"])
def test_the_documented_server_serves_a_store(command, store):
    with started(command, None, store) as server:
        status, fields, content = server.ask("/public/a.jpg", {"Range": "bytes=0-2"})
        assert (status, content, fields["cache-control"]) == (206, b"pic", "private, no-cache")
        assert server.ask("/")[0] == server.ask("/public")[0] == 404


def test_the_documented_check_under_gunicorn_wants_a_token(store):
    with started("gunicorn", "guarded_wsgi", store) as server:
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "é"}):
            status, fields, content = server.ask("/public/a.jpg", headers)
            assert (status, fields["www-authenticate"], content) == (401, "Bearer", b"Log in first.\n")
        assert server.ask("/public/a.jpg", {"Authorization": "Bearer change-me"})[2] == b"picture"


def test_the_documented_check_under_granian_allows_a_folder(store):
    with started("granian", "guarded_rsgi", store) as server:
        assert server.ask("/public/a.jpg")[2] == b"picture"
        assert server.ask("/other/a.jpg")[0] == 403


@pytest.mark.parametrize("document", ["applications.md", "django.md", "serve.md"])
def test_each_name_of_an_example_is_imported_or_defined_in_it(document):
    for kind, body in BLOCK.findall((DOCS / document).read_text(encoding="utf-8")):
        if kind == "python":
            nodes = list(ast.walk(ast.parse(body)))
            known = {
                name.asname or name.name for node in nodes if isinstance(node, ast.ImportFrom) for name in node.names
            }
            known |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
            known |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            known |= {node.arg for node in nodes if isinstance(node, ast.arg)}
            names = [node for node in nodes if isinstance(node, ast.Name)]
            known |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
            assert {node.id for node in names} <= known, body
