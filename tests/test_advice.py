"""The commands that a summary advises."""

import sys

import pytest

from mediacrawl import settings as project
from mediacrawl.fetch.advice import advice_for_crawl, advice_for_get, command_line, retry_command


def settings(**more):
    return {"COMMANDS_MODULE": project.COMMANDS_MODULE, **more}


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/usr/bin/python3", "/opt/bin/scrapy", "crawl", "demo"], "scrapy crawl demo"),
        (["python", "-m", "mediacrawl", "crawl", "demo"], "python -m mediacrawl crawl demo"),
        (["python", "-X", "dev", "-m", "scrapy", "crawl"], "python -X dev -m scrapy crawl"),
        (["python", "scrapy", "crawl", "x", "-a", "file=my list.txt"], "scrapy crawl x -a 'file=my list.txt'"),
        (["python", "scrapy", "get", "http://h/a?b&c"], "scrapy get 'http://h/a?b&c'"),
        (["python", "scrapy", "get", "http://user:s3cr3t@h/a"], "scrapy get 'http://***@h/a'"),
        (["python", "scrapy", "get", "http://user:s3@cr3t@h/a"], "scrapy get 'http://***@h/a'"),
        (["python", "scrapy", "get", "http://h/a@b", "http://h?c@d"], "scrapy get http://h/a@b 'http://h?c@d'"),
        (
            ["python", "scrapy", "crawl", "site", "-a", "urls=http://u:s3cr3t@h/,https://:s3cr3t@i/"],
            "scrapy crawl site -a 'urls=http://***@h/,https://***@i/'",
        ),
        (["python", "get", "http://h/caf\udce9 a.png", "\udce9"], r"get 'http://h/caf%E9 a.png' $'\351'"),
        (["python"], ""),
        # Credentials in options; what every server may see stays.
        (
            [
                "python",
                "mediacrawl",
                "get",
                "--cookie",
                "a=s3cr3t",
                "--header=X-Key: s3cr3t",
                "--header",
                "DNT: 1",
                "x",
            ],
            "mediacrawl get --cookie 'a=***' '--header=X-Key: ***' --header 'DNT: 1' x",
        ),
        (
            [
                "python",
                "mediacrawl",
                "crawl",
                "x",
                "-s",
                "HTTPAUTH_PASS=s3",
                "-sAPI_TOKEN=s3",
                "-a",
                "password=s3=1",
            ],
            "mediacrawl crawl x -s 'HTTPAUTH_PASS=***' '-sAPI_TOKEN=***' -a 'password=***'",
        ),
        (["python", "mediacrawl", "crawl", "x", "--set=MY_SECRET=s3"], "mediacrawl crawl x '--set=MY_SECRET=***'"),
        (
            ["python", "mediacrawl", "crawl", "x", "-s", "SESSION_COOKIE=s3"],
            "mediacrawl crawl x -s 'SESSION_COOKIE=***'",
        ),
        *(
            (["python", "mediacrawl", "crawl", "x", "-s", pair], f"mediacrawl crawl x -s {pair}")
            for pair in ("MEDIACRAWL_COOKIES=cookies.txt", "COOKIES_ENABLED=False", "MEDIACRAWL_SESSION_FACTORY=a.b")
        ),
        # Scrapy's parser accepts a beginning of the name of an option.
        (
            ["python", "mediacrawl", "get", "--head", "X-Key: s3cr3t", "--hea=Cookie: a=s3cr3t", "x"],
            "mediacrawl get --head 'X-Key: ***' '--hea=Cookie: ***' x",
        ),
        (
            ["python", "mediacrawl", "get", "--cooki", "a=s3cr3t", "--header", "Referer: http://u:s3cr3t@h/", "x"],
            "mediacrawl get --cooki 'a=***' --header 'Referer: http://***@h/' x",
        ),
        (
            [
                "python",
                "mediacrawl",
                "crawl",
                "x",
                "--se",
                "HTTPAUTH_PASS=s3",
                "--s=FTP_PASSWORD=s3",
                "-s=MAIL_PASS=s3",
            ],
            "mediacrawl crawl x --se 'HTTPAUTH_PASS=***' '--s=FTP_PASSWORD=***' '-s=MAIL_PASS=***'",
        ),
        (
            [
                "python",
                "mediacrawl",
                "crawl",
                "x",
                "-a",
                "login=me:s3",
                "-aheaders={'X': 's3'}",
                "-a",
                "sessionid=s3",
            ],
            "mediacrawl crawl x -a 'login=***' '-aheaders=***' -a 'sessionid=***'",
        ),
        (
            [
                "python",
                "mediacrawl",
                "crawl",
                "x",
                "-s",
                'DEFAULT_REQUEST_HEADERS={"X-Api": "s3"}',
                "-o",
                "ftp://u:s3@h/f",
            ],
            "mediacrawl crawl x -s 'DEFAULT_REQUEST_HEADERS=***' -o 'ftp://***@h/f'",
        ),
    ],
)
def test_the_command_can_be_pasted_again_and_tells_no_password(monkeypatch, argv, shown):
    monkeypatch.setattr(sys, "orig_argv", argv)
    assert command_line() == shown
    assert "s3" not in command_line()


