"""Which cookies go where (RFC 6265), over the jars of a run; and the file that a browser's cookies are read from."""

from __future__ import annotations

import pickle
import threading

import pytest

from mediacrawl.download.cookies import MAIN_JAR, Cookies, read_cookies
from mediacrawl.errors import UsageProblem

LATER = "Fri, 01 Jan 2100 00:00:00 GMT"
PAST = "Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize(
    ("url", "lines", "asked", "field"),
    [
        # 5.1.3, 5.3: hosts
        ("http://login.site.test/", ["a=1; Domain=site.test"], "http://files.site.test/x", "a=1"),
        ("http://login.site.test/", ["a=1; Domain=.site.test"], "http://site.test/x", "a=1"),
        ("http://login.site.test/", ["a=1; DOMAIN=Site.TEST"], "http://LOGIN.site.test/x", "a=1"),
        ("http://login.site.test/", ["a=1"], "http://login.site.test:8080/x", "a=1"),
        ("http://site.test/", ["a=1"], "http://files.site.test/x", ""),
        ("http://site.test/", ["a=1; Domain="], "http://files.site.test/x", ""),
        ("http://site.test/", ["a=1; Domain=site.test"], "http://files.site.test/x", "a=1"),
        ("http://site.test/", ["a=1; Domain=site.test"], "http://evilsite.test/x", ""),
        ("http://site.test/", ["a=1; Domain=files.site.test"], "http://files.site.test/x", ""),
        ("http://site.test/", ["a=1; Domain=other.test"], "http://site.test/x", ""),
        ("http://a.test/", ["a=1; Domain=test"], "http://b.test/x", ""),
        ("http://a.test/", ["a=1; Domain=wrong.test; Domain=a.test"], "http://b.a.test/x", "a=1"),
        ("http://a.com/", ["a=1; Domain=com"], "http://b.com/x", ""),
        ("http://a.co.uk/", ["a=1; Domain=co.uk"], "http://b.co.uk/x", ""),
        ("http://a.co.uk/", ["a=1; Domain=a.co.uk"], "http://b.a.co.uk/x", "a=1"),
        ("http://me.github.io/", ["a=1; Domain=github.io"], "http://you.github.io/x", ""),
        ("http://github.io/", ["a=1; Domain=github.io"], "http://github.io/x", "a=1"),
        ("http://github.io/", ["a=1; Domain=github.io"], "http://you.github.io/x", ""),
        ("http://localhost/", ["a=1"], "http://localhost/x", "a=1"),
        ("http://localhost/", ["a=1; Domain=localhost"], "http://localhost/x", "a=1"),
        ("http://localhost/", ["a=1; Domain=localhost"], "http://b.localhost/x", ""),
        ("http://bücher.test/", ["a=1; Domain=xn--bcher-kva.test"], "http://www.xn--bcher-kva.test/", "a=1"),
        ("http://me:secret@site.test/", ["a=1"], "http://site.test/x", "a=1"),
        # addresses
        ("http://127.0.0.1/", ["a=1"], "http://127.0.0.1:81/x", "a=1"),
        ("http://127.0.0.1/", ["a=1; Domain=127.0.0.1"], "http://127.0.0.1/x", "a=1"),
        ("http://127.0.0.1/", ["a=1; Domain=0.0.1"], "http://127.0.0.1/x", ""),
        ("http://127.0.0.1/", ["a=1; Domain=0.0.1"], "http://10.0.0.1/x", ""),
        ("http://[::1]/", ["a=1"], "http://[::1]:81/x", "a=1"),
        ("http://[::1]/", ["a=1; Domain=::1"], "http://[::1]/x", "a=1"),
        # 5.1.4: paths
        ("http://h.test/get/a.png", ["a=1"], "http://h.test/get/b.png", "a=1"),
        ("http://h.test/get/a.png", ["a=1"], "http://h.test/", ""),
        ("http://h.test/get/a.png", ["a=1; Path=/"], "http://h.test/", "a=1"),
        ("http://h.test/get/a.png", ["a=1; Path=nowhere"], "http://h.test/get/", "a=1"),
        ("http://h.test/", ["a=1; Path=/get"], "http://h.test/getting", ""),
        ("http://h.test/", ["a=1; Path=/get"], "http://h.test/get/x?y", "a=1"),
        ("http://h.test/", ["a=1; Path=/", "a=2; Path=/get"], "http://h.test/get/x", "a=2; a=1"),
        # Secure
        ("https://h.test/", ["a=1; Secure"], "https://h.test/x", "a=1"),
        ("https://h.test/", ["a=1; secure"], "http://h.test/x", ""),
        ("https://h.test/", ["a=1; SameSite=None; HttpOnly; Secure"], "http://h.test/x", ""),
        ("https://h.test/", ["a=1; Secure=false"], "http://h.test/x", ""),
        ("https://l.h.test/", ["a=1; Domain=h.test; Secure"], "http://f.h.test/x", ""),
        ("http://h.test/", ["a=1; Secure"], "http://h.test/x", ""),
        ("http://h.test/", ["a=1; Secure"], "https://h.test/x", ""),
        # the prefixes of names (RFC 6265bis 4.1.3)
        ("https://h.test/", ["__Secure-a=1; Secure"], "https://h.test/x", "__Secure-a=1"),
        ("https://h.test/", ["__Secure-a=1; Secure"], "http://h.test/x", ""),
        ("https://h.test/", ["__Secure-a=1"], "http://h.test/x", ""),
        ("https://h.test/", ["__secure-a=1"], "https://h.test/x", ""),
        ("http://h.test/", ["__Secure-a=1; Secure"], "https://h.test/x", ""),
        ("https://h.test/a", ["__Host-a=1; Secure; Path=/"], "https://h.test/x", "__Host-a=1"),
        ("https://h.test/", ["__Host-a=1; Secure; Path=/"], "https://f.h.test/x", ""),
        ("https://h.test/", ["__Host-a=1; Secure; Path=/; Domain=h.test"], "https://h.test/x", ""),
        ("https://h.test/", ["__Host-a=1; Secure"], "https://h.test/x", ""),
        ("https://h.test/", ["__Host-a=1; Secure; Path=/x"], "https://h.test/x", ""),
        ("https://h.test/", ["__Host-a=1; Path=/"], "https://h.test/x", ""),
        # 5.2.1, 5.2.2: life
        ("http://h.test/", ["a=1", "a=; Max-Age=0"], "http://h.test/x", ""),
        ("http://h.test/", ["a=1", "a=2; Max-Age=-1"], "http://h.test/x", ""),
        ("http://h.test/", ["a=1", f"a=; Expires={PAST}"], "http://h.test/x", ""),
        ("http://h.test/", ["a=1", f"a=2; Expires={PAST}; Max-Age=60"], "http://h.test/x", "a=2"),
        ("http://h.test/", [f"a=2; Max-Age=0; Expires={LATER}"], "http://h.test/x", ""),
        ("http://h.test/", ["a=1; Max-Age=soon"], "http://h.test/x", "a=1"),
        ("http://h.test/", ["a=1; Expires=some day"], "http://h.test/x", "a=1"),
        ("http://h.test/", ["a=1; Max-Age=999999999999999999"], "http://h.test/x", "a=1"),
        ("http://h.test/", ["a=1; Path=/", "a=; Max-Age=0; Path=/get"], "http://h.test/x", "a=1"),
        ("http://h.test/", ["a=1; Max-Age=0", "a=2"], "http://h.test/x", "a=2"),
        # values
        ("http://h.test/", ['q="a b"; Path=/'], "http://h.test/x", 'q="a b"'),
        ("http://h.test/", ["t=a=b, c; Partitioned; HttpOnly; SameSite=None"], "http://h.test/x", "t=a=b, c"),
        ("http://h.test/", ["a= 1 ;Path=/"], "http://h.test/x", "a=1"),
        ("http://h.test/", ["a="], "http://h.test/x", "a="),
        ("http://h.test/", ["=1", "a", "", ";", "; Path=/"], "http://h.test/x", ""),
        ("http://h.test/", ['a=1; Version=1; Port="1"; Discard'], "http://h.test/x", "a=1"),
        ("http://h.test/", ["a=\x00"], "http://h.test/x", ""),
        ("http://h.test/", ["a=" + "x" * 5000], "http://h.test/x", ""),
        ("http://h.test/", ["b=1", "a=2", "b=3"], "http://h.test/x", "b=3; a=2"),
    ],
)  # fmt: skip
def test_a_cookie_goes_where_its_response_says(url, lines, asked, field):
    cookies = Cookies()
    cookies.keep(MAIN_JAR, url, lines)
    assert cookies.field(MAIN_JAR, asked) == field


