"""Files of trust and credentials that settings and the environment name: checked before anything is done."""

from __future__ import annotations

import os

import pytest
from certificates import Authority

from mediacrawl.errors import UsageProblem
from mediacrawl.fetch import fetch
from mediacrawl.ledger.base import Entry
from mediacrawl.transport.authorities import authorities_of

KEY = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
BROKEN = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
# By name: the setting or variable, and what its line says.
WRONG = {
    "MEDIACRAWL_VERIFY_TLS=missing.pem": "there is no such file",
    "MEDIACRAWL_VERIFY_TLS=Tru": "must be True, False, or the path",
    "MEDIACRAWL_VERIFY_TLS=text": "the file has no certificates in PEM format",
    "MEDIACRAWL_VERIFY_TLS=key": "the file has no certificates in PEM format",
    "MEDIACRAWL_VERIFY_TLS=broken": "a certificate in the file is damaged",
    "MEDIACRAWL_VERIFY_TLS=empty": "the folder has no certificates with the names",
    "MEDIACRAWL_VERIFI_TLS=False": "the nearest one is MEDIACRAWL_VERIFY_TLS",
    "MEDIACRAWL_COOKIES=missing": "cannot be read: No such file or directory",
    "MEDIACRAWL_COOKIES=empty": "cannot be read: Is a directory",
    "MEDIACRAWL_COOKIES=text": "line 1 is no cookie",
    "MEDIACRAWL_NETRC=maybe": "must be True or False",
    "MEDIACRAWL_BLOCK_PRIVATE=yes": "must be True or False",
    "NETRC=missing": "No such file or directory",
    "NETRC=text": "is not understood",
    "REQUESTS_CA_BUNDLE=broken": "a certificate in the file is damaged",
    "CURL_CA_BUNDLE=missing": "No such file or directory",
    "SSL_CERT_FILE=key": "the file has no certificates in PEM format",
    "SSL_CERT_DIR=missing": "there is no such folder",
    "http_proxy=ftp://h": "is not the URL of a proxy",
}
NETWORK = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC")


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in NETWORK:
        monkeypatch.delenv(name, raising=False)
    for name, text in {"text": "no cookie\n", "key": KEY, "broken": BROKEN, "list": "http://127.0.0.1:9/a\n"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.fixture
def damaged(ledger, tmp_path):
    """A file that `verify --repair` sets aside."""
    entry = Entry("http://127.0.0.1:9/a", "http://127.0.0.1:9/a", path="get/a", size_bytes=9)
    with ledger.transaction():
        ledger.claim(entry)
        ledger.finish([entry], 1.0)
    (tmp_path / "store/get").mkdir()
    (tmp_path / "store/get/a").write_bytes(b"short")


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    "words",
    [("get", "http://127.0.0.1:9/a"), ("crawl", "urllist", "-a", "file=list"), ("retry",), ("verify", "--repair")],
    ids=" ".join,
)
def test_it_is_refused_at_the_start_in_one_line(command, files, damaged, monkeypatch, words, wrong):
    name, _, value = wrong.partition("=")
    is_setting = name.startswith("MEDIACRAWL_")
    if not is_setting:
        monkeypatch.setenv(name, value)
    done = command(*words, *(("-s", wrong) if is_setting else ()))
    assert done.status == 2, str(done)
    assert WRONG[wrong] in done.lines[-1], str(done)
    assert "failed" not in done.err
    assert (files / "store/get/a").exists()  # nothing was done


@pytest.mark.parametrize("wrong", [one for one in WRONG if one.startswith("MEDIACRAWL_V")])
def test_a_program_is_told_before_the_first_file(files, wrong):
    name, _, value = wrong.partition("=")
    with pytest.raises(UsageProblem, match=WRONG[wrong]):
        next(fetch(["http://127.0.0.1:9/a"], store=files / "store", settings={name: value}))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads any file")
def test_a_file_that_cannot_be_read_is_refused(files):
    (files / "key").chmod(0)
    with pytest.raises(UsageProblem, match="Permission denied"):
        authorities_of("key")


def test_certificates_are_accepted_in_the_forms_that_openssl_reads(files):
    authority = Authority(files)
    text = authority.file.read_text()
    for name, content in {
        "crlf": text.replace("\n", "\r\n"),
        "words": f"Issuer: Ünï\n{text}\ntrailing",
        "keys": KEY + text,
        "two": text + text,
        "old": text.replace(" CERTIFICATE", " X509 CERTIFICATE"),
    }.items():
        (files / name).write_bytes(content.encode())
        found = authorities_of(name)
        assert found is not None
        assert found.file == name
    (files / "cut").write_text(text[:-100])
    with pytest.raises(UsageProblem, match="damaged"):
        authorities_of("cut")
    assert authorities_of(str(authority.rehashed())) is not None
