"""tus as decisions: which request asks for what, which is refused how, and what is told."""

from __future__ import annotations

import base64
import json

import pytest
from uploading import CHUNK, TUS, checksum, metadata

from mediacrawl.errors import DiskFull, StoreNotWritable
from mediacrawl.server.ranges import PlannedResponse
from mediacrawl.server.uploads import problems, protocol
from mediacrawl.server.uploads.protocol import Append, Create, Describe, Join, ListUploads, Remove, Tell
from mediacrawl.server.uploads.records import Checksum, UploadFacts

ID = "abcDEF-_0123456789"
FACTS = UploadFacts(ID, "anna", "~anna/a b.jpg", 10, 4, 1_700_000_000.0, metadata="a YQ==", concat="partial")


def asked(method, name="", headers=(), base="/uploads/"):
    fields = {key.lower(): value for key, value in dict(headers).items()}
    return protocol.command_of(protocol.UploadRequest(method, name, fields.get, base))


def fields_of(response):
    return {name.lower(): value for name, value in response.headers}


@pytest.mark.parametrize(
    ("method", "name", "headers", "command"),
    [
        ("OPTIONS", "", {}, Describe()),
        ("OPTIONS", ID, {}, Describe()),
        ("GET", "", {}, ListUploads()),
        ("HEAD", ID, TUS, Tell(ID)),
        ("DELETE", ID, TUS, Remove(ID)),
        ("PATCH", ID, CHUNK | {"Upload-Offset": "3", "Content-Length": "7"}, Append(ID, 3, 7, None)),
        ("PATCH", ID, CHUNK | {"Upload-Offset": "3"}, Append(ID, 3, None, None)),
        ("POST", ID, CHUNK | {"Upload-Offset": "3", "X-HTTP-Method-Override": "PATCH"}, Append(ID, 3, None, None)),
        ("POST", ID, TUS | {"X-HTTP-Method-Override": "DELETE"}, Remove(ID)),
        ("POST", "", TUS | {"Upload-Length": "5"}, Create(5, {}, "", False, False, None, None)),
        (
            "POST",
            "",
            TUS | {"Upload-Length": "5", "Content-Length": "0", "Upload-Concat": "partial"},
            Create(5, {}, "", True, False, 0, None),
        ),
        (
            "POST",
            "",
            CHUNK | {"Upload-Length": "5", "Content-Length": "2"} | metadata(filename="é"),
            Create(5, {"filename": "é"}, metadata(filename="é")["Upload-Metadata"], False, True, 2, None),
        ),
        (
            "POST",
            "",
            TUS | {"Upload-Concat": f"final;/uploads/{ID} https://h/uploads/{ID[::-1]}"},
            Join((ID, ID[::-1]), {}, "", f"final;/uploads/{ID} https://h/uploads/{ID[::-1]}"),
        ),
    ],
)
def test_a_request_is_a_command(method, name, headers, command):
    assert asked(method, name, headers) == command


@pytest.mark.parametrize(
    ("method", "name", "headers", "status"),
    [
        ("POST", "", {"Upload-Length": "5"}, 412),
        ("POST", "", {"Upload-Length": "5", "Tus-Resumable": "0.2.2"}, 412),
        ("HEAD", ID, {}, 412),
        ("POST", "", TUS, 400),
        ("POST", "", TUS | {"Upload-Defer-Length": "1"}, 400),
        ("POST", "", TUS | {"Upload-Length": "-5"}, 400),
        ("POST", "", TUS | {"Upload-Length": "5, 5"}, 400),
        ("POST", "", TUS | {"Upload-Length": "9" * 5000}, 400),
        ("POST", "", TUS | {"Upload-Length": str(1 << 51)}, 413),
        ("POST", "", TUS | {"Upload-Length": "5", "Content-Length": "2", "Content-Type": "image/jpeg"}, 415),
        ("POST", "", CHUNK | {"Upload-Length": "5", "Content-Length": "6"}, 413),
        ("POST", "", TUS | {"Upload-Length": "5", "Upload-Metadata": "a b c"}, 400),
        ("POST", "", TUS | {"Upload-Length": "5", "Upload-Metadata": "a YQ==,a YQ=="}, 400),
        ("POST", "", TUS | {"Upload-Length": "5", "Upload-Metadata": "a /w=="}, 400),
        ("POST", "", TUS | {"Upload-Length": "5", "Upload-Metadata": "\x00"}, 400),
        ("POST", "", TUS | {"Upload-Length": "5", "Upload-Metadata": "a " + "YQ" * 4000}, 400),
        ("POST", "", TUS | {"Upload-Concat": "final;/other/x"}, 400),
        ("POST", "", TUS | {"Upload-Concat": "final;/uploads/../x"}, 400),
        ("POST", "", TUS | {"Upload-Concat": "final;http://[x/uploads/y"}, 400),
        ("POST", "", TUS | {"Upload-Concat": "whole"}, 400),
        ("PATCH", ID, TUS | {"Upload-Offset": "0"}, 415),
        ("PATCH", ID, CHUNK, 400),
        ("PATCH", ID, CHUNK | {"Upload-Offset": "x"}, 400),
        ("PATCH", ID, CHUNK | {"Upload-Offset": "0", "Upload-Checksum": "md5 AAAA"}, 400),
        ("PATCH", ID, CHUNK | {"Upload-Offset": "0", "Upload-Checksum": "sha1 AAAA"}, 400),
        ("PATCH", ID, CHUNK | {"Upload-Offset": "0", "Upload-Checksum": "sha1"}, 400),
        ("PATCH", "", CHUNK, 405),
        ("PUT", ID, TUS, 405),
        ("GET", ID, TUS, 405),
        ("POST", ID, TUS | {"X-HTTP-Method-Override": "PUT"}, 405),
        ("HEAD", "../x", TUS, 404),
        ("HEAD", "x" * 100, TUS, 404),
    ],
)
def test_a_request_that_cannot_be_carried_out_is_refused(method, name, headers, status):
    response = asked(method, name, headers)
    assert isinstance(response, PlannedResponse)
    assert response.status == status
    assert (fields_of(response)["tus-resumable"], fields_of(response)["cache-control"]) == ("1.0.0", "no-store")
    if status == 412:
        assert fields_of(response)["tus-version"] == "1.0.0"


