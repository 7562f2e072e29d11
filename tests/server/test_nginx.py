"""The configurations of nginx in docs/serve.md, as they are written there, before the real server."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from certificates import Authority
from crawling import wait_until
from serve_process import Serve

import mediacrawl

DOCS = Path(mediacrawl.__file__).parents[1] / "docs" / "serve.md"
BLOCKS = re.findall(r"^```nginx\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
BODY = bytes(range(256)) * 5000
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
]


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def store(tmp_path):
    root = tmp_path / "store"
    (root / "a b").mkdir(parents=True)
    (root / "a b" / "ü%41+.bin").write_bytes(BODY)
    (root / "page.html").write_text("<script>alert(1)</script>")
    (root / "picture.jpg").write_bytes(b"picture")
    (root / "~anna").mkdir()
    (root / "~anna" / "own.jpg").write_bytes(b"secret")
    (root / "link").symlink_to("/etc/passwd")
    return root


class Nginx:
    """nginx with one block of the documentation."""

    def __init__(self, folder, block, server, store):
        authority = Authority(folder)
        authority.context("media.example.org")
        self.port = free_port()
        for documented, here in (
            ("/etc/letsencrypt/live/media.example.org/fullchain.pem", str(folder / "server1.pem")),
            ("/etc/letsencrypt/live/media.example.org/privkey.pem", str(folder / "server1.pem")),
            ("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
            ("127.0.0.1:8000", f"127.0.0.1:{server.port}"),
            ("/srv/archive/", f"{store}/"),
        ):
            assert documented in block or documented == "/srv/archive/"
            block = block.replace(documented, here)
        configuration = folder / "nginx.conf"
        configuration.write_text(
            f"daemon off; pid {folder}/pid; error_log {folder}/error.log; user root;\n"
            f"events {{}}\nhttp {{ access_log off;\n"
            f"client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
            f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n{block}\n}}\n"
        )
        self._process = subprocess.Popen(["nginx", "-c", str(configuration), "-p", str(folder)])
        wait_until(self._listens)

    def _listens(self):
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(60)

    def ask(self, path, headers=(), method="GET"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)
        connection.request(method, path, headers={"Host": "media.example.org"} | dict(headers))
        response = connection.getresponse()
        found = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        connection.close()
        return found


ARGUMENTS = ["--hosts", "media.example.org", "--trusted-proxy", "127.0.0.1", "--public"]
PATH = "/files/a%20b/%C3%BC%2541%2B.bin"


@pytest.mark.parametrize(("block", "more"), [(0, []), (1, ["--accel-redirect", "/inner"])])
def test_the_documented_proxy_serves_files_and_pages(tmp_path, store, block, more):
    with Serve(store, *ARGUMENTS, *more) as server, Nginx(tmp_path, BLOCKS[block], server, store) as nginx:
        status, fields, content = nginx.ask(PATH)
        assert (status, content) == (200, BODY)
        assert (fields["x-content-type-options"], fields["cache-control"]) == ("nosniff", "private, no-cache")
        assert nginx.ask(PATH, {"Range": "bytes=5-9"})[::2] == (206, BODY[5:10])
        assert nginx.ask(PATH, {"Range": "bytes=-3"})[2] == BODY[-3:]
        assert nginx.ask(PATH, {"Range": "bytes=9999999-"})[0] == 416
        modified = fields["last-modified"]
        assert nginx.ask(PATH, {"If-Modified-Since": modified})[0] == 304
        assert nginx.ask(PATH, method="HEAD")[1]["content-length"] == str(len(BODY))
        page = nginx.ask("/files/page.html")[1]
        assert page["content-disposition"].startswith("attachment")
        assert page["content-security-policy"] == "sandbox; default-src 'none'"
        assert "content-security-policy" not in nginx.ask("/files/picture.jpg")[1]
        for path in ("/files/~anna/own.jpg", "/files/link", "/files/.mediacrawl/secret_key", "/inner/page.html"):
            assert nginx.ask(path)[0] in {401, 404}, path
        for path in ("/inner/~anna/own.jpg", "/files/..%2f..%2fetc/passwd", "/files/%2e%2e/x", "//inner/page.html"):
            assert nginx.ask(path)[0] in {400, 401, 404}, path
        status, fields, _ = nginx.ask("/login")
        assert status == 200
        assert "; secure" in fields["set-cookie"].lower()
        assert nginx.ask("/login", {"Host": "evil.example"})[0] in {400, 421}
        nginx.ask("/from-a-client", {"X-Forwarded-For": "198.51.100.1"})
        assert server.line_with("/from-a-client").startswith("127.0.0.1 - - ")
