"""Requests over each kind of listener, and what becomes of its socket file."""

from __future__ import annotations

import contextlib
import errno
import grp
import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import stat
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Client, UnixClient
from tests.support.command import as_nobody, launched
from tests.support.server import PATIENCE, Server, eventually, fds, listening_inode

APP = "tests.apps.probe:app"

needs_ipv6 = pytest.mark.skipif(
    not Path("/proc/net/if_inet6").exists(), reason="the machine has no IPv6"
)


class HostClient(Client):
    """A client of another address than the IPv4 loopback."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(port, PATIENCE)
        self.host = host


def listening(server: Server) -> list[str]:
    """What it listens on, in the order of the setting."""
    return re.findall(r"listening on (\S+)", server.log)


def client_of(url: str) -> Client:
    if url.startswith("unix:"):
        return UnixClient(url.removeprefix("unix:"), PATIENCE)
    host, port = re.fullmatch(r"http://\[?([^]]+)\]?:(\d+)", url).groups()  # type: ignore[union-attr]
    return HostClient(host, int(port))


def environ_over(client: Client) -> dict[str, str]:
    answer: dict[str, str] = json.loads(client.ask("/environ").body)
    return answer


@needs_ipv6
def test_each_of_several_listeners_serves_and_tells_the_app_where(serve: Serve) -> None:
    binds = ["127.0.0.1:0", "[::1]:0", "unix:s", "127.0.0.1:0"]
    server = serve(APP, bind=binds, workers=2)
    urls = listening(server)
    for bind, url in zip(binds, urls, strict=True):
        pattern = re.escape(bind).replace(":0", r":[1-9]\d*").replace("unix:s", r"unix:/.*/s")
        assert re.fullmatch(f"(http://)?{pattern}", url)
    for url in urls * 2:
        with client_of(url) as client:
            environ = environ_over(client)
            assert environ_over(client)["REMOTE_PORT"] == environ["REMOTE_PORT"]
            if url.startswith("unix:"):
                expected = {"REMOTE_ADDR": "", "SERVER_NAME": "localhost", "SERVER_PORT": "80"}
            else:
                host, port = client.sock.getsockname()[:2]
                expected = {
                    "REMOTE_ADDR": host,
                    "REMOTE_PORT": str(port),
                    "SERVER_NAME": client.host,
                    "SERVER_PORT": str(client.port),
                }
            assert {key: environ[key] for key in expected} == expected


def port_for_both() -> int:
    """A port that is free for both families, and that the kernel gives to nobody by itself."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(lowest - 10_000, lowest)
        with contextlib.suppress(OSError):
            for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                socket.create_server((host, port), family=family).close()
            return port


@needs_ipv6
def test_ipv4_and_ipv6_on_one_port_serve_each_its_own(serve: Serve) -> None:
    port = port_for_both()
    serve(APP, bind=[f"127.0.0.1:{port}", f"[::1]:{port}"])
    for host in ("127.0.0.1", "::1"):
        with HostClient(host, port) as client:
            assert environ_over(client)["REMOTE_ADDR"] == host


@needs_ipv6
def test_a_client_is_known_by_its_ipv4_address_on_an_ipv6_listener_too(serve: Serve) -> None:
    server = serve(APP, bind="[::]:0")
    port = int(listening(server)[0].rpartition(":")[2])
    for host in ("127.0.0.1", "::1"):
        with HostClient(host, port) as client:
            assert environ_over(client)["REMOTE_ADDR"] == host


@pytest.mark.parametrize(("umask", "mode"), [(0o007, 0o770), (0o000, 0o777)])
def test_the_socket_file_has_the_mode_that_umask_leaves(
    serve: Serve, tmp_path: Path, umask: int, mode: int
) -> None:
    serve(APP, bind="unix:s", umask=umask)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == mode


@as_nobody
def test_the_socket_file_belongs_to_the_workers_user_and_group(
    serve: Serve, tmp_path: Path
) -> None:
    serve(APP, bind="unix:s", user="nobody", group="daemon", chdir="/")
    status = (tmp_path / "s").stat()
    expected = pwd.getpwnam("nobody").pw_uid, grp.getgrnam("daemon").gr_gid
    assert (status.st_uid, status.st_gid) == expected


def test_a_socket_file_left_by_a_killed_server_is_replaced(
    serve: Serve, start: Serve, tmp_path: Path
) -> None:
    killed = serve(APP, bind="unix:s")
    killed.kill()
    assert (tmp_path / "s").exists()
    since = killed.mark()
    start(APP, bind="unix:s").wait_for("started: 1 serving", since)
    with UnixClient(str(tmp_path / "s"), PATIENCE) as client:
        assert client.ask("/").status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_socket_file_is_gone_when_the_server_has_stopped(
    serve: Serve, tmp_path: Path, number: signal.Signals
) -> None:
    server = serve(APP, bind="unix:s")
    assert server.stop(number) == 0
    assert not (tmp_path / "s").exists()


