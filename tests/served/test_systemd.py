"""A service under systemd, or who does as it does: what it is told, and sockets that it passes."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Client
from tests.support.command import Command, launched
from tests.support.server import PATIENCE, eventually

PROBE = "tests.apps.probe:app"
APP = """\
import os, time

while not os.path.exists("go"):
    time.sleep(0.005)

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


class Manager:
    """Who has started the service: what it is told, until now. (With the address @NAME too.)"""

    def __init__(self, address: str) -> None:
        self.address = address
        self.told: list[str] = []
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._sock.bind("\0" + address[1:] if address[0] == "@" else address)

    def heard(self, pattern: str, since: int = 0) -> bool:
        """Whether it was told something that matches."""
        try:
            while True:
                self.told.append(self._sock.recv(4096).decode())
        except BlockingIOError:
            return any(re.search(pattern, each) for each in self.told[since:])

    def wait_for(self, pattern: str, since: int = 0) -> None:
        """Wait until it is told something that matches, since it knew so much."""
        eventually(lambda: self.heard(pattern, since), f"{pattern!r} after {self.told[since:]}")

    def close(self) -> None:
        self._sock.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = f"{tmp_path}/notify" if request.param == "path" else f"@prefork-{os.getpid()}"
    manager = Manager(address)
    yield manager
    print(manager.told)
    manager.close()


def deploy(directory: Path, text: str) -> None:
    (directory / "mysite.py").write_text(text)
    shutil.rmtree(directory / "__pycache__", ignore_errors=True)


def test_the_manager_is_told_how_the_service_is_all_its_life(
    start: Serve, tmp_path: Path, manager: Manager
) -> None:
    deploy(tmp_path, APP)
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000"}
    server = start("mysite:app", workers=2, environ=environ)
    manager.wait_for("^STATUS=starting: 0 of 2 workers serve$")
    assert not manager.heard("READY=1")
    (tmp_path / "go").touch()
    ready = rf"^READY=1\nMAINPID={server.pid}$"
    manager.wait_for(ready)
    manager.wait_for("^STATUS=generation 1: 2 of 2 workers serve$")

    def reload(number: signal.Signals) -> int:
        since, before = len(manager.told), int(time.monotonic() * 1e6)
        server.send(number)
        manager.wait_for("^RELOADING=1", since)
        (reloading,) = [each for each in manager.told[since:] if each.startswith("RELOADING=1")]
        assert int(reloading.partition("MONOTONIC_USEC=")[2]) >= before
        manager.wait_for(ready, manager.told.index(reloading))
        return since

    manager.wait_for("^STATUS=generation 2: 2 of 2 workers serve$", reload(signal.SIGHUP))
    deploy(tmp_path, "raise RuntimeError")
    reload(signal.SIGHUP)
    manager.wait_for("^STATUS=generation 2; the reload after it has failed: 2 of 2 workers serve$")
    server.configure({"workers": "none"})
    reload(signal.SIGHUP)
    server.configure({"workers": 2})
    deploy(tmp_path, APP)
    manager.wait_for("^STATUS=generation 4: 2 of 2 workers serve$", reload(signal.SIGUSR2))
    manager.wait_for("^WATCHDOG=1$", len(manager.told))
    assert server.stop() == 0
    manager.wait_for("^STOPPING=1$")


def test_an_app_that_can_not_boot_is_told_of(start: Serve, tmp_path: Path) -> None:
    deploy(tmp_path, "raise RuntimeError('no\\nway')")
    manager = Manager(f"{tmp_path}/notify")
    assert start("mysite:app", environ={"NOTIFY_SOCKET": manager.address}).wait() == 3
    manager.wait_for("^STATUS=failed to boot: [^\n]+$")
    assert not manager.heard("READY=1")
    manager.close()


def test_a_manager_that_is_gone_does_no_harm(serve: Serve, tmp_path: Path) -> None:
    address = f"{tmp_path}/gone"
    server = serve(PROBE, environ={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000"})
    server.reload()
    assert server.stop() == 0
    assert len(re.findall("takes no notifications", server.log)) == 1


# Sockets.


@contextmanager
def activated(directory: Path, *arguments: str) -> Iterator[tuple[Command, list[int]]]:
    """A service that was passed the sockets `web` and `api`, and their ports."""
    with socket.create_server(("127.0.0.1", 0)) as web, socket.create_server(("", 0)) as api:
        # Not 3 and 4, which others of them are to become.
        high = [fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, 100) for sock in (web, api)]
        try:
            with launched(
                directory,
                *(PROBE, *arguments),
                environ={"LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:api", "NOTIFY_SOCKET": "@none"},
                under=["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh"],
                pass_fds=[3, 4],
                preexec_fn=lambda: [os.dup2(fd, 3 + at) for at, fd in enumerate(high)],
            ) as server:
                yield server, [sock.getsockname()[1] for sock in (web, api)]
        finally:
            for fd in high:
                os.close(fd)


def test_a_service_serves_at_the_sockets_that_it_was_passed_and_its_app_does_not_know(
    tmp_path: Path,
) -> None:
    with activated(tmp_path) as (server, ports):
        server.started()

        def served() -> None:
            for port in ports:
                with Client(port, PATIENCE) as client:
                    variables = json.loads(client.ask("/variables").body)
                    assert not {name for name in variables if name.startswith("LISTEN_")}
                    assert "NOTIFY_SOCKET" not in variables

        served()
        since = server.mark()
        server.send(signal.SIGUSR2)
        server.wait_for("reload to generation 2 done", since)
        assert "takes effect at a restart" not in server.log
        served()
        assert server.stop() == 0


def test_an_address_may_name_a_passed_socket_and_others_are_told_of(tmp_path: Path) -> None:
    with activated(tmp_path, "-b", "fd://api", "-b", "127.0.0.1:0") as (server, ports):
        server.started()
        listening = re.findall(r"listening on http://\S+:(\d+)", server.log)
        assert listening[0] == str(ports[1])
        assert len(listening) == 2
        assert "nobody serves at fd://3 (web)" in server.log
        assert server.stop() == 0


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="systemd is not installed"
)
def test_systemds_own_tool_activates_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with launched(
        tmp_path, PROBE, under=["systemd-socket-activate", "-l", str(path), "-E", "PYTHONPATH"]
    ) as server:
        eventually(path.exists, "the socket")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            # It is this that starts the service.
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
        assert server.started().stop() == 0
        assert path.exists()
