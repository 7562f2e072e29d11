"""Who takes part, and with which command line."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import Key
from benchmarks.versions import Version, installed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.data import Wanted

ROOT = Path(__file__).resolve().parent.parent
SCRAPY_PEER = Path(__file__).resolve().parent / "scrapy_peer"

# Names that the bars ask for.
CURL_NULL = "curl -o /dev/null"
ARIA_ONE = "aria2c -x1"
WGET2 = "wget2"
WGET2_16 = "wget2 --max-threads=16"
ARIA_16 = "aria2c -j16"
ARIA_SEGMENTS = "aria2c -x{n} -s{n} -k1M"
ARIA_FORTY = "aria2c -j16 -x4"
ARIA_64 = "aria2c -j16 -x4 -s4 -k1M"
CURL_16 = "curl -Z --parallel-max 16"
AXEL = "axel -n{n}"
SCRAPY = "Scrapy FilesPipeline"
SCRAPY_STOCK = "Scrapy FilesPipeline, nothing switched off"
SCRAPY_SAME = "Scrapy FilesPipeline, our spider"
SCRAPY_16 = "Scrapy FilesPipeline, 16 connections"
GALLERY_DL = "gallery-dl"
IMG2DATASET = "img2dataset"
OURS = "mediacrawl"
OURS_CURL = "mediacrawl, curl transport"
OURS_BARE = "mediacrawl, no sha256, no fsync"
OURS_32 = "mediacrawl, 32 connections"
OURS_FOUR_EACH = "mediacrawl, 16 connections, up to 4 for a file at once"
OURS_64 = "mediacrawl, 64 connections, up to 4 for a file at once"
OURS_GET = "mediacrawl get -i"
OURS_GET_FOUR_EACH = "mediacrawl get -i, 16 connections, up to 4 for a file at once"
OURS_GET_NEW = "mediacrawl get, into a new store"
OURS_GET_THERE = "mediacrawl get, the file is there"
OURS_GET_64 = "mediacrawl get -i, 64 connections, up to 4 for a file at once"


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one contender.

    Attributes:
        wanted: what is to be brought.
        folder: where to; it exists.
        scratch: for lists, output and configuration; it exists.
        version: of ours.
    """

    wanted: Wanted
    folder: Path
    scratch: Path
    version: Version = field(default_factory=installed)

    @property
    def url(self) -> str:
        """The first, or only, one."""
        return self.wanted.urls[0]

    def list_file(self) -> Path:
        """One URL a line."""
        path = self.scratch / "urls.txt"
        path.write_text("".join(f"{url}\n" for url in self.wanted.urls), encoding="utf-8")
        return path

    def curl_config(self) -> Path:
        """URLs and where each goes, for `curl -K`."""
        path = self.scratch / "curl.txt"
        pairs = zip(self.wanted.urls, self.wanted.files, strict=True)
        lines = (f'url = "{url}"\noutput = "{self.folder / name}"\n' for url, name in pairs)
        path.write_text("".join(lines), encoding="utf-8")
        return path


@dataclass(frozen=True, slots=True)
class Contender:
    """One line of a table.

    Attributes:
        name: as the table shows it.
        argv: the command line of a job; writes the lists that it names, which is not timed.
        ours: whether it is this project.
        missing: why it cannot take part here, if so.
        by_name: it keeps the names of files.
        beside: endings of what it writes beside the files.
        cwd: where it runs; without it in the job's scratch folder.
        env: what its environment has beyond that of all.
        check: what is wrong with the run, by job and output, in place of looking at the files.
        wanted: what it brings in that round, if not what the workload says.
        kept: name of a folder that all its rounds share: the first fills it and does not count.
        prepare: called once with that folder.
        settings: that a version of ours must have to take part.
        version: of ours, that it runs.
    """

    name: str
    argv: Callable[[Job], list[str]]
    ours: bool = False
    missing: str | None = None
    by_name: bool = True
    beside: tuple[str, ...] = ()
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Job, Path], str | None] | None = None
    wanted: Callable[[int], Wanted] | None = None
    kept: str | None = None
    prepare: Callable[[Path], None] | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    version: Version = field(default_factory=installed)

    @property
    def label(self) -> str:
        """Give the name, and the version where there are several."""
        return f"{self.name}, {self.version.name}" if self.version.name else self.name

    def key(self, workload: str, place: str) -> Key:
        """Say under which key its results are."""
        return Key(workload, place, self.name, self.version.name)

    def of(self, version: Version) -> Contender:
        """Let another version of ours do the same."""
        return replace(self, version=version, missing=version.lacks(self.settings))