def test_a_checksum_is_read():
    headers = CHUNK | {"Upload-Offset": "0"}
    for algorithm in ("sha1", "sha256"):
        found = asked("PATCH", ID, headers | checksum(b"x", algorithm)).checksum
        assert found == Checksum(algorithm, base64.b64decode(checksum(b"x", algorithm)["Upload-Checksum"].split()[1]))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"filename": "a.jpg"}, ("", "a.jpg", None, None)),
        ({"name": "a.jpg", "relativePath": "null"}, ("", "a.jpg", None, None)),
        ({"name": "a.jpg", "relativePath": "undefined"}, ("", "a.jpg", None, None)),
        ({"filename": "null"}, ("", "null", None, None)),
        ({"relativePath": "", "filename": "", "name": "undefined"}, ("", "undefined", None, None)),
        ({"filename": "a.jpg", "relativePath": "x/a.jpg", "folder": "y"}, ("y", "x/a.jpg", None, None)),
        ({"lastModified": "1700000000500"}, ("", "", None, 1_700_000_000.5)),
        ({"modified": "1700000000", "lastModified": "5"}, ("", "", None, 1_700_000_000.0)),
        ({"modified": "inf", "lastModified": "-1"}, ("", "", None, None)),
        ({"sha256": "A" * 64}, ("", "", "A" * 64, None)),
    ],
)
def test_metadata_say_what_the_file_is(told, expected):
    assert protocol.announced_file(told) == expected


def test_a_digest_that_is_none_is_refused():
    with pytest.raises(protocol.BadRequest):
        protocol.announced_file({"sha256": "x"})


def test_what_is_told():
    assert (
        fields_of(protocol.created(FACTS, "/media/uploads/", "/media/files/"))["location"] == f"/media/uploads/{ID}"
    )
    told = protocol.told(FACTS, "/files/")
    assert (told.status, fields_of(told)) == (
        200,
        {
            "tus-resumable": "1.0.0",
            "upload-offset": "4",
            "upload-length": "10",
            "upload-expires": "Tue, 14 Nov 2023 22:13:20 GMT",
            "upload-metadata": "a YQ==",
            "upload-concat": "partial",
            "content-length": "0",
            "cache-control": "no-store",
        },
    )
    whole = fields_of(protocol.appended(FACTS._replace(offset=10, is_published=True), "/files/"))
    assert (whole["content-location"], "upload-expires" in whole) == ("/files/~anna/a%20b.jpg", False)
    options = fields_of(protocol.capabilities())
    assert options["tus-extension"].split(",") == [
        *("creation", "creation-with-upload", "checksum", "expiration", "termination", "concatenation")
    ]
    assert options["tus-checksum-algorithm"] == "sha1,sha256"
    assert not [name for name in options if name.startswith("access-control")]
    listed = json.loads(protocol.listed([FACTS], 5, is_buffered=False).body[0])
    assert (listed["uploads"][0]["path"], listed["left_bytes"], listed["is_buffered"]) == ("~anna/a b.jpg", 5, False)
    assert listed["uploads"][0]["metadata"] == FACTS.metadata


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (problems.NoSuchUpload("x"), 404),
        (problems.NameRefused("x"), 403),
        (problems.QuotaSpent("x"), 413),
        (problems.TooManyUploads("x"), 429),
        (problems.UploadTooLarge("x"), 413),
        (problems.OffsetConflict(5, 3), 409),
        (problems.TakenOver("x"), 409),
        (problems.ChecksumMismatch("x"), 460),
        (problems.UploadInUse("x"), 423),
        (problems.SilentClient("x"), 408),
        (DiskFull("no space left for /srv/secret"), 507),
        (StoreNotWritable("cannot write /srv/secret"), 503),
    ],
)
def test_each_problem_has_a_status_and_no_path_of_the_machine(error, status):
    response = protocol.refused(error)
    assert response.status == status
    assert b"/srv" not in response.body[0]
    if status == 409 and isinstance(error, problems.OffsetConflict):
        assert fields_of(response)["upload-offset"] == "5"


@pytest.mark.parametrize(
    ("origin", "scheme", "host", "is_own"),
    [
        ("http://localhost:8000", "http", "localhost:8000", True),
        ("https://media.example", "https", "media.example", True),
        ("https://media.example", "https", "MEDIA.example:443", True),
        ("http://media.example", "https", "media.example", False),
        ("https://media.example:8443", "https", "media.example", False),
        ("https://media.example.evil.example", "https", "media.example", False),
        ("null", "https", "media.example", False),
        ("", "http", None, False),
    ],
)
def test_an_origin_is_compared_with_scheme_and_host(origin, scheme, host, is_own):
    assert protocol.is_own_origin(origin, scheme, host) == is_own
