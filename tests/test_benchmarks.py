"""benchmarks/: what counts as a right run, and the figures made of it; and a whole run that compares two versions."""

import functools
import hashlib
import http.server
import json
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import against, bars, cli, data, harness, measure, paired, peers, report, rooms, server, versions
from benchmarks.check import fault_of_files
from benchmarks.peers import Contender, Job, Tools
from benchmarks.results import Key, Measurement, Results
from benchmarks.runner import Runner, in_turn
from benchmarks.versions import Version
from benchmarks.workloads import FULL, SMALL, Scene, Served, Workload, tls_small, write_ledger


def facts(body):
    return data.Facts(len(body), hashlib.sha256(body).digest())


WANTED = {"a.png": facts(b"aaa"), "b.png": facts(b"bbb")}


@pytest.fixture
def folder(tmp_path):
    for name in ("x/a.png", "x/b.png", ".mediacrawl/parts/c.part"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name[-5:-4].encode() * 3)
    return tmp_path


@pytest.mark.parametrize("by_name", [True, False])
def test_what_is_all_there_has_no_fault(folder, by_name):
    assert fault_of_files(folder, WANTED, by_name=by_name) is None


@pytest.mark.parametrize("by_name", [True, False])
def test_a_missing_file_is_a_fault(folder, by_name):
    (folder / "x/b.png").unlink()
    assert fault_of_files(folder, WANTED, by_name=by_name)


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("body", [b"bbc", b"bb", b"", b"aaa"])
def test_a_wrong_file_is_a_fault(folder, by_name, body):
    (folder / "x/b.png").write_bytes(body)
    assert fault_of_files(folder, WANTED, by_name=by_name)


@pytest.mark.parametrize("by_name", [True, False])
def test_a_file_too_many_is_a_fault(folder, by_name):
    (folder / "c.png").write_bytes(b"c")
    assert fault_of_files(folder, WANTED, by_name=by_name) == "3 files are there instead of 2"


def test_a_store_that_is_kept_may_have_more(folder):
    (folder / "c.png").write_bytes(b"c")
    assert fault_of_files(folder, WANTED, exact=False) is None


def test_what_a_tool_writes_beside_the_files_is_passed_over(folder):
    (folder / "a.json").write_bytes(b"{}")
    assert fault_of_files(folder, WANTED, by_name=False, beside=(".json",)) is None


def test_renamed_files_are_known_by_their_digest(folder):
    (folder / "x/a.png").rename(folder / "0123.png")
    assert fault_of_files(folder, WANTED, by_name=False) is None


def run(wall_s, **more):
    return Measurement(wall_s, more.pop("cpu_s", 0.5), 2**20, 2**20, more.pop("requests", 1), None, **more)


@pytest.fixture
def results():
    results = Results()
    results.runs[Key("small", "tmpfs", "mediacrawl")] = [run(2.0), run(1.0), run(9.0)]
    results.runs[Key("small", "tmpfs", "wget2")] = [run(4.0), run(0.1, fault="b.png has a wrong sha256"), run(6.0)]
    results.runs[Key("small", "tmpfs", "curl")] = [run(0.1, fault="2 of 2 files are missing, a.png first")]
    return results


def test_the_median_is_of_the_runs_that_are_right(results):
    assert results.median(Key("small", "tmpfs", "mediacrawl")) == 2.0
    assert results.median(Key("small", "tmpfs", "wget2")) == 5.0
    assert results.median(Key("small", "tmpfs", "curl")) is None
    assert results.median(Key("small", "tmpfs", "nobody")) is None


def test_ratios_are_of_medians(results):
    ours = Key("small", "tmpfs", "mediacrawl")
    assert results.times_as_fast(ours, "wget2") == 2.5
    assert results.times_as_fast(ours, "curl") is None


