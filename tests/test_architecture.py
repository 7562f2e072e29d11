"""The layers of the package. Imports point down only."""

import ast
import functools
import importlib.util
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mediacrawl

ROOT = Path(mediacrawl.__file__).parent

# From the lowest layer to the highest. A room may know the rooms of the layers before its own, and none beside it.
LAYERS = [
    ["system", "headers", "urls", "version", "visible"],
    ["errors"],
    ["config"],
    ["store.safe_paths", "extract", "transport", "demo"],
    ["sources", "store", "frontier"],
    ["ledger", "download"],
    ["backends"],
    ["archive"],
    ["workers"],
    # Above this line Scrapy may be there; `fetch` and `cli.plain_get` run without it.
    ["fetch"],
    ["crawl", "cli.plain_get", "server", "push"],
    # What Scrapy names, in its settings or on its command line.
    ["pipelines", "scheduler", "middlewares", "exporters"],
    ["extensions"],
    ["addon"],
    ["", "templates"],  # the package itself, whose add-on Scrapy asks for
    ["settings"],
    ["spiders", "cli"],  # `cli` holds what the commands share
    ["commands"],
    ["__main__"],
]
KNOWN: dict[str, set[str]] = {}
for layer in LAYERS:
    KNOWN |= {room: set(KNOWN) for room in layer}
WITHOUT_SCRAPY = {room for layer in LAYERS[: LAYERS.index(["workers"]) + 1] for room in layer}

# Who may know what comes from elsewhere. What is not named here (the standard library) anybody may.
SCRAPY_SIDE = set(KNOWN) - WITHOUT_SCRAPY - {"server", "push", "fetch", "cli.plain_get"}
OUTSIDE = {
    "scrapy": SCRAPY_SIDE,
    "itemadapter": SCRAPY_SIDE,
    "twisted": SCRAPY_SIDE,
    "pydispatch": SCRAPY_SIDE,
    "django": {
        "server.django",
        "server.accounts",
        "server.pages.urls",
        "server.pages.folder_views",
        "server.pages.account_views",
        "server.pages.error_views",
        "server.pages.forms",
        "server.pages.served_store",
        "server.pages.upload_part",
        "server.pages.templatetags.mediacrawl_pages",
        "server.ftp.logins",
    },
    "pyftpdlib": {"server.ftp"},
    "OpenSSL": {"server.ftp"},
    "axes": {"server.accounts"},
    "requests": {
        "transport.requests_transport",
        "transport.connections",
        "transport.authorities",
        "transport.errors",
        "push.http_client",
        "transport.curl",  # URLs and headers go out as it would send them
    },
    "urllib3": {
        "transport.requests_transport",
        "transport.connections",
        "transport.errors",
        "transport.http1",
        "push.http_client",
    },
    "pycurl": {"transport.curl"},
    "lxml": {"extract"},
    "xtractmime": {"download.content_family"},
    "tldextract": {"download.cookies"},
    "parsel": {"extract"},
    "w3lib": {"urls.former_keys"} | SCRAPY_SIDE,
    "idna": {"urls.as_sent"},
    "aiohttp": {"server.http_server", "server.http_exchange", "server.http_response"},
    "tqdm": {"fetch.progress_display", "commands"},
}


parsed = functools.cache(ast.parse)  # the same sources are looked at by many tests