def test_the_socket_file_survives_reloads_and_workers(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP, bind="unix:s")
    before = (tmp_path / "s").stat().st_ino
    server.reload()
    os.kill(server.workers()[1], signal.SIGKILL)
    server.wait_for(r"worker=1 gen=2 pid=\d+ was killed by SIGKILL")
    with client_of(listening(server)[0]) as client:
        assert client.ask("/").status == 200
    assert (tmp_path / "s").stat().st_ino == before


def test_the_socket_file_of_a_later_server_survives_the_stop_of_an_earlier_one(
    serve: Serve, tmp_path: Path
) -> None:
    earlier = serve(APP, bind="unix:s")
    (tmp_path / "s").unlink()
    with launched(tmp_path, APP, "-b", "unix:s") as later:
        eventually(lambda: later.log.count("started: ") == 2, "the second start")
        assert earlier.stop() == 0
        with UnixClient(str(tmp_path / "s"), PATIENCE) as client:
            assert client.ask("/").status == 200


@as_nobody
def test_a_socket_file_that_cannot_be_removed_does_not_keep_the_server_from_stopping(
    tmp_path: Path,
) -> None:
    # Its parents, which belong to pytest, are closed to others.
    directory = Path(f"/tmp/prefork-test-{os.getpid()}")
    directory.mkdir(mode=0o777)
    try:
        directory.chmod(0o777)
        bind = f"unix:{directory}/s"
        with launched(tmp_path, APP, "-b", bind, "--chdir", "/", cwd="/", user="nobody") as server:
            server.started()
            directory.chmod(0o555)
            assert server.stop() == 0
    finally:
        shutil.rmtree(directory)


def test_an_inherited_socket_serves(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        port = given.getsockname()[1]
        fd = given.fileno()
        with launched(tmp_path, APP, "-b", f"fd://{fd}", "--backlog", "5", pass_fds=[fd]) as server:
            assert server.started().port == port
            with Client(port, PATIENCE) as client:
                environ = environ_over(client)
            assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("127.0.0.1", str(port))
            info = given.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            assert int.from_bytes(info[28:32], "little") == 5, "the backlog, as tcpi_sacked"
            server.reload()
            assert server.stop() == 0
        # It is still the one who passed it on that listens.
        with socket.create_connection(("127.0.0.1", port)):
            given.accept()[0].close()


def test_an_inherited_unix_socket_serves_and_its_file_stays(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as given:
        given.bind(str(tmp_path / "s"))
        given.listen()
        fd = given.fileno()
        with launched(tmp_path, APP, "-b", f"fd://{fd}", pass_fds=[fd]) as server:
            server.started()
            with UnixClient(str(tmp_path / "s"), PATIENCE) as client:
                assert environ_over(client)["SERVER_NAME"] == "localhost"
            assert server.stop() == 0
        assert (tmp_path / "s").exists()


@pytest.mark.parametrize("dispatch", ["round-robin", "shared"])
def test_workers_have_the_listeners_only_where_they_accept_for_themselves(
    serve: Serve, dispatch: str
) -> None:
    server = serve(APP, workers=2, dispatch=dispatch)
    listener = listening_inode(server.port)
    assert listener in fds(server.pid).values()
    for pid in server.workers().values():
        assert (listener in fds(pid).values()) == (dispatch == "shared")


@pytest.mark.parametrize("dispatch", ["round-robin", "shared"])
def test_the_master_has_the_connections_unless_workers_accept_for_themselves(
    serve: Serve, dispatch: str
) -> None:
    server = serve(APP, workers=1, dispatch=dispatch)
    before = len(fds(server.pid))
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"G")  # the kernel keeps clients that are silent to itself for a while
        # Later turns of the master: it has accepted by then, if ever.
        for _ in range(2):
            since = server.mark()
            server.send(signal.SIGUSR1)
            server.wait_for("logs reopened", since)
        added = len(fds(server.pid)) - before
    assert added == (dispatch == "round-robin")


def test_a_stop_closes_the_listeners_where_workers_accept_for_themselves(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(APP, workers=2, dispatch="shared", bind=["127.0.0.1:0", "unix:app.sock"])
    port = server.port
    assert server.stop() == 0
    assert not (tmp_path / "app.sock").exists()
    with socket.socket() as late:
        assert late.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_who_accepts_can_not_be_changed_by_a_reload(serve: Serve) -> None:
    server = serve(APP, workers=1)
    server.configure({"workers": 1, "dispatch": "shared"})
    server.reload()
    assert "dispatch has changed: that takes effect at a restart" in server.log
    with server.client() as client:
        assert client.ask("/").status == 200
