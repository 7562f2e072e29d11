from __future__ import annotations

import gc
import os
import shutil
import sys
from pathlib import Path

import hypothesis
import pytest
from drawing import SEED
from origin import Origin
from transports import TRANSPORTS, transport_class

_MEMORY = Path("/dev/shm")
_FREE_BYTES = 4 * 1024**3

# How long an example takes says nothing: the machine may be busy with other tests.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


def pytest_configure(config) -> None:
    """Put the folders of the fast tests into memory where there is room: on a disk they wait for half of their time.

    A crawl syncs each of its files. The slow tests stay on the disk: some are about what it does.
    """
    is_chosen = config.option.basetemp or "PYTEST_DEBUG_TEMPROOT" in os.environ or "TMPDIR" in os.environ
    is_fast = config.option.markexpr == "not slow"
    if is_fast and not is_chosen and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _FREE_BYTES:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_MEMORY)  # inherited by the processes that run the tests


# --- what each of the processes that run the tests does before the first one ------------------------

# Most of the start is the rewriting of assertions. It is kept in `__pycache__`, also where that is switched off, and
# each process begins with other folders and files: what the others have rewritten by then is read.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
_NUMBER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_COUNT = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
gc.disable()  # all that is made until the tests are collected stays


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    if isinstance(collector, pytest.Directory):
        first = len(report.result) * _NUMBER // _COUNT
        report.result = [*report.result[first:], *report.result[:first]]
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items) -> None:
    """Put them into the order that they have in each process, before pytest groups them by their fixtures."""
    items.sort(key=lambda item: item.path.parts)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    gc.freeze()
    gc.enable()


def pytest_report_header() -> str:
    return f"MEDIACRAWL_SEED={SEED}"


@pytest.fixture
def origin():
    with Origin() as running:
        yield running


@pytest.fixture(params=TRANSPORTS, scope="session")
def transport_kind(request):
    """The class of a transport: each test that takes it runs with all of them."""
    return transport_class(request.param)


@pytest.fixture(scope="session")
def crawls():
    """One reactor for all crawls of this process, as it cannot be started again."""
    from crawling import Crawls
    from scrapy.downloadermiddlewares import cookies
    from tldextract import TLDExtract

    # Scrapy's cookies would ask the network for the list of public suffixes, once for each machine.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cookies, "_split_domain", TLDExtract(include_psl_private_domains=True, suffix_list_urls=()))
        running = Crawls()
        yield running
        running.close()
