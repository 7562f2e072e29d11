"""Files to a server of FTP: what breaks off goes on, and nothing that is of others is replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from certificates import Authority
from ftp_origin import FtpOrigin, drop_upload_after, refuse, unknown
from origin import Pattern
from pushing import ONCE
from real_ftp_server import RealFtpServer

from mediacrawl.push.ftp_target import _Way, plan_of
from mediacrawl.push.local_files import LocalFile
from mediacrawl.push.push_run import ALREADY_THERE, NOT_SENT, SENT_REST, SENT_WHOLE
from mediacrawl.push.push_state import Pushed
from mediacrawl.transport.authorities import Authorities
from mediacrawl.transport.ftp_files import FtpFacts

BODY = Pattern(700_000, 1).read()


@pytest.fixture
def ftp(tmp_path):
    with FtpOrigin(tmp_path / "remote", "anna", "s3:cret") as running:
        yield running


@pytest.fixture
def url(ftp):
    return f"ftp://anna:s3%3Acret@{ftp.netloc}/"


def there(ftp):
    """The files on the server, by their names."""
    files = (path for path in ftp.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(ftp.folder)): path.read_bytes() for path in files}


def statuses(results):
    return [result.status for result in results]


def test_files_and_folders_arrive_with_their_names_and_times(pusher, ftp, url):
    files = {"a.jpg": BODY, "b/c d.mp3": BODY[:1000], "b/\u6771/empty": b"", "caf\u00e9": b"x"}
    for name, data in files.items():
        pusher.write(name, data)
    results = pusher.push(f"{url}in/there", at_once=2)
    assert statuses(results) == [SENT_WHOLE] * 4
    assert there(ftp) == {f"in/there/local/{name}": data for name, data in files.items()}
    assert (ftp.folder / "in/there/local/a.jpg").stat().st_mtime == 1_700_000_000
    assert results[0].url == f"ftp://{ftp.netloc}/in/there/local/a.jpg"
    assert len(ftp.asked("USER")) <= 2


def test_a_connection_that_breaks_is_gone_on_with(pusher, ftp, url):
    pusher.write("a.jpg", BODY)
    ftp.faults += [drop_upload_after(200_000), drop_upload_after(400_000)]
    (result,) = pusher.push(url)
    assert (result.status, there(ftp)) == (SENT_WHOLE, {"local/a.jpg": BODY})
    assert [rest for rest in ftp.asked("REST") if rest in {"200000", "400000"}] == ["200000", "400000"]


GONE_ON = {
    "all is known": ([], "STOR"),
    "no REST": (unknown("REST"), "APPE"),
    "no MFMT, MDTM and MLST": (unknown("MFMT", "MDTM", "MLST"), "STOR"),
    "no SIZE": (unknown("SIZE"), "STOR"),
    "no EPSV": (unknown("EPSV"), "STOR"),
    "no file may be read": ([refuse("RETR", "550 Not enough privileges.")], "STOR"),
}


@pytest.mark.parametrize("name", GONE_ON)
def test_another_run_goes_on_with_what_an_earlier_one_has_begun(pusher, ftp, url, name):
    faults, command = GONE_ON[name]
    pusher.write("a.jpg", BODY)
    ftp.faults += [drop_upload_after(200_000), *faults]
    assert statuses(pusher.push(url, backoff=ONCE)) == [NOT_SENT]
    ftp.commands.clear()
    (result,) = pusher.push(url)
    assert (result.status, result.saved_bytes, there(ftp)) == (SENT_REST, 200_000, {"local/a.jpg": BODY})
    assert len(ftp.asked(command)) == 1
    ftp.commands.clear()
    assert statuses(pusher.push(url)) == [ALREADY_THERE]
    assert ftp.asked("STOR") == ftp.asked("APPE") == []


@pytest.mark.parametrize("is_readable", [False, True])
def test_an_upload_whose_end_the_server_has_not_heard_of_is_ended(pusher, ftp, url, is_readable):
    """All bytes are there; a server that lets no unfinished upload be read may wait for the end of this one."""
    pusher.write("a.jpg", BODY)
    ftp.faults.append(refuse("PWD", "421 Bye", times=1))
    if not is_readable:
        ftp.faults.append(refuse("RETR", "550 The file is not whole yet."))
    assert statuses(pusher.push(url, backoff=ONCE)) == [NOT_SENT]
    (result,) = pusher.push(url)
    assert (result.status, there(ftp)) == (SENT_REST, {"local/a.jpg": BODY})
    assert ftp.asked("REST")[-1:] == ([f"{len(BODY)}"] if not is_readable else [f"{len(BODY) - 64 * 1024}"])
    assert len(ftp.asked("STOR")) == (1 if is_readable else 2)
    ftp.commands.clear()
    assert statuses(pusher.push(url)) == [ALREADY_THERE]
    assert ftp.asked("STOR") == []


def test_what_another_has_written_over_the_begun_file_is_replaced_by_all_of_it(pusher, ftp, url):
    pusher.write("a.jpg", BODY)
    ftp.faults.append(drop_upload_after(200_000))
    pusher.push(url, backoff=ONCE)
    (ftp.folder / "local/a.jpg").write_bytes(b"x" * 200_000)
    (result,) = pusher.push(url)
    assert (result.status, there(ftp)) == (SENT_WHOLE, {"local/a.jpg": BODY})


def test_without_its_state_a_run_knows_a_complete_file_by_size_and_time(pusher, ftp, url):
    pusher.write("a.jpg", BODY)
    pusher.push(url)
    for path in pusher.state_folder.glob("push.sqlite3*"):
        path.unlink()
    assert statuses(pusher.push(url)) == [ALREADY_THERE]


def test_a_file_of_another_is_not_replaced(pusher, ftp, url):
    pusher.write("a.jpg", BODY)
    (ftp.folder / "local").mkdir()
    (ftp.folder / "local/a.jpg").write_bytes(b"mine")
    (result,) = pusher.push(url)
    assert (result.status, there(ftp)) == (NOT_SENT, {"local/a.jpg": b"mine"})
    assert result.reason == "another file of this name is there: remove it, or name another folder"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (refuse("STOR", "550 Not enough privileges."), "FTP 550 Not enough privileges."),
        (refuse("STOR", "552 Quota exceeded."), "FTP 552 Quota exceeded."),
        (refuse("PASS", "530 Login incorrect."), "FTP 530 Login incorrect; name the user as"),
        (refuse("USER", "421 Too many users"), "FTP 421 Too many users"),
    ],
)
def test_a_refusal_is_one_line_with_the_reply_and_without_the_password(pusher, ftp, url, fault, words):
    pusher.write("a.jpg", BODY)
    ftp.faults.append(fault)
    (result,) = pusher.push(url, backoff=ONCE)
    assert (result.status, there(ftp)) == (NOT_SENT, {})
    assert words in result.reason
    assert "cret" not in str(result)


def test_a_name_with_a_line_end_is_not_sent(pusher, ftp, url):
    pusher.write("a\r\nDELE b.jpg", BODY)
    pusher.write("c.jpg", BODY)
    assert statuses(pusher.push(url)) == [NOT_SENT, SENT_WHOLE]
    assert there(ftp) == {"local/c.jpg": BODY}
    assert ftp.asked("DELE") == []


def test_a_name_has_its_bytes(pusher, ftp, url):
    Path(os.fsdecode(os.fsencode(pusher.folder) + b"/\xe9")).write_bytes(BODY)
    ftp.faults.append(drop_upload_after(200_000))
    assert statuses(pusher.push(url)) == [SENT_WHOLE]


def test_a_file_that_is_changed_while_it_is_sent_is_no_success(pusher, ftp, url):
    path = pusher.write("a.jpg", BODY)
    ftp.faults.append(drop_upload_after(200_000))
    genuine = pusher.write

    def change(*_):
        genuine("a.jpg", BODY[::-1], at=1_700_000_001)
        return True

    fault = refuse("ALLO", "202 Fine.")
    fault.applies = lambda command: command == "ALLO" and change()
    ftp.faults.insert(0, fault)
    (result,) = pusher.push(url, path)
    assert result.status == NOT_SENT
    assert "it was changed while it was sent" in result.reason


def test_over_ftps_commands_and_data_are_encrypted_and_gone_on_with(pusher, tmp_path):
    authority = Authority(tmp_path)
    authority.context("127.0.0.1")
    pusher.write("a.jpg", BODY)
    certificate = tmp_path / "server1.pem"
    with FtpOrigin(tmp_path / "ftps", "anna", "s3cret", certificate=certificate, tls_required=True) as ftp:
        url = f"ftps://anna:s3cret@{ftp.netloc}/"
        (unknown_authority,) = pusher.push(url, authorities=Authorities(_other(tmp_path)))
        assert "the certificate of 127.0.0.1 is not accepted" in unknown_authority.reason
        assert ftp.asked("PASS") == []
        authorities = Authorities(str(authority.file))
        ftp.faults.append(drop_upload_after(200_000))
        assert statuses(pusher.push(url, authorities=authorities, backoff=ONCE)) == [NOT_SENT]
        (result,) = pusher.push(url, authorities=authorities)
        assert (result.status, there(ftp)) == (SENT_REST, {"local/a.jpg": BODY})


def _other(folder):
    (folder / "other").mkdir()
    return str(Authority(folder / "other").file)


FILE = LocalFile(None, "a", 1000, 1_700_000_000_500_000_000)
SAME, ELSE = "20231114221320", "20200101000000"
NEW, BEGUN, DONE = Pushed(), Pushed(is_begun=True), Pushed(is_begun=True, is_done=True)


@pytest.mark.parametrize(
    ("remote", "pushed", "way", "start"),
    [
        (None, NEW, _Way.BEGIN, 0),
        (None, BEGUN, _Way.BEGIN, 0),
        (None, DONE, _Way.BEGIN, 0),
        (FtpFacts(1000, SAME), NEW, _Way.SKIP, 0),
        (FtpFacts(1000, f"{SAME}.123"), NEW, _Way.SKIP, 0),
        (FtpFacts(1000, ELSE), NEW, _Way.REFUSE, 0),
        (FtpFacts(1000), NEW, _Way.REFUSE, 0),
        (FtpFacts(400, SAME), NEW, _Way.REFUSE, 0),
        (FtpFacts(None, SAME), NEW, _Way.REFUSE, 0),
        (FtpFacts(1000, ELSE), DONE, _Way.SKIP, 0),
        (FtpFacts(1000), DONE, _Way.SKIP, 0),
        (FtpFacts(400), DONE, _Way.REFUSE, 0),
        (FtpFacts(400, ELSE), BEGUN, _Way.GO_ON, 400),
        (FtpFacts(1000, ELSE), BEGUN, _Way.GO_ON, 1000),
        (FtpFacts(1000, SAME), BEGUN, _Way.GO_ON, 1000),
        (FtpFacts(0), BEGUN, _Way.GO_ON, 0),
        (FtpFacts(1001), BEGUN, _Way.BEGIN, 0),
        (FtpFacts(None, ELSE), BEGUN, _Way.BEGIN, 0),
    ],
)
def test_what_is_done_depends_on_what_is_there_and_on_what_was_sent(remote, pushed, way, start):
    assert plan_of(FILE, remote, pushed) == (way, start)


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_another_server_gets_the_rest_of_a_file_after_a_stop(pusher, tmp_path, is_encrypted):
    authority = Authority(tmp_path)
    authority.context("127.0.0.1")
    certificate = tmp_path / "server1.pem" if is_encrypted else None
    authorities = Authorities(str(authority.file))
    body = Pattern(6_000_000, 1).read()
    pusher.write("a b.bin", body)
    with RealFtpServer(tmp_path, certificate=certificate, rate=20_000_000) as server:
        sending = pusher.start(server.url("in/"), authorities=authorities)
        arrived = server.root / "in/local/a b.bin"
        while not (arrived.exists() and arrived.stat().st_size >= 1_000_000) and not sending.run.is_done:
            list(sending.run.results(0.002))
        sending.cancel.set()
        assert sending.wait() == []
        have = arrived.stat().st_size
        assert 1_000_000 <= have < len(body)
        (result,) = pusher.push(server.url("in/"), authorities=authorities)
        assert (result.status, arrived.read_bytes()) == (SENT_REST, body)
        assert result.saved_bytes >= have
        assert arrived.stat().st_mtime == 1_700_000_000
        assert statuses(pusher.push(server.url("in/"), authorities=authorities)) == [ALREADY_THERE]
