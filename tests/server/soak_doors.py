"""How the people of `test_upload_soak` send and fetch files: by tus, as the page does, by FTP, `push` and `get`.

Each function sends one file until the server has said that it is published, or refuses it for good. On the way its
client is cut, killed or held, as chance has it, and then goes on as a client of its kind does.
"""

from __future__ import annotations

import ftplib
import http.client
import json
import os
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager, suppress
from http import HTTPStatus
from urllib.parse import quote, unquote, urlencode

from ftp_server import begin, cut, logged_in
from serve_process import LIMIT_S, command
from soak import Cut, Patience, Refused, digest, files_below
from tusclient.client import TusClient as Tuspy
from tusclient.exceptions import TusCommunicationError, TusUploadFailed
from uploading import CHUNK, TUS, basic, checksum, metadata

PASSWORD = "correct horse battery"
REFUSED = {401, 403, 413}
LATER = {404, 408, 409, 423, 429, 460, 503}  # the next HEAD tells what has become of an upload that is gone
GONE = (*ftplib.all_errors, http.client.HTTPException, TusCommunicationError, TusUploadFailed)
QUICK = ("-s", "MEDIACRAWL_RETRY_TIMES=100", "-s", "MEDIACRAWL_BACKOFF_MAX_S=0.5")
PROCESSES = threading.BoundedSemaphore(2)  # at a time: each costs as much as many requests


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.fields = {}
        for name, value in response.getheaders():
            before = self.fields.get(name.lower())
            self.fields[name.lower()] = value if before is None else f"{before}, {value}"
        self.content = response.read()

    @property
    def path(self):
        """The path of a published file."""
        place = self.fields.get("content-location")
        return None if place is None else unquote(place).removeprefix("/files/")

    @property
    def offset(self):
        return int(self.fields["upload-offset"])