def test_a_program_that_path_does_not_find_is_named_by_its_path(monkeypatch, tmp_path):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mediacrawl").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "here"))
    for folder, shown in (("here", "mediacrawl get x"), ("there", f"{tmp_path}/there/mediacrawl get x")):
        monkeypatch.setattr(sys, "orig_argv", ["python", f"{tmp_path}/{folder}/mediacrawl", "get", "x"])
        assert command_line() == shown


@pytest.mark.parametrize(
    ("argv", "given", "shown"),
    [
        (["python", "mediacrawl", "crawl", "x"], {}, "mediacrawl retry -s FILES_STORE=downloads"),
        (["python", "scrapy", "crawl", "x"], {"FILES_STORE": "a b"}, "scrapy retry -s 'FILES_STORE=a b'"),
        (["python", "-m", "mediacrawl", "crawl"], {}, "python -m mediacrawl retry -s FILES_STORE=downloads"),
        # A project without our commands, and a program of its own
        (["python", "scrapy", "crawl"], {"COMMANDS_MODULE": ""}, "mediacrawl retry -s FILES_STORE=downloads"),
        (["python", "crawl.py", "x"], {}, "mediacrawl retry -s FILES_STORE=downloads"),
        ([], {}, "mediacrawl retry -s FILES_STORE=downloads"),
        # The settings of the command line, except those of the one crawl
        (
            [
                "python",
                "mediacrawl",
                "crawl",
                "x",
                "-s",
                "JOBDIR=j",
                "-sDOWNLOAD_DELAY=1",
                "--set=CLOSESPIDER_X=1",
            ],
            {},
            "mediacrawl retry -s FILES_STORE=downloads -s DOWNLOAD_DELAY=1",
        ),
        (
            [
                "python",
                "mediacrawl",
                "crawl",
                "x",
                "-s",
                "MEDIACRAWL_LEDGER=l",
                "-s",
                "FEED_URI=f",
                "-s",
                "USER_AGENT=a b",
            ],
            {"MEDIACRAWL_LEDGER": "l"},
            "mediacrawl retry -s FILES_STORE=downloads -s MEDIACRAWL_LEDGER=l -s 'USER_AGENT=a b'",
        ),
        (
            ["python", "mediacrawl", "crawl", "x", "-s", "HTTPAUTH_PASS=s3", "-s", "P=http://u:p@h"],
            {},
            "mediacrawl retry -s FILES_STORE=downloads -s 'HTTPAUTH_PASS=***' -s 'P=http://***@h'",
        ),
    ],
)
def test_a_retry_has_the_store_and_the_settings_of_the_run(monkeypatch, argv, given, shown):
    monkeypatch.setattr(sys, "orig_argv", argv)
    assert retry_command(settings(**given)) == shown
    assert retry_command(settings(**given), permanent=True) == shown.replace("retry", "retry --permanent")


RETRY = "mediacrawl retry -s FILES_STORE=downloads"
PERMANENT = RETRY.replace("retry", "retry --permanent")


@pytest.mark.parametrize(
    ("words", "given", "again", "permanent"),
    [
        ("crawl x", {}, "mediacrawl crawl x", PERMANENT),
        ("crawl urllist -a file=-", {}, RETRY, PERMANENT),
        ("crawl x", {"MEDIACRAWL_RETRY_PERMANENT_DAYS": "0"}, "mediacrawl crawl x", "mediacrawl crawl x"),
        ("retry", {}, "mediacrawl retry", PERMANENT),
        ("retry --permanent", {}, "mediacrawl retry --permanent", "mediacrawl retry --permanent"),
        ("get -i l", {}, "mediacrawl get -i l", "mediacrawl get -i l -s MEDIACRAWL_RETRY_PERMANENT_DAYS=0"),
        ("get -i l", {"MEDIACRAWL_RETRY_PERMANENT_DAYS": 0}, "mediacrawl get -i l", "mediacrawl get -i l"),
        ("get -i -", {}, RETRY, PERMANENT),
    ],
)
def test_what_a_command_advises(monkeypatch, words, given, again, permanent):
    monkeypatch.setattr(sys, "orig_argv", ["python", "mediacrawl", *words.split()])
    chosen = settings(**given)
    get = words.startswith("get")
    advice = advice_for_get(chosen, words.split()[-1]) if get else advice_for_crawl(chosen)
    assert advice == (f"mediacrawl {words}", again, permanent)
