"""What a referrer policy leaves of a Referer (Referrer Policy, W3C, 8.3)."""

from __future__ import annotations

import pytest
from scrapy.settings import Settings
from scrapy.spidermiddlewares.referer import RefererMiddleware

from mediacrawl.urls.referrer import policy_of_field, referer_under

PAGES = ["http://a.example/p?q=1", "https://a.example/p?q=1", "https://a.example:8443/", "http://a.example:80/x/y"]
TARGETS = [*PAGES, "http://b.example/", "https://b.example/x", "https://sub.a.example/"]


def test_it_is_what_scrapy_says():
    middleware = RefererMiddleware(Settings())
    for name, policy in middleware.policies.items():
        if not name:
            continue
        for page in PAGES:
            for target in TARGETS:
                allowed = policy().referrer(page, target)
                said = referer_under(name, page, target)
                assert (said or "").replace(":80/", "/") == (allowed or ""), (name, page, target)


@pytest.mark.parametrize(
    ("policy", "referer", "url", "expected"),
    [
        ("unsafe-url", "https://me:secret@a.example/x#part", "http://b.example/", "https://a.example/x"),
        ("no-referrer-when-downgrade", "https://me:secret@a.example", "https://b.example/", "https://a.example"),
        ("origin", "https://me:secret@a.example/x", "https://b.example/", "https://a.example/"),
        ("origin", "http://[::1]:80/x", "https://b.example/", "http://[::1]/"),
        ("no-referrer-when-downgrade", "no URL", "http://b.example/", "no URL"),
        ("same-origin", "no URL", "http://b.example/", None),
        ("strict-origin", "no URL", "http://b.example/", None),
        ("strict-origin-when-cross-origin", "http://[", "http://b.example/", None),
        ("", "http://a.example/x", "http://b.example/", None),
        ("Unsafe-URL", "http://a.example/x", "http://b.example/", None),
    ],
)
def test_neither_credentials_nor_what_is_no_url_go_on(policy, referer, url, expected):
    assert referer_under(policy, referer, url) == expected


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        (None, None),
        ("", None),
        ("origin", "origin"),
        (" Same-Origin ,", "same-origin"),
        ("no-referrer, strict-origin-when-cross-origin", "strict-origin-when-cross-origin"),
        ("origin, made-up", "origin"),
        ("a.b.Policy", None),
        ("," * 10_000, None),
    ],
)
def test_the_last_policy_of_a_field_that_is_known_counts(value, policy):
    assert policy_of_field(value) == policy