class Client:
    """A person at a server: the connections of all doors."""

    def __init__(self, soak, member, server, chance, folder):
        self.soak, self.member, self.server, self.chance = soak, member, server, chance
        self.folder = folder
        self.left_open = {}  # sessions of FTP whose network is gone, with their data connections

    def credentials(self, *, by_page=False):
        """Return the fields that say who asks: those of a program, or of a browser."""
        if not by_page:
            return basic(self.member.name, self.member.password)
        return {"Cookie": self.member.cookie, "Origin": f"http://127.0.0.1:{self.server.port}"}

    def ask(self, method, path, headers=(), body=None, stop=None):
        """Send a request, and return the answer; with `stop`, cut the connection after so many bytes of the content.

        What is in the answer is checked for secrets of others.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=LIMIT_S)
        try:
            connection.putrequest(method, path)
            length = {} if body is None else {"Content-Length": str(len(body))}
            for name, value in (dict(headers) | length).items():
                connection.putheader(name, value)
            connection.endheaders()
            for start in range(0, len(body or b"") if stop is None else stop, 65_536):
                connection.send(body[start : start + 65_536 if stop is None else min(stop, start + 65_536)])
                self.perhaps_hold()
            if stop is not None:
                raise Cut("cut by the client")
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        self.soak.check_seen(self.member.name, answer.content, f"{method} {path}")
        self.soak.count(f"{method} {answer.status}")
        return answer

    def perhaps_hold(self):
        """Now and then, hold an upload until a process is killed."""
        if self.chance.random() < 0.02:
            self.soak.wait_for("kills", self.soak.counts["kills"] + 1, within_s=5)

    def log_in(self):
        """Begin a session, as a browser does."""
        patience = Patience(self.soak, f"the login of {self.member.name}")
        while True:
            try:
                self.member.cookie = self._session()
                return
            except GONE as error:
                patience.wait(error)

    def _session(self):
        page = self.ask("GET", "/login")
        cookie = page.fields["set-cookie"].partition(";")[0]
        token = re.search(rb'name="csrfmiddlewaretoken" value="([^"]+)"', page.content)[1].decode()
        form = {"name": self.member.name, "password": PASSWORD, "csrfmiddlewaretoken": token}
        fields = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        answer = self.ask("POST", "/login", fields, urlencode(form).encode())
        if answer.status != HTTPStatus.FOUND:
            raise ConnectionError(f"no login: {answer.status}")
        return next(one for one in re.findall(r"[\w-]*session[\w-]*=\w+", answer.fields["set-cookie"]))

    @contextmanager
    def ftp(self, *, tls):
        client = logged_in(self.server.ftp_port, self.member.name, self.member.password, tls=tls)
        try:
            yield client
        finally:
            client.close()

    def leave_open(self, session, conn):
        """Keep a session of FTP whose network is gone, and close an older one."""
        if len(self.left_open) > 1:
            self.close()
        self.left_open[session] = conn

    def close(self):
        for session, conn in self.left_open.items():
            session.close()
            conn.close()
        self.left_open.clear()


# --- tus: a program, and the page -------------------------------------------------------------------


class _Tus:
    """One file on its way. The offset that the server tells never falls."""

    def __init__(self, client, file, *, by_page, with_checksum):
        self.client, self.file, self.data = client, file, file.data()
        self.chance, self.soak = client.chance, client.soak
        self.by_page, self.with_checksum = by_page, with_checksum
        self.url, self.told = None, 0
        self.is_perhaps_there = file.is_shared  # then the upload may have ended without a row
        self.token = f"{chance_text(self.chance)}"

    def ask(self, method, path, headers=(), body=None, stop=None):
        own = TUS | self.client.credentials(by_page=self.by_page)
        return self.client.ask(method, path, own | dict(headers), body, stop)

    def step(self):
        """Send something; return the path of the published file, None if that is not all."""
        if self.url is None:
            return self.create()
        answer = self.ask("HEAD", self.url)
        if answer.status == HTTPStatus.NOT_FOUND:
            if not self.is_perhaps_there:
                self.soak.complain(f"the upload of {self.file} is gone, {self.told} bytes had been told")
            self.begin_anew()
            return None
        self.check(answer)
        if answer.path is None and self.chance.random() < 0.05:
            self.is_perhaps_there = True  # it is removed, also if that is not answered
            self.check(self.ask("DELETE", self.url))
            self.begin_anew()
            return None
        return answer.path or self.append()

    def begin_anew(self):
        self.url, self.told = None, 0
        self.is_perhaps_there = True

    def create(self):
        if self.by_page and (known := self.lost()) is not None:
            self.url = known
            return None
        fields = metadata(filename=self.file.name, folder=self.file.folder, lastModified=self.token)
        fields |= {"Upload-Length": str(len(self.data))}
        body = None
        if self.by_page or self.chance.random() < 0.3:
            fields |= {"Content-Type": CHUNK["Content-Type"]}
            body = self.data[: self.chance.choice([0, 1000, len(self.data)])]
        self.is_perhaps_there |= body is not None and len(body) == len(self.data)  # unless the answer comes
        answer = self.ask("POST", "/uploads/", fields, body, self.stop(body))
        self.check(answer)
        self.url, self.told = answer.fields["location"], answer.offset
        self.soak.note_upload(self.file.person, self.url)
        return answer.path

    def lost(self):
        """Return the URL of an upload whose creation was not answered, as the page finds it."""
        answer = self.ask("GET", "/uploads/")
        self.check(answer)
        mine = [
            one for one in json.loads(answer.content)["uploads"] if self.own_metadata() in one["metadata"].split(",")
        ]
        return f"/uploads/{mine[0]['id']}" if mine else None

    def own_metadata(self):
        return metadata(lastModified=self.token)["Upload-Metadata"]

    def append(self):
        stop = len(self.data)
        if self.chance.random() < 0.5:
            stop = min(stop, self.told + self.chance.randrange(1, 600_000))
        body = self.data[self.told : stop]
        fields = CHUNK | {"Upload-Offset": str(self.told)}
        if self.with_checksum:
            fields |= checksum(body, self.chance.choice(["sha1", "sha256"]))
        answer = self.ask("PATCH", self.url, fields, body, self.stop(body))
        self.check(answer)
        return answer.path

    def stop(self, body):
        return self.chance.randrange(len(body)) if body and self.chance.random() < 0.15 else None

    def check(self, answer):
        """Note what an answer tells; raise an error unless it is a success."""
        if answer.status in REFUSED:
            raise Refused(answer.status, answer.content)
        if answer.status in LATER:
            raise ConnectionError(f"{answer.status}: {answer.content!r}")
        if answer.status not in {200, 201, 204}:
            self.soak.complain(f"{self.file}: {answer.status} {answer.content!r}")
            raise Refused(answer.status)
        if "upload-offset" in answer.fields:
            if answer.offset < self.told:
                self.soak.complain(f"the offset of {self.file} fell from {self.told} to {answer.offset}")
            self.told = answer.offset


def by_tus(client, file, *, by_page=False, with_checksum=False):
    upload = _Tus(client, file, by_page=by_page, with_checksum=with_checksum)
    return until_published(client, file, upload.step)


def by_page(client, file):
    return by_tus(client, file, by_page=True)


def by_tus_with_checksums(client, file):
    return by_tus(client, file, with_checksum=True)


class _Joined(_Tus):
    """Two uploads that are joined to one."""

    def __init__(self, client, file):
        super().__init__(client, file, by_page=False, with_checksum=False)
        half = len(self.data) // 2
        self.halves = [self.data[:half], self.data[half:]]
        self.urls = []

    def step(self):
        while len(self.urls) < 2:
            body = self.halves[len(self.urls)]
            fields = CHUNK | {"Upload-Concat": "partial", "Upload-Length": str(len(body))}
            answer = self.ask("POST", "/uploads/", fields, body, self.stop(body))
            self.check_part(answer)
            if answer.offset == len(body):
                self.urls.append(answer.fields["location"])
        fields = metadata(filename=self.file.name, folder=self.file.folder)
        answer = self.ask("POST", "/uploads/", fields | {"Upload-Concat": f"final;{' '.join(self.urls)}"})
        if answer.status == HTTPStatus.NOT_FOUND:  # it was joined, and that was not answered
            self.urls = []
            return None
        self.check_part(answer)
        return answer.path

    def check_part(self, answer):
        self.told = 0
        self.check(answer)


def by_joining(client, file):
    return until_published(client, file, _Joined(client, file).step)


def by_tuspy(client, file):
    """The client of others: it goes on at the URL of its upload."""
    place = client.folder / file.name
    place.write_bytes(file.data())
    own = basic(client.member.name, client.member.password)
    tuspy = Tuspy(f"http://127.0.0.1:{client.server.port}/uploads/", headers=own)
    found = {"url": None, "offset": 0}

    def step():
        with place.open("rb") as stream:
            told = {"filename": file.name, "folder": file.folder}
            uploader = tuspy.uploader(file_stream=stream, url=found["url"], chunk_size=300_000, metadata=told)
            if uploader.offset < found["offset"]:
                client.soak.complain(f"tuspy was told {uploader.offset} of {file}, and {found['offset']} before")
            try:
                if found["url"] is None:
                    uploader.set_url(uploader.create_url())
                while uploader.offset < len(file.data()):
                    uploader.upload_chunk()
                    found["url"], found["offset"] = uploader.url, uploader.offset
            except TusCommunicationError as error:
                found["url"] = uploader.url
                if error.status_code in REFUSED:
                    raise Refused(error.status_code) from None
                raise
            found["url"] = uploader.url
        answer = client.ask("HEAD", uploader.url.partition(str(client.server.port))[2], TUS | own)
        if answer.status in REFUSED:
            raise Refused(answer.status)
        return answer.path

    return until_published(client, file, step)


# --- FTP --------------------------------------------------------------------------------------------


class _Ftp:
    """One file on its way. The size that the server tells never falls."""

    def __init__(self, client, file, *, tls):
        self.client, self.file, self.data, self.tls = client, file, file.data(), tls
        self.chance, self.soak = client.chance, client.soak
        self.told = 0
        self.is_begun = False

    def step(self):
        member = self.client.member
        client = logged_in(self.client.server.ftp_port, member.name, member.password, tls=self.tls)
        try:
            return self.send(client)
        finally:
            if client not in self.client.left_open:
                client.close()

    def send(self, client):
        folder = ""
        for one in self.file.folder.split("/"):
            folder = f"{folder}/{one}".strip("/")
            with suppress(ftplib.error_perm):
                client.mkd(f"/{folder}")
        path = f"/{self.file.path}"
        start = self.size(client, path)
        if start == len(self.data) and self.is_begun:
            return self.end(client, path, start)
        return self.store(client, path, start)

    def size(self, client, path):
        """Return the bytes that the server has, as it tells."""
        client.voidcmd("TYPE I")
        try:
            size = client.size(path)
        except ftplib.error_perm:
            size = 0
        if size < self.told:
            self.soak.complain(f"the size of {self.file} fell from {self.told} to {size}")
        self.told = size
        return size

    def end(self, client, path, size):
        """End an upload of which all bytes are there, and which may be published already."""
        try:
            client.storbinary(f"STOR {path}", EMPTY, rest=size)
        except ftplib.error_perm as error:
            if "no unfinished upload" in str(error):
                return self.file.path
            raise
        client.quit()
        return self.file.path

    def store(self, client, path, start):
        rest = self.data[start:]
        way = self.chance.choice(["REST", "APPE", "ALLO", "anew"])
        if way == "anew" and start < len(self.data):  # else it may be published
            start, rest, self.told = 0, self.data, 0
        if way == "ALLO":
            client.voidcmd(f"ALLO {len(self.data)}")
        stop = self.chance.randrange(len(rest)) if rest and self.chance.random() < 0.3 else None
        verb, offset = ("APPE", None) if way == "APPE" and start else ("STOR", start or None)
        self.is_begun = True
        conn = begin(client, path, b"", rest=offset, command=verb)
        try:
            for first in range(0, len(rest) if stop is None else stop, 65_536):
                conn.sendall(rest[first : first + 65_536 if stop is None else min(stop, first + 65_536)])
                self.client.perhaps_hold()
            if stop is not None:
                self.interrupt(client, conn)
            if self.tls:
                conn.unwrap()
        except BaseException as error:
            try:
                if isinstance(error, OSError) and not isinstance(error, Cut):
                    client.voidresp()  # says why the server takes no more
            finally:
                if client not in self.client.left_open:
                    client.close()  # before the data connection, whose end alone may be the end of the file
                    conn.close()
            raise
        conn.close()
        client.voidresp()
        if self.chance.random() < 0.1:
            client.putcmd("ABOR")
            client.getmultiline()
            raise Cut("aborted after the last byte")
        self.client.perhaps_hold()
        if self.chance.random() < 0.5:
            client.pwd()  # a next command, which the server carries out once the upload is published
        else:
            client.quit()
        return self.file.path

    def interrupt(self, client, conn):
        """Cut the connections in one of the ways in which they are cut."""
        way = self.chance.choice(["gone", "silent", "abort", "data"])
        if way == "abort":
            reply = client.abort()
            if reply.startswith("426"):  # bytes had come already
                client.voidresp()
            cut(conn)
        elif way == "silent":  # the server is told of no end
            self.client.leave_open(client, conn)
        elif way == "data" and self.tls:  # without TLS, it would look as if it had ended
            cut(conn)
        else:
            client.close()
            cut(conn)
        raise Cut(f"cut by the client: {way}")


class _Empty:
    def read(self, _size):
        return b""


EMPTY = _Empty()


def by_ftp(client, file, *, tls=False):
    upload = _Ftp(client, file, tls=tls)
    return until_published(client, file, upload.step)


def by_ftps(client, file):
    return by_ftp(client, file, tls=True)


def by_curl(client, file, *, tls=True):
    """curl over FTPS, killed now and then; it continues what is there."""
    place = client.folder / file.name
    place.write_bytes(file.data())
    url = f"ftp://127.0.0.1:{client.server.ftp_port}/{quote(file.path)}"
    words = [shutil.which("curl"), "-sS", "--ssl-reqd", "--insecure", "--ftp-create-dirs", "-u"]
    words += [f"{client.member.name}:{client.member.password}", "-C", "-", "-T", str(place), url]
    confirm = _Ftp(client, file, tls=tls)

    def step():
        with PROCESSES:
            status = run_and_perhaps_kill(client, words)[0]
        if status != 0:
            raise ConnectionError(f"curl: {status}")
        confirm.is_begun = True
        return confirm.step()

    return until_published(client, file, step)


# --- programs of ours -------------------------------------------------------------------------------


def run_and_perhaps_kill(client, words, kill_probability=0.4, **more):
    """Run a program to its end, or kill it before; return its status and its output."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    try:
        if client.chance.random() < kill_probability:
            with suppress(subprocess.TimeoutExpired):
                process.wait(client.chance.random() * 2.5)
            process.kill()
            client.soak.count("programs killed")
        out, err = process.communicate(timeout=4 * LIMIT_S)
    finally:
        process.kill()
    client.soak.check_seen(client.member.name, out + err, words[3:5])
    if b"Traceback" in err or client.member.password.encode() in out + err:
        client.soak.complain(words, err.decode())
    return process.returncode, out, err