@functools.cache
def modules():
    """Name of each module, without `mediacrawl.`, and its source; not to be changed."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip("."): path.read_text()
        for path in ROOT.rglob("*.py")
    }


def imported(module, source, names):
    """All that a module imports, also within functions and for types only, with `mediacrawl.` for what is ours."""
    found = set()
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = (
                    module if f"{module}." in {f"{name[: len(module) + 1]}" for name in names} else parent(module)
                )
                for _ in range(node.level - 1):
                    package = parent(package)
                base = ".".join(part for part in ("mediacrawl", package, base) if part)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner.removeprefix("mediacrawl.") in names else base)
    return found


def parent(module):
    return module.rpartition(".")[0]


def within(module):
    """A module and the packages that it is in."""
    parts = module.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts) + 1)}


def room_of(module):
    """The room with the longest name that the module is in, None if there is none."""
    while module and module not in KNOWN:
        module = parent(module)
        if not module:
            return None
    return module


def faults(sources):
    """Each arrow that points up or aside, in words, of all modules."""
    return [fault for module in sorted(sources) for fault in faults_of(module, sources)]


def faults_of(module, sources):
    room = room_of(module)
    if room is None:
        return [f"{module} is in no room: say in tests/test_architecture.py where it belongs"]
    found = []
    for name in sorted(imported(module, sources[module], sources)):
        top, _, rest = name.partition(".")
        if top == "mediacrawl":
            other = room_of(rest)
            if other != room and other not in KNOWN[room]:
                found.append(f"{module} knows {name}")
        elif top in OUTSIDE and not {room, *within(module)} & OUTSIDE[top]:
            found.append(f"{module} knows {top}")
    return found


def test_no_arrow_points_up():
    assert faults(modules()) == []


def test_the_rooms_are_in_an_order():
    assert len(list(TopologicalSorter(KNOWN).static_order())) == len(KNOWN), "raises CycleError for a circle"


def test_the_documentation_has_these_layers():
    text = (ROOT.parent / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d+ \| ([^|]*) \|", text, re.MULTILINE)
    told = [re.findall(r"`([^`]+)`", row) for row in rows]
    built = [[room for room in layer if room not in {"", "templates"}] for layer in LAYERS]
    assert told == [layer for layer in built if layer]


def test_every_room_is_there():
    rooms = {room_of(module) for module in modules()}
    assert set(KNOWN) - {"templates"} <= rooms


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("headers.made_up", "import mediacrawl.store.local", "headers.made_up knows mediacrawl.store.local"),
        ("headers.made_up", "from mediacrawl import store", "headers.made_up knows mediacrawl.store"),
        ("errors", "from mediacrawl.store import safe_paths", "errors knows mediacrawl.store.safe_paths"),
        ("store.made_up", "from mediacrawl.archive import Archive", "store.made_up knows mediacrawl.archive"),
        ("store.made_up", "from ..archive import Archive", "store.made_up knows mediacrawl.archive"),
        ("store", "from .. import archive", "store knows mediacrawl.archive"),
        (
            "store.safe_paths",
            "from mediacrawl.store.local import LocalStore",
            "store.safe_paths knows mediacrawl.store.local",
        ),
        (
            "ledger.made_up",
            "from mediacrawl.archive import Archive",
            "ledger.made_up knows mediacrawl.archive",
        ),
        ("frontier.made_up", "def f():\n    import scrapy.http", "frontier.made_up knows scrapy"),
        ("download.made_up", "import requests", "download.made_up knows requests"),
        ("download.made_up", "from urllib3.util import Retry", "download.made_up knows urllib3"),
        ("pipelines", "import requests", "pipelines knows requests"),
        ("archive", "if TYPE_CHECKING:\n    from scrapy import Request", "archive knows scrapy"),
        (
            "archive",
            "from mediacrawl.fetch.resources import FetchResources",
            "archive knows mediacrawl.fetch.resources",
        ),
        ("archive", "from mediacrawl import Addon", "archive knows mediacrawl"),
        ("archive.made_up", "from twisted.internet import defer", "archive.made_up knows twisted"),
        (
            "fetch.made_up",
            "from mediacrawl.pipelines import MediaFilesPipeline",
            "fetch.made_up knows mediacrawl.pipelines",
        ),
        ("crawl.context", "import django", "crawl.context knows django"),
        ("server.made_up", "import django", "server.made_up knows django"),
        ("server.made_up", "import scrapy", "server.made_up knows scrapy"),
        ("server.made_up", "import axes", "server.made_up knows axes"),
        ("server.made_up", "import pyftpdlib", "server.made_up knows pyftpdlib"),
        ("made_up", "", "made_up is in no room: say in tests/test_architecture.py where it belongs"),
    ],
)
def test_an_arrow_that_points_up_is_found(module, source, fault):
    assert faults_of(module, modules() | {module: source}) == [fault]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ledger.made_up", "import json\nfrom mediacrawl.store.safe_paths import fold"),
        ("store.made_up", "from .paths import fold\nfrom . import local\nfrom ..errors import DiskFull"),
        ("archive", "from mediacrawl.store import paths"),
        ("commands.made_up", "import scrapy\nfrom mediacrawl.crawl.context import CrawlContext"),
        ("server.django", "import django\nfrom mediacrawl.headers import parse_range"),
        ("server.accounts.made_up", "from django.db import models\nimport axes"),
    ],
)
def test_an_arrow_that_points_down_is_none_of_our_business(module, source):
    assert faults_of(module, modules() | {module: source}) == []


def test_what_is_below_the_line_runs_without_what_is_above():
    """Not only as it is written: each module is imported where these packages are missing."""
    optional = set() if importlib.util.find_spec("pycurl") else {"transport.curl"}
    below = sorted(
        f"mediacrawl.{module}" for module in set(modules()) - optional if room_of(module) in WITHOUT_SCRAPY
    )
    missing = ["scrapy", "twisted", "django", "itemadapter"]
    code = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({missing!r}))\n"
        f"print(len([importlib.import_module(name) for name in {below!r}]))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert (ran.stdout, ran.stderr) == (f"{len(below)}\n", "")
    assert len(below) > 30


# Names that several modules may have: `main` starts a program, Scrapy looks for `Command`, the rest is custom.
COMMON_NAMES = {"Command", "T", "logger", "main"}
SCRAPY_SETTINGS = "settings"  # whose names Scrapy prescribes


def public_names(sources):
    """Each public name that a module defines at its top level, and in which modules."""
    found = {}
    for module, source in sorted(sources.items()):
        for node in parsed(source).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names = [node.name]
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]
            else:
                names = []
            for name in names:
                if not name.startswith("_"):
                    found.setdefault(name, []).append(module)
    return found


def ambiguous(sources):
    return {
        name: where
        for name, where in public_names(sources).items()
        if len(set(where) - {SCRAPY_SETTINGS}) > 1 and name not in COMMON_NAMES
    }


def test_no_public_name_stands_for_two_things():
    assert ambiguous(modules()) == {}


def test_a_name_that_stands_for_two_things_is_found():
    sources = {"a": "class Page: ...\nmain = 1", "b": "def Page(): ...\nmain = 2", "c": "_x: int = 1", "d": "_x = 2"}
    assert ambiguous(sources) == {"Page": ["a", "b"]}


# Attributes of objects that are not ours: of Scrapy, requests, tqdm, logging, Python.
FOREIGN = {
    ("system.read_only_sqlite", "db.text_factory"),
    ("crawl.context", "robots.robot_parser"),
    ("crawl.context", "downloader.handlers"),
    ("crawl.context", "downloader.fetch"),
    ("crawl.context", "downloader.needs_backout"),
    ("crawl.context", "engine.close_spider_async"),
    ("crawl.context", "engine.crawl"),
    ("crawl.context", "scheduler.enqueue_request"),
    ("crawl.context", "middleware.get_processed_request"),
    ("crawl.page_ends", "redirected.dont_filter"),
    ("crawl.page_cookies", "jar.jar"),
    ("crawl.page_cookies", "middleware.jars"),
    ("crawl.page_network", "handler._contextFactory"),
    ("crawl.page_heads", "pool._factory"),
    ("crawl.page_heads", "factory.buildProtocol"),
    ("crawl.page_heads", "protocol.dataReceived"),
    ("crawl.page_heads", "pool.put_connection"),
    ("crawl.page_heads", "connection._handle_events"),
    ("crawl.public_endpoints", "pool.getConnection"),
    ("crawl.public_endpoints", "pool.get_connection"),
    ("crawl.public_endpoints", "inner._reactor"),
    ("cli.main", "cmdline._get_commands_dict"),
    ("cli.main", "cmdline.ScrapyArgumentParser"),
    ("commands.crawl", "deprecate.inspect"),
    ("transport.connections", "self.poolmanager.pool_classes_by_scheme"),
    ("transport.connections", "manager.pool_classes_by_scheme"),
    ("transport.connections", "conn.cert_reqs"),
    ("transport.connections", "conn.ca_certs"),
    ("transport.connections", "conn.ca_cert_dir"),
    ("push.http_client", "error.transient"),
    ("push.http_client", "self._local.session"),
    ("push.http_client", "session.trust_env"),
    ("push.http_client", "session.verify"),
    ("push.http_client", "session.proxies"),
    ("push.ftp_target", "self._local.connection"),
    ("transport.ftp_connection", "context.check_hostname"),
    ("transport.ftp_connection", "context.verify_mode"),
    ("transport.http1", "self._tls.suppress_ragged_eofs"),
    ("transport.requests_transport", "self._local.session"),
    ("transport.requests_transport", "session.trust_env"),
    ("transport.requests_transport", "session.get_redirect_target"),
    ("errors", "error.args"),
    ("server.access_log", "record.msg"),
    ("server.access_log", "record.args"),
    ("server.accounts.people", "user.password"),
    ("server.accounts.sessions", "request.session"),
    ("errors", "failure.__cause__"),
    ("extensions", "record.exc_info"),
    ("extensions", "record.msg"),
    ("extensions", "record.args"),
    ("visible", "record.__class__"),
    ("exporters", "encoder.encode"),
    ("headers.media_type", "mimetypes.inited"),
    ("pipelines", "request.callback"),
    ("pipelines", "request.errback"),
    ("fetch.progress_display", "self._total.total"),
    ("fetch.progress_display", "self._total.n"),
    ("fetch.progress_display", "self._total.desc"),
    ("fetch.progress_display", "bar.total"),
    ("fetch.progress_display", "bar.n"),
    ("fetch.progress_display", "bar.desc"),
    ("fetch.progress_display", "bar.postfix"),
    ("store.fsync", "call.argtypes"),
    ("server.http_process", "context.minimum_version"),
}
MOST_CHANGING = 15


def assigned(tree):
    """The attributes that are assigned or deleted somewhere in a tree."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)]


