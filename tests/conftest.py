from __future__ import annotations

import pytest
from drawing import SEED
from origin import Origin
from transports import TRANSPORTS, transport_class


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
