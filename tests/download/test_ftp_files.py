"""The answer to conditional requests of HTTP from the facts of a file on an FTP server, and the facts in replies."""

from __future__ import annotations

import pytest

from mediacrawl.download.requester import content_length
from mediacrawl.headers import ContentRange, Validators
from mediacrawl.transport.ftp_files import FtpAnswer, FtpFacts, answer_to, facts_of_entry, size_of, time_of

FULL = FtpFacts(1000, "20240102030405")
ETAG, MODIFIED = '"ftp-1000-20240102030405"', "Tue, 02 Jan 2024 03:04:05 GMT"
SIZE_ONLY, TIME_ONLY = FtpFacts(1000), FtpFacts(None, "20240102030405")


@pytest.mark.parametrize(
    ("facts", "headers", "answer"),
    [
        (FULL, {}, FtpAnswer(200, 0, 1000)),
        (FULL, {"Range": "bytes=100-"}, FtpAnswer(206, 100, 1000)),
        (FULL, {"Range": "bytes=100-199"}, FtpAnswer(206, 100, 200)),
        (FULL, {"Range": "bytes=1000-"}, FtpAnswer(416)),
        (FULL, {"Range": "bytes=1-2,5-6"}, FtpAnswer(200, 0, 1000)),
        (FULL, {"Range": "lines=1-2"}, FtpAnswer(200, 0, 1000)),
        (FULL, {"Range": "bytes=100-", "If-Range": ETAG}, FtpAnswer(206, 100, 1000)),
        (FULL, {"range": "bytes=100-", "if-range": '"ftp-999-20240102030405"'}, FtpAnswer(200, 0, 1000)),
        (FULL, {"If-None-Match": ETAG}, FtpAnswer(304)),
        (FULL, {"If-None-Match": '"other"'}, FtpAnswer(200, 0, 1000)),
        (FULL, {"If-Modified-Since": MODIFIED}, FtpAnswer(304)),
        (TIME_ONLY, {"If-Modified-Since": MODIFIED}, FtpAnswer(304)),
        (TIME_ONLY, {"If-None-Match": ETAG}, FtpAnswer(200)),
        (TIME_ONLY, {"Range": "bytes=100-"}, FtpAnswer(200)),
        (SIZE_ONLY, {"Range": "bytes=100-"}, FtpAnswer(206, 100, 1000)),
        (SIZE_ONLY, {"Range": "bytes=100-", "If-Range": ETAG}, FtpAnswer(200, 0, 1000)),
        (SIZE_ONLY, {"If-Modified-Since": MODIFIED}, FtpAnswer(200, 0, 1000)),
        (FtpFacts(0), {}, FtpAnswer(200, 0, 0)),
        (FtpFacts(0), {"Range": "bytes=0-"}, FtpAnswer(416)),
        (FtpFacts(), {"Range": "bytes=5-"}, FtpAnswer(200)),
        (FtpFacts(5, "20241340000000"), {"If-None-Match": '"ftp-5-20241340000000"'}, FtpAnswer(200, 0, 5)),
    ],
)
def test_a_request_is_answered_as_a_web_server_would(facts, headers, answer):
    assert answer_to(headers, facts) == answer


def test_the_head_has_the_validators_the_length_and_the_range_and_refuses_more_connections():
    whole = FtpAnswer(200, 0, 1000).headers(FULL)
    assert (whole["etag"], whole["last-modified"], content_length(whole["content-length"])) == (ETAG, MODIFIED, 1000)
    assert "content-range" not in whole
    assert whole["accept-ranges"] == "none"
    part = FtpAnswer(206, 100, 200).headers(FULL)
    assert ContentRange.from_header(part["content-range"]) == (100, 200, 1000)
    assert part["content-length"] == "100"
    assert FtpAnswer(416).headers(FULL)["content-range"] == "bytes */1000"
    assert "content-length" not in FtpAnswer(200).headers(TIME_ONLY)


def test_the_validators_of_a_head_are_those_of_the_facts():
    read = Validators.from_headers(FtpAnswer(200, 0, 1000).headers(FULL))
    assert read == FULL.validators
    assert read.if_range() == ETAG
    assert TIME_ONLY.validators.if_range() is None
    assert SIZE_ONLY.validators == Validators()


@pytest.mark.parametrize(
    ("reply", "size"),
    [("213 12", 12), ("213  0012 ", 12), ("213 -1", None), ("213 1e3", None), ("250 12", None), ("", None)],
)
def test_a_size_is_read_strictly(reply, size):
    assert size_of(reply) == size


@pytest.mark.parametrize(
    ("reply", "at"),
    [
        ("213 20240102030405", "20240102030405"),
        ("213 20240102030405.123", "20240102030405.123"),
        ("213 191040102030405", None),
        ("213 2024-01-02", None),
    ],
)
def test_a_time_is_read_strictly(reply, at):
    assert time_of(reply) == at


@pytest.mark.parametrize(
    ("reply", "facts"),
    [
        ("250-Listing\n modify=20240102030405;size=12;type=file; a b.jpg\n250 End", FtpFacts(12, "20240102030405")),
        ("250-Listing\n Type=File;Size=12; a;size=13;b\n250 End", FtpFacts(12)),
        ("250-Listing\n type=dir;modify=20240102030405; a\n250 End", FtpFacts()),
        ("250 none", FtpFacts()),
    ],
)
def test_the_facts_of_an_entry_are_those_before_its_name(reply, facts):
    assert facts_of_entry(reply) == facts