def is_own(attribute):
    return isinstance(attribute.value, ast.Name) and attribute.value.id in {"self", "cls"}


def assigned_elsewhere(sources):
    return {
        (module, ast.unparse(attribute))
        for module, source in sources.items()
        for attribute in assigned(parsed(source))
        if not is_own(attribute)
    }


def changing(sources):
    """Of each class, the attributes that its methods assign once it has been made."""
    found = {}
    for module, source in sources.items():
        for node in ast.walk(parsed(source)):
            if isinstance(node, ast.ClassDef):
                methods = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
                found[f"{module}.{node.name}"] = {
                    attribute.attr
                    for method in methods
                    if method.name != "__init__"
                    for attribute in assigned(method)
                    if is_own(attribute)
                }
    return found


def test_an_object_is_changed_by_its_own_methods_alone():
    assert assigned_elsewhere(modules()) == FOREIGN


def test_no_class_has_more_that_changes_than_a_reader_can_follow():
    assert {name: found for name, found in changing(modules()).items() if len(found) > MOST_CHANGING} == {}


def test_what_is_changed_from_outside_and_what_changes_is_found():
    source = "class A:\n    def __init__(self): self.a = self.b = 1\n    def f(self, other): self.a, other.c = 2, 3\n"
    assert assigned_elsewhere({"made_up": source}) == {("made_up", "other.c")}
    assert changing({"made_up": source}) == {"made_up.A": {"a"}}