@dataclass(frozen=True, slots=True)
class Tools:
    """Finds programs in `folder`, if there is one, and on PATH.

    Attributes:
        trusted: certificates that each program is told to trust.
    """

    folder: Path | None = None
    trusted: Path | None = None

    def find(self, program: str) -> str | None:
        """The path of a program."""
        for folder in (self.folder / "bin", self.folder) if self.folder else ():
            if found := shutil.which(program, path=str(folder)):
                return found
        return shutil.which(program)

    def contender(self, program: str, name: str, arguments: Callable[[Job], list[str]], **facts: object) -> Contender:
        """A contender that runs this program."""
        path = self.find(program)
        missing = None if path else f"{program} is not installed"
        trust = [_TRUST[program], str(self.trusted)] if self.trusted else []
        return Contender(name, lambda job: [path or program, *trust, *arguments(job)], missing=missing, **facts)  # type: ignore[arg-type]


# One file


def curl_null(tools: Tools) -> Contender:
    """The machine's limit: nothing is written."""

    def arguments(job: Job) -> list[str]:
        return ["-sf", "-o", "/dev/null", "-w", "%{size_download}", job.url]

    def check(job: Job, output: Path) -> str | None:
        came = output.read_text(encoding="utf-8", errors="replace")
        return None if came == str(job.wanted.size_bytes) else f"{came} bytes came"

    return tools.contender("curl", CURL_NULL, arguments, check=check)


def curl_file(tools: Tools) -> Contender:
    return tools.contender("curl", "curl -o FILE", lambda job: ["-sf", "-o", str(_file(job)), job.url])


def wget2_one(tools: Tools) -> Contender:
    return tools.contender("wget2", WGET2, lambda job: [*_WGET2, "-P", str(job.folder), job.url])


def aria2c_segments(tools: Tools, segments: int, name: str = ARIA_SEGMENTS) -> Contender:
    def arguments(job: Job) -> list[str]:
        return [*_ARIA2C, f"-x{segments}", f"-s{segments}", "-k1M", "-d", str(job.folder), job.url]

    return tools.contender("aria2c", name.format(n=segments), arguments)


def axel(tools: Tools, segments: int) -> Contender:
    def arguments(job: Job) -> list[str]:
        return ["-q", "-n", str(segments), "-o", str(_file(job)), job.url]

    return tools.contender("axel", AXEL.format(n=segments), arguments)


def ours_get(segments: int | None, name: str = OURS, kept: str | None = None, **settings: object) -> Contender:
    """Without `segments` as it comes."""
    option = [] if segments is None else ["-n", str(segments)]
    return _ours(name, "get", lambda job: [*option, job.url], settings, kept=kept)


# Lists


def scrapy_list(connections: int = 32, name: str = SCRAPY, kept: str | None = None) -> Contender:
    """FilesPipeline, tuned: see scrapy_peer/peer/settings.py."""

    def argv(job: Job) -> list[str]:
        return [*_scrapy_peer("list", job, connections), "-a", f"file={job.list_file()}"]

    return Contender(name, argv, by_name=False, cwd=SCRAPY_PEER, kept=kept)


def scrapy_site(start_url: str, connections: int = 32) -> Contender:
    def argv(job: Job) -> list[str]:
        return [*_scrapy_peer("gallery", job, connections, items=4), "-a", f"url={start_url}"]

    return Contender(SCRAPY, argv, by_name=False, cwd=SCRAPY_PEER)