def test_the_table_has_ratios_and_what_has_no_time(results):
    contenders = [Contender(name, lambda _: []) for name in ("curl", "wget2")]
    contenders.append(Contender("mediacrawl", lambda _: [], ours=True))
    workload = Workload("small", "Two files", contenders, data.Wanted(("u/a.png", "u/b.png"), WANTED))
    circumstances = report.Circumstances([], ["tmpfs"], 3)
    lines = report.written(results, [workload], bars.all_bars(FULL), circumstances, []).splitlines()
    (ours,) = (line for line in lines if line.startswith("| **mediacrawl**"))
    (wget2,) = (line for line in lines if line.startswith("| wget2"))
    assert [cell.strip() for cell in ours.split("|")[2:5]] == ["2", "1-9", "1"]
    assert wget2.endswith("| 2.50 |")
    assert any(line.startswith("| curl | no time |") for line in lines)
    assert "wget2: 1 of 3 runs have no time: `b.png has a wrong sha256`" in lines
    assert any(line.endswith("| no figure |") for line in lines if "img2dataset" in line)


def bar(group, wording):
    (found,) = (
        one for one in bars.all_bars(FULL) if (one.group, one.kind) == (group, "must") and wording in one.wording
    )
    return found


def test_a_bar_is_reached_or_not():
    results = Results()
    results.runs[Key("second-few", "ext4", "mediacrawl")] = [run(1.0, requests=0), run(1.0, requests=1)]
    results.runs[Key("second-few", "ext4", "Scrapy FilesPipeline")] = [run(3.0)]
    requests, speed = bar("second", "no request"), bar("second", "FilesPipeline")
    assert (requests.figure(results, "ext4"), requests.reached(requests.figure(results, "ext4"))) == (1, False)
    assert (speed.figure(results, "ext4"), speed.reached(speed.figure(results, "ext4"))) == (3.0, True)
    assert speed.reached(speed.figure(results, "tmpfs")) is None


def test_urls_per_second_are_without_the_start():
    results = Results()
    results.runs[Key("second-lots", "tmpfs", "mediacrawl")] = [run(8.5)]
    results.runs[Key("second-lots", "tmpfs", "mediacrawl, list of one line")] = [run(0.5)]
    assert bar("second", "URLs/s").figure(results, "tmpfs") == pytest.approx(199_999 / 8)


def test_every_bar_can_be_asked_without_results():
    assert {one.figure(Results(), "tmpfs") for sizes in (FULL, SMALL) for one in bars.all_bars(sizes)} == {None}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0, "0"), (0.12345, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1,234"), (3.0, "3")],
)
def test_numbers_have_three_figures(value, text):
    assert report.number(value) == text


def test_what_the_server_saw():
    seen = server.seen_in(["100.500 0.400 206 10 /a", "101.000 0.950 206 10 /b", "100.700 0.100 404 1 /robots.txt"])
    assert (seen.requests, seen.window_s, seen.connections) == (3, pytest.approx(0.95), 2)
    assert server.seen_in([]) == server.Seen(0, None)


def test_the_file_system_is_that_of_the_longest_mount_point(tmp_path):
    mounts = ["/dev/a / ext4 rw 0 0", f"none {tmp_path} tmpfs rw 0 0", f"/dev/b {tmp_path}/b xfs rw 0 0"]
    assert rooms.kind_of(tmp_path / "b" / "c", mounts) == "xfs"
    assert rooms.kind_of(tmp_path / "bc", mounts) == "tmpfs"
    assert rooms.kind_of(tmp_path.parent, mounts) == "ext4"


def test_folders_of_small_files_stay_and_those_of_large_ones_go(tmp_path):
    room = rooms.Room.below(tmp_path)
    few_large = data.Wanted(("u/a",), {"a": data.Facts(64 * data.MIB, b"")})
    small, large = room.new_folder("run"), room.new_folder("run")
    room.end(small, data.Wanted((), WANTED))
    room.end(large, few_large)
    assert (small.exists(), large.exists()) == (True, False)
    room.make_room(2**62)
    assert (small.exists(), room.removed_early) == (False, 1)