@pytest.mark.parametrize("domain", ["", "; Domain=h.test"])
def test_no_cookie_over_http_replaces_a_secure_one(domain):
    cookies = Cookies()
    cookies.keep(MAIN_JAR, "https://h.test/", ["a=mine; Secure; Path=/", "b=1; Path=/"])
    cookies.keep(MAIN_JAR, "http://h.test/", [f"a=theirs; Path=/{domain}", "b=2; Path=/"])
    assert cookies.field(MAIN_JAR, "https://h.test/x") == "a=mine; b=2"
    assert cookies.field(MAIN_JAR, "http://h.test/x") == "b=2"


def test_no_site_removes_the_cookies_of_another():
    cookies = Cookies()
    cookies.keep(MAIN_JAR, "http://one.test/", ["a=1; Domain=one.test"])
    cookies.keep(MAIN_JAR, "http://other.test/", ["a=; Max-Age=0; Domain=one.test"])
    assert cookies.field(MAIN_JAR, "http://one.test/") == "a=1"


@pytest.mark.parametrize(
    ("line", "removed"),
    [("a=; Max-Age=0", {"a"}), ("a=1", set()), ("a=1; Secure", set()), ("a=; Max-Age=0; Domain=other.test", set())],
)
def test_what_a_line_removes_is_told_also_if_the_jar_has_no_such_cookie(line, removed):
    assert Cookies().keep(MAIN_JAR, "http://h.test/", [line]) == removed


