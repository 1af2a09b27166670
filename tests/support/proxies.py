"""A real nginx and a real HAProxy, by the sample files of conf/: only the addresses in them are
others, and some times shorter."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.clients import Client
from tests.support.nginx import find_nginx
from tests.support.server import PATIENCE, ROOT, eventually

# Those of the hosts, in the samples.
_HOSTS = ("192.0.2.11:8000", "192.0.2.12:8000")

_NGINX = """\
{user}
worker_processes 2;
pid {directory}/nginx.pid;
error_log {directory}/log notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    scgi_temp_path {directory}/scgi;
    uwsgi_temp_path {directory}/uwsgi;
    include {directory}/sample;
}}
"""


def find_haproxy() -> str | None:
    """The path of HAProxy, which is often not on the PATH of users; None where there is none."""
    return shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


needs_haproxy = pytest.mark.skipif(
    find_haproxy() is None, reason="there is no HAProxy: apt-get install -y haproxy"
)


def sample(name: str) -> str:
    """The text of a sample file."""
    return (ROOT / "conf" / name).read_text()


class Proxy:
    """A proxy in front of two hosts, for the length of a `with`. Its socket listens before it does,
    and is inherited by it.

    Args:
        directory: where it keeps its files, an empty one.
        hosts: the addresses of the two, HOST:PORT.
        shorter: what stands in the sample, by what it is replaced.
    """

    #: The flag with which it only looks whether its files are right.
    check: str
    #: What it says when it sends a host nothing any more.
    avoids: str

    def __init__(self, directory: Path, hosts: Sequence[str], shorter: Mapping[str, str]) -> None:
        self._directory = directory
        self._log_path = directory / "log"
        self._changes = {**dict(zip(_HOSTS, hosts, strict=True)), **shorter}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=511)
        # nginx leaves that as it is, and two processes that accept would wait for each other.
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Proxy:
        command = self._configured()
        assert self._start([*command, self.check]).wait(PATIENCE) == 0, self.log
        self._process = self._start(command)
        return self

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with open(self._log_path, "ab") as log:
            return subprocess.Popen(
                command,
                env={**os.environ, "NGINX": f"{self._listener.fileno()};"},
                pass_fds=[self._listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._listener.close()
        print("----- what the proxy says -----", self.log, sep="\n")

    def _configured(self) -> list[str]:
        """Write its files: the command that starts it."""
        raise NotImplementedError

    def _sample(self, name: str, listen: str, front: str) -> str:
        text = re.sub(listen, front, sample(name))
        for old, new in self._changes.items():
            assert old in text
            text = text.replace(old, new)
        return text

    def client(self) -> Client:
        """A new keep-alive client."""
        return Client(self.port, PATIENCE)

    @property
    def log(self) -> str:
        """All that it has said."""
        return self._log_path.read_text(errors="replace")

    def look(self) -> None:
        """Have it look how its hosts are, if it does not do so by itself."""

    def avoid(self, number: int) -> None:
        """Wait until it sends nothing more to a host, 0 or 1, that it has sent something before."""
        host = (["one", "two"][number], self._changes[_HOSTS[number]])
        pattern = self.avoids.format(name=host[0], address=re.escape(host[1]))
        since = len(self.log)

        def avoided() -> bool:
            self.look()
            return re.search(pattern, self.log[since:]) is not None

        eventually(avoided, f"{pattern!r} in the proxy's log")


class HAProxy(Proxy):
    """One that asks its hosts by itself."""

    check = "-c"
    avoids = "Server prefork/{name} is DOWN"

    def _configured(self) -> list[str]:
        config = self._directory / "haproxy.cfg"
        front = f"bind fd@{self._listener.fileno()}"
        config.write_text(self._sample("haproxy.cfg", "bind :80", front))
        executable = find_haproxy()
        assert executable is not None
        return [executable, "-db", "-f", str(config)]


class Nginx(Proxy):
    """One that learns only by what it passes on."""

    check = "-t"
    avoids = "temporarily disabled .* upstream: .http://{address}/ready"

    def _configured(self) -> list[str]:
        front = f"listen 127.0.0.1:{self.port}"
        (self._directory / "sample").write_text(self._sample("nginx.conf", "listen 80", front))
        config = self._directory / "nginx.conf"
        user = "user root;" if os.getuid() == 0 else ""
        config.write_text(_NGINX.format(user=user, directory=self._directory))
        executable = find_nginx()
        assert executable is not None
        words = [executable, "-p", str(self._directory), "-e", str(self._log_path)]
        return [*words, "-c", str(config), "-g", "daemon off;"]

    def look(self) -> None:
        with self.client() as client:
            assert client.ask("/ready").status == 200