def test_before_a_large_file_what_lies_in_memory_goes_and_what_lies_on_a_disk_stays(tmp_path):
    memory, disk = rooms.Room.below(tmp_path / "a"), rooms.Room.below(tmp_path / "b")
    memory.kind, disk.kind = "tmpfs", "ext4"
    kept = []
    for room in (memory, disk):
        for _ in range(3):
            kept.append(room.new_folder("run"))
            room.end(kept[-1], data.Wanted((), WANTED))
    nothing = Workload("small", "", [])
    large = Workload("single", "", [], empty_memory=True)
    runner = Runner(None, (memory, disk), Results(), repeat=1, warm_up=True, say=str)
    runner.run(nothing)
    assert all(folder.exists() for folder in kept)
    runner.run(large)
    assert [folder.exists() for folder in kept] == [False] * 3 + [True] * 3
    assert (memory.removed_early, disk.removed_early) == (3, 0)


def test_what_is_available_leaves_out_the_names_of_small_files():
    lines = ["MemTotal: 300 kB", "MemAvailable:      100 kB", "SReclaimable:   40 kB", "HugePages_Total:       0"]
    assert rooms.available_memory_bytes(lines) == 60 * 1024
    assert rooms.available_memory_bytes(["MemAvailable: 1 kB", "SReclaimable: 2 kB"]) == 0
    assert rooms.available_memory_bytes([]) == 0


def test_small_files_are_the_same_each_time_and_all_differ(tmp_path):
    first, second = (data.small_files(tmp_path / name, "http://x", 20, (100, 200)) for name in ("1", "2"))
    assert first == second
    assert len({one.sha256 for one in first.files.values()}) == 20
    assert fault_of_files(tmp_path / "1", first.files) is None
    assert first.part(2, 4).urls == ("http://x/000002.png", "http://x/000003.png")


def test_a_ledger_is_written_through_its_own_interface(tmp_path):
    from mediacrawl.ledger.sqlite import SqliteLedger

    write_ledger(tmp_path, 25)
    ledger = SqliteLedger(next(tmp_path.rglob("ledger.sqlite3")), read_only=True)
    assert ledger.counts()["done"] == 25
    ledger.close()


def test_a_run_is_measured_with_its_children(tmp_path):
    grow = "x = bytearray(60_000_000); import time; time.sleep(0.3)"
    code = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {grow!r}]).returncode + 3)"
    usage = measure.run(measure.Command([sys.executable, "-c", code], tmp_path), tmp_path / "output.txt", 30)
    assert usage.status == 3
    assert usage.wall_s > 0.3
    assert usage.peak_tree_bytes > usage.peak_process_bytes > 60_000_000


def test_a_run_that_does_not_end_is_killed(tmp_path):
    command = measure.Command([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path)
    assert measure.run(command, tmp_path / "output.txt", 0.2).status == -9


def test_the_server_counts_requests_that_are_under_way_at_once():
    after_another = ["100.400 0.400 200 1 /a", "100.800 0.400 200 1 /b"]
    assert server.seen_in(after_another).connections == 1
    assert server.seen_in([*after_another, "100.500 0.200 200 1 /c"]).connections == 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    assert server.make_certificate(folder / "certificate.pem", folder / "key.pem") is None
    return folder / "certificate.pem"


def shake_hands(certificate, trusted, host):
    """Shake hands in memory: no port, no thread."""
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=trusted)
    ours.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 has it without being told
    theirs.load_cert_chain(certificate, certificate.with_name("key.pem"))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server_side = ours.wrap_bio(down, up, server_hostname=host), theirs.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for side in (client, server_side):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.version()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_certificate_is_good_for_the_loopback(certificate, host):
    assert shake_hands(certificate, certificate, host) == "TLSv1.3"


def test_the_certificate_is_good_for_nothing_else(certificate):
    for trusted, host in ((certificate, "example.com"), (None, "localhost")):
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(certificate, trusted, host)


def test_without_openssl_tls_is_skipped_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    why = server.make_certificate(tmp_path / "certificate.pem", tmp_path / "key.pem")
    assert why.startswith("openssl is not installed")
    results = Results()
    said = []
    Runner(None, (), results, 1, True, said.append).run(Workload("tls-small", "Files, TLS", [], missing=why))
    assert said == [f"skipped: Files, TLS: {why}"]
    assert results.missing == {"Files, TLS": why}