def test_jars_are_apart():
    cookies = Cookies()
    cookies.keep(7, "http://h.test/", ["a=7"])
    assert (cookies.field(7, "http://h.test/"), cookies.field(8, "http://h.test/")) == ("a=7", "")
    assert (cookies.has_any(7), cookies.has_any(8)) == (True, False)


def test_a_site_that_sets_ever_new_cookies_has_the_newest_of_them():
    cookies = Cookies()
    cookies.keep(MAIN_JAR, "http://h.test/", [f"a{number}={number}" for number in range(500)])
    pairs = cookies.field(MAIN_JAR, "http://h.test/").split("; ")
    assert (len(pairs), pairs[-1]) == (180, "a499=499")


def joined(one, other):
    """Two copies of the jars of a run, with pickles between them."""

    def to_other(jar, change):
        other.apply(jar, pickle.loads(pickle.dumps(change)), sent_by=to_one)

    def to_one(jar, change):
        one.apply(jar, pickle.loads(pickle.dumps(change)), sent_by=to_other)

    one.subscribe(to_other)
    other.subscribe(to_one)


def test_each_process_has_the_cookies_of_all():
    leader, early, late = Cookies(), Cookies(), Cookies()
    joined(leader, early)
    leader.keep(MAIN_JAR, "http://h.test/", ["a=1", "b=1; Domain=h.test"])
    early.keep(MAIN_JAR, "http://h.test/", ["c=1", "a=; Max-Age=0"])
    joined(leader, late)
    late.keep(3, "http://h.test/", ["d=1"])
    for one in (leader, early, late):
        assert one.field(MAIN_JAR, "http://h.test/") == "c=1; b=1"
        assert one.field(3, "http://h.test/") == "d=1"


def test_a_cookie_that_comes_again_is_not_sent_again():
    cookies, told = Cookies(), []
    cookies.subscribe(lambda jar, change: told.append(change))
    for _ in range(5):
        cookies.keep(MAIN_JAR, "http://h.test/", ["a=1"])
    assert len(told) == 1


def test_threads_share_a_jar():
    cookies = Cookies()

    def work(number):
        for turn in range(50):
            url = f"http://h{turn}.test/"
            cookies.keep(MAIN_JAR, url, [f"a{number}={turn}"])
            assert f"a{number}={turn}" in cookies.field(MAIN_JAR, url)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cookies.field(MAIN_JAR, "http://h7.test/").split("; ")) == 4


def of_file(tmp_path, text):
    path = tmp_path / "cookies.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    cookies = Cookies()
    for cookie in read_cookies(path):
        cookies.apply(MAIN_JAR, cookie)
    return cookies


@pytest.mark.parametrize(
    ("line", "asked", "field"),
    [
        (".h.test\tTRUE\t/\tFALSE\t0\ta\t1", "http://www.h.test/", "a=1"),
        ("h.test\tTRUE\t/\tFALSE\t4102444800\ta\t1", "http://www.h.test/", "a=1"),
        ("h.test\tFALSE\t/\tFALSE\t\ta\t1", "http://h.test/", "a=1"),
        ("h.test\tFALSE\t/\tFALSE\t0\ta\t1", "http://www.h.test/", ""),
        ("h.test\tFALSE\t/x\tFALSE\t0\ta\t1", "http://h.test/", ""),
        ("#HttpOnly_h.test\tFALSE\t/\tFALSE\t0\ta\t1", "http://h.test/", "a=1"),
        ("h.test\tFALSE\t/\tTRUE\t0\ta\t1", "http://h.test/", ""),
        ("h.test\tFALSE\t/\tTRUE\t0\ta\t1", "https://h.test/", "a=1"),
        ("h.test\tFALSE\t/\tFALSE\t1\ta\t1", "http://h.test/", ""),
        ("h.test\tFALSE\t/\tFALSE\t4102444800.5\ta\t", "http://h.test/", "a="),
        ("127.0.0.1\tTRUE\t/\tFALSE\t0\ta\t1", "http://127.0.0.1/", "a=1"),
        ("localhost\tFALSE\t/\tFALSE\t0\ta\t1", "http://localhost/", "a=1"),
        ('h.test\tFALSE\t/\tFALSE\t0\tq\t"a b"', "http://h.test/", 'q="a b"'),
    ],
)
def test_cookies_of_a_file_go_where_it_says(tmp_path, line, asked, field):
    for text in (line, f"# Netscape HTTP Cookie File\n\n{line}\n", f"\ufeff# HTTP cookie file.\r\n{line}\r\n"):
        assert of_file(tmp_path, text).field(MAIN_JAR, asked) == field


@pytest.mark.parametrize("text", ["h.test a 1", '[{"name": "s3cr3t"}]', "h.test\tTRUE\t/\tFALSE\tsoon\ta\ts3cr3t"])
def test_a_file_of_another_kind_is_refused_without_its_secrets(tmp_path, text):
    with pytest.raises(UsageProblem, match="line 2 is no cookie") as refused:
        of_file(tmp_path, f"# a comment\n{text}\n")
    assert "s3cr3t" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageProblem, match=r"cookies\.txt: cannot be read"):
        list(read_cookies(tmp_path / "cookies.txt"))
