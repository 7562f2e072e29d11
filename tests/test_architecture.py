"""The rooms of the package, and the arrows between them: down only, as DESIGN draws them."""

import ast
import importlib.util
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mediacrawl

ROOT = Path(mediacrawl.__file__).parent

# Below the line: what each room may know. It runs with no Scrapy, no Django and no network.
LOWER = {
    "errors": set(),
    "system": set(),
    "version": set(),
    "urls": set(),
    "headers": set(),
    "config": {"errors", "version"},
    "patience": set(),
    "threads": set(),
    "batcher": {"patience"},
    "gate": set(),
    "store.paths": set(),
    "store": {"errors", "store.paths"},
    "ledger": {"errors", "store.paths", "system"},
    "frontier": {"errors", "system"},
    "extract": {"errors", "headers", "urls"},
    "download": {"errors", "headers", "patience", "urls", "store"},
    "report": {"errors"},
    "lists": {"errors", "headers", "urls"},
    "naming": {"errors", "headers", "store.paths", "urls"},
    "refetch": {"ledger"},
    "pace": {"download", "errors"},
    "progress": {"report", "download"},
    "page_connections": {"download"},
    "opening": {"errors", "store", "ledger", "frontier"},
    "archive": {"errors", "headers", "ledger", "store", "store.paths", "download", "opening"},
    "workers": {"errors", "urls", "download", "store", "ledger", "archive", "opening", "patience"},
    "demo": {"headers"},
}
# Above it: each room may know all that is below the line, and the rooms before it.
UPPER = [
    "wiring",
    "fetch",
    "direct",
    "bridge",
    "dispatch",
    "wishes",
    "tally",
    "pipelines",
    "lines",
    "scheduler",
    "middlewares",
    "extensions",
    "addon",
    "server",
    "",  # the package itself, whose add-on Scrapy asks for
    "settings",
    "spiders",
    "cli",  # holds what the commands share
    "commands",
    "__main__",
    "templates",
]
KNOWN = {room: set(LOWER) | set(UPPER[:number]) for number, room in enumerate(UPPER)} | LOWER

# Who may know what comes from elsewhere. What is not named here (the standard library) anybody may.
SCRAPY_SIDE = set(UPPER) - {"server", "wiring", "fetch", "direct"}
OUTSIDE = {
    "scrapy": SCRAPY_SIDE,
    "itemadapter": SCRAPY_SIDE,
    "twisted": SCRAPY_SIDE,
    "pydispatch": SCRAPY_SIDE,
    "django": {"server"},
    "requests": {
        "download.transport",
        "download.curl",  # URLs and headers go out as it would send them
        "download.sockets",
    },
    "urllib3": {"download.transport", "download.sockets"},
    "pycurl": {"download.curl"},
    "lxml": {"extract"},
    "parsel": {"extract"},
    "w3lib": {"extract", "naming"} | SCRAPY_SIDE,
    "tqdm": {"report", "progress", "direct", "commands"},
}