def test_files_over_tls_are_the_same_files_at_another_port(tmp_path):
    where = SimpleNamespace(
        url="http://127.0.0.1:1", tls_url="https://127.0.0.1:2", certificate=tmp_path / "bundle.pem", no_tls=None
    )
    served = Served(tmp_path, where)
    (tls,) = tls_small(Scene(served, SMALL, Tools()))
    plain = served.small(SMALL.small)
    assert tls.wanted.files == plain.files
    assert tls.wanted.urls[1] == plain.urls[1].replace("http://127.0.0.1:1", "https://127.0.0.1:2")
    trust = {"curl": "--cacert", "wget2": "--ca-certificate", "aria2c": "--ca-certificate"}
    job = Job(tls.wanted, tmp_path, tmp_path)
    for contender in tls.contenders:
        argv = contender.argv(job)
        if contender.ours:
            assert f"MEDIACRAWL_VERIFY_TLS={where.certificate}" in argv
        elif option := trust.get(contender.name.split()[0]):
            assert argv[1:3] == [option, str(where.certificate)]


@pytest.mark.parametrize(
    ("has", "options"),
    [
        ({"MEDIACRAWL_NEW"}, ["-s", "MEDIACRAWL_NEW=8"]),
        ({"MEDIACRAWL_OLD"}, ["-s", "MEDIACRAWL_OLD=8"]),
        ({"MEDIACRAWL_NEW", "MEDIACRAWL_OLD"}, ["-s", "MEDIACRAWL_NEW=8", "-s", "MEDIACRAWL_OLD=8"]),
    ],
)
def test_a_version_is_given_each_name_of_a_setting_that_it_has(monkeypatch, tmp_path, has, options):
    monkeypatch.setattr(versions, "FORMER_NAMES", {"MEDIACRAWL_NEW": ("MEDIACRAWL_OLD", "MEDIACRAWL_OLDEST")})
    version = Version("then", "abc", tmp_path, frozenset(has))
    settings = {"CONCURRENT_REQUESTS": 4, "MEDIACRAWL_NEW": 8}
    assert version.lacks(settings) is None
    assert version.options(settings) == ["-s", "CONCURRENT_REQUESTS=4", *options]
    contender = peers.ours_list(**settings)
    argv = contender.argv(Job(data.Wanted(("u/a",), {}), tmp_path, tmp_path, version))
    assert argv[4:8] == ["-s", f"FILES_STORE={tmp_path}", "-s", "CONCURRENT_REQUESTS=4"]
    assert argv[8 : 8 + len(options)] == options


def test_a_setting_that_a_version_does_not_have_is_told():
    version = Version("then", "abc", None, frozenset({"FILES_STORE"}))
    assert version.lacks({"MEDIACRAWL_NEW": 8}) == "this version has no setting MEDIACRAWL_NEW"
    assert peers.ours_get(1, MEDIACRAWL_NEW=8).missing == "this version has no setting MEDIACRAWL_NEW"


# The bounds by hand: of n values, the k-th from each end leave out 2 (C(n,0) + … + C(n,k-1)) / 2^n.
@pytest.mark.parametrize(
    ("values", "low", "high", "coverage"),
    [
        ([1.5], 1.5, 1.5, 0),
        ([3, 1], 1, 3, 1 - 2 / 4),
        ([4, 2, 3, 1], 1, 4, 1 - 2 / 16),
        ([5, 4, 3, 2, 1], 1, 5, 1 - 2 / 32),
        ([6, 1, 5, 2, 4, 3], 1, 6, 1 - 2 / 64),
        (range(1, 9), 1, 8, 1 - 2 / 256),  # the second from each end: 1 - 18/256 is less than 0.95
        (range(1, 10), 2, 8, 1 - 2 * 10 / 512),
        (range(10, 0, -1), 2, 9, 1 - 2 * 11 / 1024),
        ([1] * 9 + [7], 1, 1, 1 - 2 * 11 / 1024),
        (range(1, 21), 6, 15, 1 - 2 * (1 + 20 + 190 + 1140 + 4845 + 15504) / 2**20),
    ],
)
def test_the_interval_of_a_median_is_between_two_values_of_the_sample(values, low, high, coverage):
    found = paired.interval(list(values))
    assert (found.low, found.high) == (low, high)
    assert found.coverage == pytest.approx(coverage)


