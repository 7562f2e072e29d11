"""When an upload by FTP is whole: the rule alone."""

from __future__ import annotations

import pytest

from mediacrawl.server.ftp.settlement import Settlement, is_whole_length, settle

OPEN, WHOLE, PART = Settlement


@pytest.mark.parametrize(
    ("command", "path", "settlement"),
    [
        ("QUIT", "", WHOLE),
        ("STOR", "b", WHOLE),
        ("RETR", "a", WHOLE),
        ("SIZE", "b", WHOLE),
        ("MLST", "b", WHOLE),
        ("LIST", "", WHOLE),
        ("CWD", "films", WHOLE),
        ("USER", "anna", WHOLE),
        ("XYZW", "", WHOLE),
        ("ABOR", "", PART),
        ("STOR", "a", PART),
        ("APPE", "a", PART),
        ("DELE", "a", PART),
        ("SIZE", "a", OPEN),
        ("MDTM", "a", OPEN),
        ("MLST", "a", OPEN),
        ("RNFR", "a", OPEN),
        ("RNTO", "b", OPEN),
        ("MFMT", "a", OPEN),
        ("RNFR", "b", WHOLE),
        ("MFMT", "b", WHOLE),
        ("REST", "100", OPEN),
        ("REST", "a", OPEN),
        ("PASV", "", OPEN),
        ("EPSV", "", OPEN),
        ("PORT", "1,2,3,4,5,6", OPEN),
        ("TYPE", "I", OPEN),
        ("ALLO", "7", OPEN),
        ("NOOP", "", OPEN),
    ],
)
def test_the_next_command_tells_whether_an_upload_is_whole(command, path, settlement):
    assert settle("a", command, path) is settlement


@pytest.mark.parametrize(
    ("announced", "offset", "begun_at", "is_whole"),
    [
        (None, 5, 0, True),
        (None, 0, 0, True),
        (5, 5, 0, True),
        (5, 4, 0, False),
        (5, 6, 0, False),
        (9, 9, 4, True),  # of the whole file
        (5, 9, 4, True),  # of the rest
        (9, 8, 4, False),
    ],
)
def test_an_announced_length_is_that_of_the_file_or_of_its_rest(announced, offset, begun_at, is_whole):
    assert is_whole_length(announced, offset, begun_at) is is_whole
