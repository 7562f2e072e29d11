from __future__ import annotations

import os
import shutil
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
