"""An FTP server that Debian has, vsftpd, in a process of its own. Skips the test where it is not installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_CONFIG = """
listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root={root}
ftp_username=nobody
secure_chroot_dir={empty}
run_as_launching_user=YES
allow_writeable_chroot=YES
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
mdtm_write=YES
pasv_promiscuous=NO
seccomp_sandbox=NO
anon_max_rate={rate}
"""
_TLS = """
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
require_ssl_reuse=YES
ssl_ciphers=HIGH
rsa_cert_file={certificate}
"""


class RealFtpServer:
    """vsftpd for nobody in particular, who may read and write. `rate` is in bytes a second; 0: no limit."""

    def __init__(self, folder: Path, *, certificate: Path | None = None, rate: int = 0) -> None:
        self.root = folder / "vsftpd-root"
        self._folder, self._certificate, self._rate = folder, certificate, rate

    def __enter__(self) -> Self:
        path = shutil.which("vsftpd", path=os.environ["PATH"] + os.pathsep + "/usr/sbin")
        if path is None:
            pytest.skip("vsftpd is not installed")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.root.mkdir(exist_ok=True)
        empty = self._folder / "empty"
        empty.mkdir(exist_ok=True)
        config = self._folder / "vsftpd.conf"
        text = _CONFIG.format(port=self.port, root=self.root, empty=empty, rate=self._rate)
        if self._certificate is not None:
            text += _TLS.format(certificate=self._certificate)
        config.write_text(text)
        self._process = subprocess.Popen([path, str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            assert time.monotonic() < until, "vsftpd does not start"
            assert self._process.poll() is None, "vsftpd has ended"
            threading.Event().wait(0.01)

    def __exit__(self, *_exc: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def url(self, path: str = "") -> str:
        scheme = "ftp" if self._certificate is None else "ftps"
        return f"{scheme}://127.0.0.1:{self.port}/{quote(path)}"

    def add(self, path: str, body: bytes, *, age_s: float = 1_000.0) -> str:
        """Write a file that was changed `age_s` seconds ago, and return its URL."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
        at = time.time() - age_s
        os.utime(file, (at, at))
        return self.url(path)
