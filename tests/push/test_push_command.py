"""`mediacrawl push`: what a person types and reads, and kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from origin import Pattern
from pushing import PATIENCE_S
from tus_origin import TusOrigin, refuse, run_before, stop_after

BODY = Pattern(3_000_000, 1).read()


@pytest.fixture(scope="module")
def tus():
    with TusOrigin() as running:
        yield running


@pytest.fixture
def command(tmp_path, tus):
    tus.uploads.clear()
    tus.faults.clear()
    tus.requests.clear()

    def start(*words):
        return subprocess.Popen(
            [sys.executable, "-m", "mediacrawl", "push", *map(str, words)],
            cwd=tmp_path,
            env=os.environ | {"XDG_STATE_HOME": str(tmp_path / "state"), "NETRC": "", "COLUMNS": "80"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def ended(process):
    out, err = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def write(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_each_file_is_a_line_and_a_second_run_sends_nothing(command, tus, tmp_path):
    write(tmp_path, "films/a.mp4", BODY)
    write(tmp_path, "films/b.txt", b"hello")
    status, out, err = ended(command("films", tus.url))
    assert (status, err) == (0, "")
    assert sorted(line.rpartition(" ")[2] for line in out.splitlines()) == ["(3.00MB)", "(5B)"]
    assert tus.files == {"films/a.mp4": BODY, "films/b.txt": b"hello"}
    status, out, _ = ended(command("--json", "films", tus.url))
    results = [json.loads(line) for line in out.splitlines()]
    assert (status, {result["status"] for result in results}) == (0, {"present"})
    assert {Path(result["path"]).name: result["size"] for result in results} == {
        "a.mp4": 3_000_000,
        "b.txt": 5,
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("a", "sftp://me:s3cret@h/"), "sftp://h/: files are sent to a server of tus (http, https) or of FTP"),
        (("a", "h/x"), "h/x: files are sent to a server of tus (http, https) or of FTP (ftp, ftps)"),
        (("a",), "push: give the files or folders to be sent, and then the URL of the server"),
        (("missing", "http://h/"), "missing: No such file or directory; nothing was sent"),
        (("-n", "99", "a", "http://h/"), "-n must be between 1 and 16"),
        (("a", "ftp://h/a%0d%0aDELE"), "a line end or NUL in the path, the user name or the password"),
        (("-s", "MEDIACRAWL_STALL_S=0", "a", "http://h/"), "MEDIACRAWL_STALL_S=0 must be more than 0"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_nothing_is_done(command, tmp_path, words, says):
    write(tmp_path, "a", b"1")
    status, out, err = ended(command(*words))
    assert (status, out) == (2, "")
    assert says in err
    assert "s3cret" not in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "state").exists()


def test_what_fails_is_told_with_the_command_that_tries_it_again(command, tus, tmp_path):
    write(tmp_path, "a.mp4", BODY)
    tus.faults.append(refuse("POST", 403, "Not there, anna."))
    status, out, err = ended(
        command("a.mp4", tus.url.replace("//", "//anna:s3cret@"), "-s", "MEDIACRAWL_RETRY_TIMES=0")
    )
    assert (status, out) == (1, "")
    assert "sent 0, resumed 0, already there 0, failed 1" in err
    assert f"{tmp_path / 'a.mp4'}: HTTP 403 Forbidden: Not there, anna." in err
    assert "try the failed ones again: " in err
    assert "s3cret" not in err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_stopped_is_gone_on_with(command, tus, tmp_path, number):
    write(tmp_path, "a.mp4", BODY)
    process = command("a.mp4", tus.url, "-s", "MEDIACRAWL_RETRY_TIMES=0")
    tus.faults.append(stop_after(1_000_000, lambda: process.send_signal(number)))
    status, _, err = ended(process)
    assert status == (3 if number == signal.SIGINT else -signal.SIGKILL)
    if number == signal.SIGINT:
        assert "interrupted, nothing is lost; go on with: " in err
    (upload,) = tus.uploads.values()
    assert not upload.is_whole
    tus.faults.clear()
    status, out, _ = ended(command("--json", "a.mp4", tus.url))
    assert (status, tus.files) == (0, {"a.mp4": BODY})
    (result,) = map(json.loads, out.splitlines())
    assert (result["status"], result["saved"]) == ("resumed", 1_000_000)


def test_a_closed_output_ends_a_run_without_a_traceback(command, tus, tmp_path):
    for number in range(5):
        write(tmp_path, f"{number}.txt", b"x")
    process = command("-n", "1", *(f"{number}.txt" for number in range(5)), tus.url)
    tus.faults.append(run_before("POST", process.stdout.close))
    process.wait(PATIENCE_S)
    err = process.stderr.read()
    process.stderr.close()
    assert process.returncode in {1, 3}, err
    assert "Traceback" not in err