def scrapy_same_site(start_url: str, connections: int = 32) -> Contender:
    """The spider that ours are measured with, which finds images and next pages by itself, in the tuned project."""

    def argv(job: Job) -> list[str]:
        crawl = _scrapy_peer("site", job, connections, items=4)
        return [*crawl, "-a", f"url={start_url}", "-s", "SPIDER_MODULES=mediacrawl.spiders"]

    return Contender(SCRAPY_SAME, argv, by_name=False, cwd=SCRAPY_PEER)


def stock(contender: Contender) -> Contender:
    """The same spider in a project as it begins, only with as many connections."""
    return replace(contender, name=SCRAPY_STOCK, env={"SCRAPY_SETTINGS_MODULE": "peer.stock"})


def gallery_dl(tools: Tools, kept: str | None = None) -> Contender:
    def arguments(job: Job) -> list[str]:
        options = ["--config-ignore", "-q", "--no-mtime", "-D", str(job.folder), "-f", "{filename}.{extension}"]
        return [*options, "--input-file", str(job.list_file())]

    return tools.contender("gallery-dl", GALLERY_DL, arguments, kept=kept)


def img2dataset(tools: Tools) -> Contender:
    """Two processes of 16 threads; pictures are kept as they come, neither read nor resized."""

    def arguments(job: Job) -> list[str]:
        options = {
            "url_list": job.list_file(),
            "output_folder": job.folder / "shards",
            "input_format": "txt",
            "output_format": "files",
            "disable_all_reencoding": True,
            "encode_format": "png",
            "encode_quality": 6,
            "compute_hash": None,
            "processes_count": 2,
            "thread_count": 16,
            "number_sample_per_shard": max(1, min(1000, len(job.wanted.urls) // 4)),
            "enable_wandb": False,
        }
        return [f"--{name}={value}" for name, value in options.items()]

    beside = (".json", ".txt", ".parquet")
    quiet = {"NO_ALBUMENTATIONS_UPDATE": "1"}  # it asks the package index otherwise
    return tools.contender("img2dataset", IMG2DATASET, arguments, by_name=False, beside=beside, env=quiet)


def aria2c_list(tools: Tools, *more: str, name: str = ARIA_16, kept: str | None = None) -> Contender:
    def arguments(job: Job) -> list[str]:
        again = ["-c"] if kept else []
        return [*_ARIA2C, "-j16", *more, *again, "-d", str(job.folder), "-i", str(job.list_file())]

    return tools.contender("aria2c", name, arguments, kept=kept)


def wget2_list(tools: Tools, name: str = WGET2_16, kept: str | None = None) -> Contender:
    def arguments(job: Job) -> list[str]:
        again = ["-nc"] if kept else []
        return [*_WGET2, "--max-threads=16", *again, "-P", str(job.folder), "-i", str(job.list_file())]

    return tools.contender("wget2", name, arguments, kept=kept)


def curl_list(tools: Tools) -> Contender:
    def arguments(job: Job) -> list[str]:
        return ["-sf", "-Z", "--parallel-max", "16", "-K", str(job.curl_config())]

    return tools.contender("curl", CURL_16, arguments)


def wget_list(tools: Tools, name: str = "wget", kept: str | None = None) -> Contender:
    def arguments(job: Job) -> list[str]:
        again = ["-nc"] if kept else []
        return ["-q", *again, "-P", str(job.folder), "-i", str(job.list_file())]

    return tools.contender("wget", name, arguments, kept=kept)


def ours_list(
    name: str = OURS,
    connections: int | None = None,
    *,
    kept: str | None = None,
    wanted: Callable[[int], Wanted] | None = None,
    prepare: Callable[[Path], None] | None = None,
    **settings: object,
) -> Contender:
    """Without `connections` as it comes: Scrapy's 8 to a host."""

    def arguments(job: Job) -> list[str]:
        return ["urllist", "-a", f"file={job.list_file()}"]

    given = {**_to_a_host(connections), **settings}
    return _ours(name, "crawl", arguments, given, kept=kept, wanted=wanted, prepare=prepare)


def ours_get_list(name: str = OURS_GET, connections: int | None = None, **settings: object) -> Contender:
    """Without a crawl, as the peers do it: no robots.txt, no start of Scrapy."""
    given = {**_to_a_host(connections), **settings}
    return _ours(name, "get", lambda job: ["-i", str(job.list_file())], given)


def ours_curl_list(**settings: object) -> Contender:
    """The second transport."""
    return ours_list(OURS_CURL, MEDIACRAWL_TRANSPORT="curl", **settings)


def ours_site(start_url: str, name: str = OURS, connections: int = 32, **arguments: str) -> Contender:
    """`arguments` are those of the spider."""
    given = {
        "CONCURRENT_REQUESTS": connections,
        **_to_a_host(connections),
        "MEDIACRAWL_CONCURRENT_TRANSFERS": connections,
    }
    spider = [f"-a{key}={value}" for key, value in {"url": start_url, **arguments}.items()]
    return _ours(name, "crawl", lambda _: ["site", *spider], given)


def ours_in_peer(start_url: str) -> Contender:
    """The peer's own project and spider; only the pipeline is another."""
    swapped: dict[str, object] = {
        "ITEM_PIPELINES": json.dumps({"mediacrawl.pipelines.MediaFilesPipeline": 1}),
        "MEDIACRAWL_CONCURRENT_TRANSFERS": 32,
    }
    peer = scrapy_site(start_url)
    return replace(
        peer,
        name="mediacrawl, the peer's spider and settings",
        argv=lambda job: [*peer.argv(job), *job.version.options(swapped)],
        ours=True,
        by_name=True,
        missing=installed().lacks(swapped),
        settings=swapped,
    )


# Starts


def scrapy_start(name: str, *arguments: str, in_project: bool, ours: bool = False) -> Contender:
    """A command that brings nothing; in the project it sees a store without files."""

    def argv(job: Job) -> list[str]:
        store = ["-s", f"FILES_STORE={job.folder}"] if in_project and "--help" not in arguments else []
        return [sys.executable, "-m", "scrapy", *arguments, *store]

    return Contender(name, argv, ours=ours, cwd=ROOT if in_project else None)


# Plumbing

_WGET2 = ["-q", "--no-robots", "--no-xattr"]
_TRUST = {"curl": "--cacert", "wget2": "--ca-certificate", "aria2c": "--ca-certificate"}
_ARIA2C = ["--no-conf", "-q", "--file-allocation=none", "--auto-file-renaming=false", "--summary-interval=0"]


def _file(job: Job) -> Path:
    return job.folder / next(iter(job.wanted.files))


def _ours(
    name: str, command: str, arguments: Callable[[Job], list[str]], settings: Mapping[str, object], **facts: object
) -> Contender:
    """Run a command of ours: the one place where its settings become options."""

    def argv(job: Job) -> list[str]:
        options = job.version.options({"FILES_STORE": job.folder, **settings})
        return [sys.executable, "-m", "mediacrawl", command, *options, *arguments(job)]

    missing = installed().lacks(settings)
    return Contender(name, argv, ours=True, missing=missing, settings=settings, **facts)  # type: ignore[arg-type]


def _to_a_host(connections: int | None) -> dict[str, object]:
    return {} if connections is None else {"CONCURRENT_REQUESTS_PER_DOMAIN": connections}


def _scrapy_peer(spider: str, job: Job, connections: int, items: int | None = None) -> list[str]:
    given = {
        "FILES_STORE": job.folder,
        "CONCURRENT_REQUESTS": connections,
        "CONCURRENT_REQUESTS_PER_DOMAIN": connections,
        # Of a page, and so of a list: Scrapy 2.19 exceeds the other two when many requests come at once. In a gallery
        # a page has one item, and each place costs a task, whether it is used or not.
        "CONCURRENT_ITEMS": items or connections,
    }
    options = [option for name, value in given.items() for option in ("-s", f"{name}={value}")]
    return [sys.executable, "-m", "scrapy", "crawl", *options, spider]
