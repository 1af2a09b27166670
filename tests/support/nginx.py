"""A real nginx in front of a server, with its files in a directory of its own.

What it notes at [notice] is that it starts and ends, and does not count. Whatever it notes at
[warn] or above is an error here: a request that could not be passed on, a connection that was cut,
a body that took a temporary file (the buffers below are large enough that none does).
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import pytest

from tests.support.clients import Client
from tests.support.server import PATIENCE

_CONFIG = """\
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log notice;
events {{ worker_connections 1024; }}
http {{
    log_format answers '$status $upstream_status $request';
    access_log {directory}/nginx-access.log answers;
    client_body_temp_path {directory}/nginx-body;
    proxy_temp_path {directory}/nginx-proxy;
    fastcgi_temp_path {directory}/nginx-fastcgi;
    scgi_temp_path {directory}/nginx-scgi;
    uwsgi_temp_path {directory}/nginx-uwsgi;
    client_max_body_size 64m;
    client_body_buffer_size 8m;
    upstream served {{
        server {upstream};
        keepalive 32;
    }}
    server {{
        listen 127.0.0.1:{port};
        location = /nginx-is-up {{ access_log off; return 204; }}
        location / {{
            proxy_pass http://served;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            {options}
        }}
    }}
}}
"""

# Of the location; `proxy_next_upstream off` as no failure is to be hidden by another attempt.
_OPTIONS = {
    "proxy_http_version": "1.1",
    "proxy_next_upstream": "off",
    "proxy_max_temp_file_size": "0",
}
_SERIOUS = re.compile(r" \[(warn|error|crit|alert|emerg)\] ")


def find_nginx() -> str | None:
    """The path of nginx, which is often not on the PATH of users; None where there is none."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


needs_nginx = pytest.mark.skipif(
    find_nginx() is None,
    reason="serving behind nginx is not tested, as there is none: apt-get install -y nginx-light",
)


class Nginx:
    """A running nginx, which passes all requests on to one upstream. To be used with `with`.

    Args:
        upstream: `host:port` or `unix:path`.
        directory: where it keeps its files.
        options: directives of the location, such as `{"proxy_buffering": "off"}`.
    """

    def __init__(
        self, upstream: str, directory: Path, options: Mapping[str, str] | None = None
    ) -> None:
        self._directory = directory
        directives = {**_OPTIONS, **(options or {})}
        # Bound here and inherited, so that nobody else can take the port meanwhile, and so that
        # who connects before nginx runs waits for it.
        with socket.create_server(("127.0.0.1", 0), backlog=511) as listener:
            self.port: int = listener.getsockname()[1]
            config = directory / "nginx.conf"
            config.write_text(
                _CONFIG.format(
                    user="user root;" if os.getuid() == 0 else "",
                    directory=directory,
                    upstream=upstream,
                    port=self.port,
                    options=" ".join(f"{name} {value};" for name, value in directives.items()),
                )
            )
            self._process = self._start(config, listener.fileno())

    def _start(self, config: Path, listener: int) -> subprocess.Popen[bytes]:
        executable = find_nginx()
        assert executable is not None
        with open(self._directory / "nginx-output.log", "ab") as output:
            return subprocess.Popen(
                [executable, "-c", str(config), "-p", str(self._directory), "-g", "daemon off;"],
                env={**os.environ, "NGINX": f"{listener};"},
                pass_fds=[listener],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def client(self, timeout: float = PATIENCE) -> Client:
        """A new keep-alive client."""
        return Client(self.port, timeout)

    @property
    def errors(self) -> list[str]:
        """The lines of its error log that are more than notices."""
        lines = self._read("nginx-error.log") + self._read("nginx-output.log")
        return [line for line in lines if _SERIOUS.search(line)]

    def answers(self, count: int, seconds: float = PATIENCE) -> list[str]:
        """What its access log says, once it has so many lines: each begins with the status that
        the client got and the one that the upstream gave. A line comes after its response."""
        end = time.monotonic() + seconds
        while len(lines := self._read("nginx-access.log")) < count:
            assert time.monotonic() < end, f"{len(lines)} answers logged, not {count}"
            time.sleep(0.01)
        return lines

    def __enter__(self) -> Nginx:
        try:
            with self.client() as client:
                assert client.ask("/nginx-is-up").status == 204
        except BaseException:
            self.stop()
            print("\n".join(self._read("nginx-output.log") + self._read("nginx-error.log")))
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        print("----- what nginx says -----", *self.errors[:20], sep="\n")

    def stop(self) -> None:
        """End it and its worker."""
        self._process.terminate()
        self._process.wait(PATIENCE)

    def _read(self, name: str) -> list[str]:
        try:
            return (self._directory / name).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
