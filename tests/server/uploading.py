"""What the tests of uploads share: people, wishes, and a client of tus that does as it is told."""

from __future__ import annotations

import base64
import hashlib
import random

from mediacrawl.server.accounts.rights import Person
from mediacrawl.server.uploads.uploads import UploadWish

ANNA = Person("anna", can_upload=True)
BERT = Person("bert", can_upload=True)
MIB = 1024 * 1024
TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = TUS | {"Content-Type": "application/offset+octet-stream"}


def content(size, seed=1):
    return random.Random(seed).randbytes(size)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def wish(name="a.jpg", length=None, person=ANNA, folder="", **more):
    return UploadWish(person, folder, name, length, **more)


def uploaded(uploads, data, *arguments, **more):
    """Upload all bytes at once; return the path of the file."""
    more.setdefault("length", len(data))
    facts = uploads.create(wish(*arguments, **more))
    person = more.get("person", ANNA)
    writer = uploads.writer(facts.id, person, 0)
    writer.write(data)
    writer.close()
    return uploads.finish(facts.id, person)


def metadata(**pairs):
    told = (f"{key} {base64.b64encode(str(value).encode()).decode()}" for key, value in pairs.items())
    return {"Upload-Metadata": ",".join(told)}


def checksum(data, algorithm="sha256"):
    digest = hashlib.new(algorithm, data).digest()
    return {"Upload-Checksum": f"{algorithm} {base64.b64encode(digest).decode()}"}


def basic(name, password="x"):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}