def test_an_interval_needs_values():
    with pytest.raises(ValueError, match="nothing"):
        paired.interval([])


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([0.5] * 6, "no slower: median at most 1.03"),
        ([1.02] * 6, "no slower: median at most 1.03"),  # not by chance, but little enough
        ([0.9, 1.1, 1.1, 1.1, 1.1, 1.1], "no slower: the interval covers 1"),
        ([1.0, 1.1, 1.1, 1.1, 1.1, 1.1], "no slower: the interval covers 1"),
        ([1.01, 1.1, 1.1, 1.1, 1.1, 1.1], "slower"),
        ([1.04], "slower"),
    ],
)
def test_the_verdict_goes_by_the_median_and_the_interval(ratios, verdict):
    found = paired.compare([(run(ratio), run(1.0)) for ratio in ratios])
    assert found.verdict == verdict


def test_a_ratio_is_of_two_runs_of_one_turn():
    now = [run(1.0), run(4.0), run(0.1, fault="b.png has a wrong sha256"), run(3.0, cpu_s=1.0)]
    then = [run(2.0), run(1.0), run(5.0), run(3.0)]
    both = paired.pairs(now, then)
    found = paired.compare(both)
    assert (found.now, found.then, found.ratio) == (3.0, 2.0, 1.0)
    assert (found.interval.low, found.interval.high) == (0.5, 4.0)
    assert paired.compare(both, "cpu_s").ratio == 1.0
    assert paired.compare(paired.pairs(now[2:3], then[2:3])) is None


# Two versions

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
ROOT = Path(__file__).parent.parent

# All that a run of `start` needs of the package: `python -m mediacrawl get -s NAME=VALUE URL`.
TINY = {
    "mediacrawl/__init__.py": "",
    "mediacrawl/settings.py": 'FILES_STORE = "downloads"\nMEDIACRAWL_SYNC = True\n',
    "mediacrawl/__main__.py": """
import sys, urllib.request
from pathlib import Path
settings = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
path = Path(settings["FILES_STORE"], sys.argv[-1].rpartition("/")[2])
path.exists() or path.write_bytes(urllib.request.urlopen(sys.argv[-1]).read())
""",
    "pyproject.toml": '[project]\nname = "mediacrawl"\ndependencies = ["requests>=2"]\n',
}