def _environment(client):
    netrc = client.folder / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {client.member.name} password {client.member.password}\n")
    return os.environ | {"NETRC": str(netrc), "XDG_STATE_HOME": str(client.folder / "state")}


def by_push(client, file, *, scheme="http"):
    place = client.folder / file.name
    place.write_bytes(file.data())
    port = client.server.port if scheme == "http" else client.server.ftp_port
    url = f"{scheme}://127.0.0.1:{port}/{'files/' if scheme == 'http' else ''}{quote(file.folder)}"
    words = command("push", "--json", *QUICK, place, f"{url}/" if file.folder else url)

    def step():
        with PROCESSES:
            status, out, err = run_and_perhaps_kill(client, words, env=_environment(client))
        if status < 0:
            raise Cut("push was killed")
        if status != 0:
            raise Refused(out, err)
        (result,) = map(json.loads, out.splitlines())
        return unquote(result["url"].partition(f":{port}/")[2]).removeprefix("files/")

    return until_published(client, file, step)


def by_push_over_ftp(client, file):
    return by_push(client, file, scheme="ftp")


def until_published(client, file, step):
    """Repeat a step until it returns the path of the published file; raise `Refused` if it never will."""
    patience = Patience(client.soak, file)
    while True:
        try:
            if (path := step()) is not None:
                return path
        except ftplib.error_perm as error:
            raise Refused(str(error)) from None
        except GONE as error:
            patience.wait(error)