def modules():
    """Name of each module, without `mediacrawl.`, and its source."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip("."): path.read_text()
        for path in ROOT.rglob("*.py")
    }


def imported(module, source, names):
    """All that a module imports, also within functions and for types only, with `mediacrawl.` for what is ours."""
    found = set()
    for node in ast.walk(ast.parse(source)):
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
        elif top in OUTSIDE and not {room, module} & OUTSIDE[top]:
            found.append(f"{module} knows {top}")
    return found


def test_no_arrow_points_up():
    assert faults(modules()) == []


def test_the_rooms_are_in_an_order():
    assert len(list(TopologicalSorter(KNOWN).static_order())) == len(KNOWN), "raises CycleError for a circle"


def test_every_room_is_there():
    rooms = {room_of(module) for module in modules()}
    assert set(LOWER) <= rooms


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("headers.made_up", "import mediacrawl.store.local", "headers.made_up knows mediacrawl.store.local"),
        ("headers.made_up", "from mediacrawl import store", "headers.made_up knows mediacrawl.store"),
        ("errors", "from mediacrawl.urls import Origin", "errors knows mediacrawl.urls"),
        ("store.made_up", "from mediacrawl.archive import Archive", "store.made_up knows mediacrawl.archive"),
        ("store.made_up", "from ..archive import Archive", "store.made_up knows mediacrawl.archive"),
        ("store", "from .. import archive", "store knows mediacrawl.archive"),
        ("store.paths", "from mediacrawl.store.local import LocalStore", "store.paths knows mediacrawl.store.local"),
        (
            "ledger.made_up",
            "from mediacrawl.store.partfile import PartFile",
            "ledger.made_up knows mediacrawl.store.partfile",
        ),
        ("frontier.made_up", "def f():\n    import scrapy.http", "frontier.made_up knows scrapy"),
        ("download.made_up", "import requests", "download.made_up knows requests"),
        ("download.made_up", "from urllib3.util import Retry", "download.made_up knows urllib3"),
        ("pipelines", "import requests", "pipelines knows requests"),
        ("archive", "if TYPE_CHECKING:\n    from scrapy import Request", "archive knows scrapy"),
        ("archive", "from mediacrawl.wiring import Works", "archive knows mediacrawl.wiring"),
        ("archive", "from mediacrawl import Addon", "archive knows mediacrawl"),
        ("batcher", "from twisted.internet import defer", "batcher knows twisted"),
        ("wiring", "from mediacrawl.pipelines import MediaFilesPipeline", "wiring knows mediacrawl.pipelines"),
        ("bridge", "import django", "bridge knows django"),
        ("made_up", "", "made_up is in no room: say in tests/test_architecture.py where it belongs"),
    ],
)
def test_an_arrow_that_points_up_is_found(module, source, fault):
    assert faults_of(module, modules() | {module: source}) == [fault]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ledger.made_up", "import json\nfrom mediacrawl.store.paths import fold"),
        ("store.made_up", "from .paths import fold\nfrom . import local\nfrom ..errors import DiskFull"),
        ("archive", "from mediacrawl.store import paths"),
        ("commands.made_up", "import scrapy\nfrom mediacrawl.bridge import Bridge"),
        ("server.made_up", "import django\nfrom mediacrawl.headers import parse_range"),
    ],
)
def test_an_arrow_that_points_down_is_none_of_our_business(module, source):
    assert faults_of(module, modules() | {module: source}) == []


def test_what_is_below_the_line_runs_without_what_is_above():
    """Not only as it is written: each module is imported where these packages are missing."""
    optional = set() if importlib.util.find_spec("pycurl") else {"download.curl"}
    below = sorted(f"mediacrawl.{module}" for module in set(modules()) - optional if room_of(module) in LOWER)
    missing = ["scrapy", "twisted", "django", "itemadapter"]
    code = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({missing!r}))\n"
        f"print(len([importlib.import_module(name) for name in {below!r}]))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert (ran.stdout, ran.stderr) == (f"{len(below)}\n", "")
    assert len(below) > 30


# Attributes of objects that are not ours: of Scrapy, requests, tqdm, logging, Python.
FOREIGN = {
    ("bridge", "robots.robot_parser"),
    ("bridge", "downloader.handlers"),
    ("bridge", "downloader.fetch"),
    ("bridge", "downloader.needs_backout"),
    ("bridge", "engine.close_spider_async"),
    ("cli", "cmdline._get_commands_dict"),
    ("commands.crawl", "deprecate.inspect"),
    ("download.sockets", "self.poolmanager.pool_classes_by_scheme"),
    ("download.transport", "self._local.session"),
    ("download.transport", "session.trust_env"),
    ("download.transport", "session.get_redirect_target"),
    ("errors", "error.args"),
    ("errors", "failure.__cause__"),
    ("extensions", "record.exc_info"),
    ("extensions", "record.msg"),
    ("extensions", "record.args"),
    ("headers.media_type", "mimetypes.inited"),
    ("pipelines", "request.callback"),
    ("pipelines", "request.errback"),
    ("progress", "self._total.total"),
    ("progress", "self._total.n"),
    ("progress", "self._total.desc"),
    ("progress", "bar.total"),
    ("progress", "bar.n"),
    ("progress", "bar.desc"),
    ("progress", "bar.postfix"),
    ("store.sync", "call.argtypes"),
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
        for attribute in assigned(ast.parse(source))
        if not is_own(attribute)
    }


def changing(sources):
    """Of each class, the attributes that its methods assign once it has been made."""
    found = {}
    for module, source in sources.items():
        for node in ast.walk(ast.parse(source)):
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