def git(root, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", root, *who, *arguments], check=True, capture_output=True)


def clone_of(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "First")
    return root


@pytest.fixture
def clone(tmp_path):
    (tmp_path / "clone").mkdir()
    return clone_of(tmp_path / "clone", TINY)


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Make a whole run, and look that nothing but the report is left of it."""
    places = {name: tmp_path / name for name in ("temporary", "work", "out")}
    places["temporary"].mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(places["temporary"]))
    monkeypatch.setattr(rooms, "SHARED_MEMORY", tmp_path / "none")
    before = signal.getsignal(signal.SIGTERM)

    def main(root, *arguments):
        where = ["--file-system", "ext4", "--work-dir", str(places["work"]), "--out", str(places["out"])]
        status = cli.main(["--scale", "small", *where, *arguments], root)
        left = [*places["temporary"].iterdir(), *places["work"].iterdir()]
        assert left == []
        report = places["out"] / "against.json"
        return status, json.loads(report.read_text()) if report.exists() else None

    yield main
    signal.signal(signal.SIGTERM, before)


class Loopback:
    """Stand in for nginx where that is not needed."""

    no_tls = "this server has no TLS"
    certificate = None
    tls_url = "https://127.0.0.1"

    def __init__(self, folder, served):
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=served)
        handler.func.log_message = lambda *_: None
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = self.limited_url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def seen(self):
        return server.Seen(0, None)


def version(name):
    return Version(name, "", None, frozenset())


def test_versions_take_turns_in_being_first():
    contenders = [Contender(name, lambda _: [], version=version(when)) for name in "ab" for when in ("now", "then")]
    orders = [[one.label for one in in_turn(contenders, turn)] for turn in (1, 2, 3)]
    assert orders[0] == ["a, now", "a, then", "b, now", "b, then"]
    assert orders[1] == ["a, then", "a, now", "b, then", "b, now"]
    assert orders[2] == orders[0]


def test_a_contender_that_one_version_lacks_is_skipped_for_both():
    old = Version("then", "", None, frozenset())
    new = Version("now", "", None, frozenset({"MEDIACRAWL_NEW"}))
    each = against.of_each(peers.ours_get(1, MEDIACRAWL_NEW=8), (new, old))
    assert [one.missing for one in each] == ["then: this version has no setting MEDIACRAWL_NEW"] * 2


def test_every_choice_is_of_work_that_there_is(tmp_path):
    where = SimpleNamespace(
        url="http://x", limited_url="http://x/l", tls_url="https://x", certificate="b", no_tls=None
    )
    scene = Scene(Served(tmp_path, where), SMALL, Tools())
    for name, contenders in against.CHOICE.items():
        workloads = against.chosen(name, scene, (version("now"), version("then")))
        assert {one.name for workload in workloads for one in workload.contenders} == set(contenders)
        assert all(one.ours for workload in workloads for one in workload.contenders)
        assert all(workload.warm_round for workload in workloads)
        if name == "limit":
            assert [workload.name for workload in workloads] == ["limit-4-4", "limit-4-16"]


@needs_git
def test_two_versions_are_taken_from_their_own_sources(clone, tmp_path):
    settings = clone / "mediacrawl/settings.py"
    settings.write_text("MEDIACRAWL_NEW = 1\nhelper = 2\n")
    (tmp_path / "sources").mkdir()
    now, then = versions.check_out(clone, "HEAD", tmp_path / "sources")
    assert (now.name, then.name) == ("now", "then")
    assert now.label.endswith(" First, with changes")
    assert then.label.endswith(" First")
    assert (now.settings, then.settings) == ({"MEDIACRAWL_NEW"}, {"FILES_STORE", "MEDIACRAWL_SYNC"})
    assert not versions.are_alike(now, then)
    for one in (now, then):
        source = next(iter(one.folder.rglob("settings.py")))
        assert source.with_name("__pycache__").joinpath(f"settings.{sys.implementation.cache_tag}.pyc").exists()
        assert one.env == {"PYTHONPATH": str(one.folder)}
    assert not (clone / "mediacrawl/__pycache__").exists()


@needs_git
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "pyproject.toml",
            '[project]\ndependencies = ["no-such-thing>=7"]',
            "it needs no-such-thing>=7, which is not",
        ),
        ("pyproject.toml", '[project]\ndependencies = ["requests>=999"]', "it needs requests>=999, and "),
        ("mediacrawl/settings.py", "import no_such_thing", "No module named 'no_such_thing'"),
        ("mediacrawl/settings.py", "def", "it cannot be compiled"),
        ("mediacrawl/__init__.py", f"__file__ = {__file__!r}", f"is imported from {__file__} instead"),
        ("mediacrawl/settings.py", f"__file__ = {__file__!r}", f"is imported from {__file__} instead"),
    ],
)
def test_a_version_that_cannot_be_run_is_refused_in_one_line(call, clone, capfd, name, text, said):
    (clone / name).write_text(text)
    assert call(clone, "--against", "HEAD") == (2, None)
    line = capfd.readouterr().err
    assert line.startswith("now (the working tree at ")
    assert said in line
    assert line.count("\n") == 1


def test_a_source_without_the_package_is_not_mistaken_for_the_installed_one(tmp_path):
    """Guard against an editable install, which is found where nothing comes before it."""
    (tmp_path / "now/mediacrawl").mkdir(parents=True)
    (tmp_path / "now/pyproject.toml").write_text("[project]\n")
    refused = r"^now \(abc\): (it cannot be imported: .*|mediacrawl is imported from .* instead)$"
    with pytest.raises(RuntimeError, match=refused):
        versions.made_ready("now", "abc", tmp_path / "now")


@needs_git
def test_a_commit_that_is_not_there_is_refused_in_one_line(call, clone, capfd):
    assert call(clone, "--against", "nothing-like-that") == (2, None)
    assert capfd.readouterr().err.count("\n") == 1
    assert call(clone.parent, "--against", "HEAD") == (2, None)  # no clone


@pytest.mark.parametrize("more", [["--only", "cost"], ["--peers", "."]])
def test_options_of_a_run_beside_peers_are_refused_in_a_comparison(more, capfd):
    with pytest.raises(SystemExit) as refused:
        cli.main(["--against", "HEAD", *more])
    assert refused.value.code == 2
    assert "error: --against has no" in capfd.readouterr().err


@needs_git
def test_two_versions_are_compared(call, clone, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(harness, "Nginx", Loopback)
    status, written = call(clone, "--against", "HEAD", "--only", "start", "tls-small")
    assert status == 0
    assert [row["workload"] for row in written["comparisons"]] == ["start-get"] * 2
    for row in written["comparisons"]:
        assert row["pairs"] == 2
        assert row["verdict"] in {"slower", "no slower: median at most 1.03", "no slower: the interval covers 1"}
        assert row["wall_s"]["interval"]["coverage"] == 0.5
        assert row["peak_tree_bytes"]["then"] > 2**20
    assert {(one["version"], len(one["runs"])) for one in written["runs"]} == {("now", 2), ("then", 2)}
    text, printed = (tmp_path / "out/against.md").read_text(), capfd.readouterr()
    assert "both have the same source" in text
    table = [line for line in text.splitlines() if line.startswith("| start-get |")]
    assert len(table) == 2
    assert all(line in printed.out for line in table)
    assert "skipped: 200 files of 10-30 KiB, TLS: this server has no TLS" in printed.out


@needs_git
def test_a_version_that_fails_has_no_figure(call, clone, monkeypatch, capfd):
    monkeypatch.setattr(harness, "Nginx", Loopback)
    (clone / "mediacrawl/__main__.py").write_text("raise SystemExit('it is broken')")
    status, written = call(clone, "--against", "HEAD", "--only", "start", "--repeat", "1")
    assert status == 1
    assert [(row["pairs"], row["verdict"], row["wall_s"]) for row in written["comparisons"]] == [(0, None, None)] * 2
    said = f"{peers.OURS_GET_NEW}, now: 1 of 1 runs have no time: `it ended with status 1: it is broken`"
    assert said in capfd.readouterr().out


@needs_git
def test_an_interrupt_leaves_nothing(call, clone, monkeypatch):
    def interrupted(command, *_):
        assert "mediacrawl-versions-" in command.env["PYTHONPATH"]
        raise KeyboardInterrupt

    monkeypatch.setattr(harness, "Nginx", Loopback)
    monkeypatch.setattr(measure, "run", interrupted)
    assert call(clone, "--against", "HEAD", "--only", "start") == (3, None)


@pytest.mark.slow
@needs_git
@pytest.mark.skipif(server.nginx_path() is None, reason="nginx is not installed")
def test_this_version_is_compared_with_itself(call, tmp_path):
    """Run the whole of it: nginx, TLS, and the real package."""
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "mediacrawl", clone / "mediacrawl", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", clone)
    clone_of(clone, {})
    only = "tls-single" if shutil.which("openssl") else "single"
    status, written = call(clone, "--against", "HEAD", "--only", only, "--repeat", "1")
    (row,) = written["comparisons"]
    assert status == 0
    assert (row["workload"], row["contender"], row["pairs"]) == (only, peers.OURS, 1)
    assert row["wall_s"]["ratio"] > 0
    assert [one["runs"][0]["requests"] for one in written["runs"]] == [1, 1]