# --- what people fetch ------------------------------------------------------------------------------


def fetch_range(client, file, path):
    """Fetch a part of a published file by HTTP."""
    data = file.data()
    start = client.chance.randrange(len(data) + 1)
    fields = client.credentials(by_page=not client.member.has_password)
    answer = client.ask("GET", f"/files/{quote(path)}", fields | ({"Range": f"bytes={start}-"} if start else {}))
    if answer.status in REFUSED and client.member.is_changing:
        return
    is_behind = answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start == len(data)
    if not is_behind and (answer.status not in {200, 206} or answer.content != data[start:]):
        client.soak.complain(f"{path} from {start} of {len(data)}: {answer.status}, {len(answer.content)} bytes")


def fetch_by_ftp(client, file, path):
    data = file.data()
    start = client.chance.randrange(len(data) + 1)
    found = []
    with client.ftp(tls=client.chance.random() < 0.5) as ftp:
        try:
            ftp.retrbinary(f"RETR /{path}", found.append, rest=start or None)
        except ftplib.error_perm as error:
            if not client.member.is_changing:
                client.soak.complain(f"{path} by FTP: {error}")
            return
    if b"".join(found) != data[start:]:
        client.soak.complain(f"{path} from {start} of {len(data)} by FTP: {sum(map(len, found))} bytes")


