"""The referrer policy of a request in a crawl, as a name that transfers know: they run in threads and processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.http import Response
from scrapy.spidermiddlewares.referer import RefererMiddleware

from mediacrawl.urls.referrer import DEFAULT_POLICY, OWN_ORIGIN_ONLY

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.spidermiddlewares.referer import ReferrerPolicy


def policy_name(crawler: Crawler, request: Request) -> str:
    """Return the name of the policy for a request: that of its meta, or else that of the setting.

    A policy of a project has a name that transfers do not know: a redirect to another origin then has no Referer.
    """
    middleware = crawler.get_spider_middleware(RefererMiddleware)
    if middleware is None:
        return DEFAULT_POLICY
    policy: type[ReferrerPolicy] = middleware.default_policy
    if "referrer_policy" in request.meta:
        policy = type(middleware.policy(Response(request.url), request))
    return next((name for name, known in middleware.policies.items() if known is policy and name), OWN_ORIGIN_ONLY)