def fetch_by_get(client, file, path):
    """Fetch a published file by `mediacrawl get`, which is killed now and then."""
    store = client.folder / f"got-{chance_text(client.chance)}"
    over_ftp = client.chance.random() < 0.4
    port, scheme = (client.server.ftp_port, "ftp") if over_ftp else (client.server.port, "http")
    url = f"{scheme}://127.0.0.1:{port}/{'' if over_ftp else 'files/'}{quote(path)}"
    words = command("get", url, *QUICK, "-s", f"FILES_STORE={store}")
    status = -1
    while status < 0:
        with PROCESSES:
            status, _, err = run_and_perhaps_kill(client, words, env=_environment(client))
    if status and client.member.is_changing:
        return
    found = [digest(one.read_bytes()) for one in files_below(store)]
    if found != [digest(file.data())]:
        client.soak.complain(f"get of {path}: {status}, {found}, {err.decode()}")
    shutil.rmtree(store)


# --- what people must not see -----------------------------------------------------------------------


def look_around(client):
    """Read listings and the search, as a browser and as a program."""
    member, chance = client.member, client.chance
    folder = chance.choice(["", "common/", f"{member.own}/"])
    own = client.credentials(by_page=not member.has_password)
    fields = own | {"Accept": chance.choice(["text/html", "application/json"])}
    for path in (f"/files/{folder}", f"/search?q={chance.choice(['only', 'bin', '~'])}", "/uploads/"):
        client.ask("GET", path, fields)
    if not member.has_password:
        return
    with client.ftp(tls=chance.random() < 0.5) as ftp:
        for place in ("/", f"/{member.own}"):
            names = [name for name, _ in ftp.mlsd(place)] + ftp.nlst(place)
            client.soak.check_seen(member.name, "\n".join(names).encode(), f"MLSD {place}")
            if strange := [name for name in names if name.startswith("~") and name != member.own]:
                client.soak.complain(f"{member.name} sees {strange}")


def pry(client, other, path, upload):
    """Try the private folder of another person by each door.

    Args:
        client: of the person who tries.
        other: the other person.
        path: of a file that is published there.
        upload: the path of an upload of the other person; None: there is none.
    """
    member = client.member
    for by_page in (True, False) if member.has_password else (True,):
        if not by_page or member.cookie is not None:
            _pry_by_http(client, other, path, upload, client.credentials(by_page=by_page))
    if member.has_password:
        with client.ftp(tls=client.chance.random() < 0.5) as ftp:
            _pry_by_ftp(client, other, path, ftp)


def _pry_by_http(client, other, path, upload, own):
    places = (f"/files/{other.own}", f"/files/{other.own}/", f"/files/{quote(path)}", f"/play/{quote(path)}")
    accepts = {"Accept": client.chance.choice(["text/html", "*/*"])}
    tries = [(client.chance.choice(["GET", "HEAD"]), asked, own | accepts, {404}) for asked in places]
    told = metadata(filename="x.bin", folder=other.own) | {"Upload-Length": "10"}
    tries.append(("POST", "/uploads/", TUS | own | told, {403}))
    if upload is not None:
        tries += [(method, upload, TUS | own, {404}) for method in ("HEAD", "DELETE")]
        tries.append(("PATCH", upload, CHUNK | own | {"Upload-Offset": "0", "Content-Length": "0"}, {404}))
    for method, asked, fields, expected in client.chance.sample(tries, 3):
        status = client.ask(method, asked, fields).status
        if status not in expected and not (status == HTTPStatus.UNAUTHORIZED and client.member.is_changing):
            client.soak.complain(f"{client.member.name}: {method} {asked}: {status}")


def _pry_by_ftp(client, other, path, ftp):
    tries = {"CWD": ftp.cwd, "SIZE": ftp.size, "DELE": ftp.delete, "MKD": ftp.mkd, "LIST": ftp.nlst}
    tries["RETR"] = lambda asked: ftp.retrbinary(f"RETR {asked}", lambda _: None)
    tries["STOR"] = lambda asked: ftp.storbinary(f"STOR {asked}", EMPTY)
    ftp.voidcmd("TYPE I")
    for name, attempt in tries.items():
        for asked in (f"/{other.own}", f"/{path}"):
            with suppress(ftplib.error_perm):
                found = attempt(asked)
                client.soak.complain(f"{client.member.name}: {name} {asked}: {found}")


def chance_text(chance):
    return str(chance.randrange(10**12))
