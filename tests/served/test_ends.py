"""How a worker ends, in every mode: in a reload, a stop, by a signal, by its own request.

What differs by dispatch is told where it does. A connection that the master has lent outlives its
worker; one that the worker has accepted itself ends with it, but never before it was told so.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from http.client import RemoteDisconnected
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Client, Load, read_all
from tests.support.mix import APP, MIX, fast, slow
from tests.support.modes import KINDS, Mode
from tests.support.rawhttp import Wire, request
from tests.support.server import PATIENCE, Server, alive, eventually, fds

shared = pytest.mark.parametrize("mode", [Mode(each, "shared") for each in KINDS], ids=str)


class Held:
    """A request that the app executes until it is released."""

    def __init__(self, server: Server, file: Path) -> None:
        self._file = file
        self.client = server.client()
        self.client.request("GET", f"/hold?{file}")
        eventually(file.exists, "the request to be executed")

    def release(self) -> None:
        self._file.unlink()

    def answer(self) -> tuple[int, bytes]:
        response = self.client.getresponse()
        return response.status, response.read()

    def fails(self, mode: Mode, status: int) -> None:
        """The worker was killed: the master answers for it, if it has the connection."""
        if mode.lends:
            assert self.answer() == (status, b"")
        else:
            with pytest.raises((RemoteDisconnected, ConnectionResetError)):
                self.answer()


def generation(client: Client) -> int:
    return int(client.ask("/who").text.split()[1])


def newest(server: Server) -> int:
    """The generation that gets a new connection."""
    with server.client() as client:
        return generation(client)


# In a reload.


def test_reloads_under_load_lose_no_request(serve: Serve, mode: Mode) -> None:
    server = serve(APP, workers=2, **mode.settings)
    with Load(server.client, MIX, clients=4 * len(MIX), pause=0.01) as clients:
        for _ in range(3):
            server.reload()
            clients.answer(50)
    assert clients.losses == []
    assert newest(server) == 4


def test_idle_connections_outlive_reloads(serve: Serve, kind: Mode) -> None:
    server = serve(APP, workers=2, **kind.settings)
    clients = [server.client() for _ in range(20)]
    socks = [(generation(client), client.sock)[1] for client in clients]
    for _ in range(2):
        server.reload()
    assert [generation(client) for client in clients] == [3] * 20
    assert [client.sock for client in clients] == socks


@shared
def test_a_kept_connection_of_a_retiring_worker_is_told_with_its_next_response(
    serve: Serve, mode: Mode
) -> None:
    server = serve(APP, workers=1, **mode.settings)
    with server.client() as client:
        assert client.ask("/").headers["Connection"] is None
        since = server.mark()
        server.send(signal.SIGHUP)
        server.wait_for("gen=1 pid=[0-9]+ draining", since)
        last = client.ask("/who")
        assert (last.text.split()[1], last.headers["Connection"]) == ("1", "close")
        server.wait_for("reload to generation 2 done", since)
        assert generation(client) == 2, "the client has connected anew"


@pytest.mark.parametrize("kind", ["threads", "gevent"])
def test_a_response_that_began_before_its_worker_retired_is_no_surprising_end_of_its_connection(
    serve: Serve, kind: str
) -> None:
    """Its client could not be told: it may send a next request at any time. (A sync worker does
    not hear that it retires before the response is out.)"""
    server = serve("tests.apps.contract:app", workers=1, **Mode(kind, "shared").settings)
    with Wire(server.port) as wire, Wire(server.port) as other:
        other.assert_open()
        wire.send(request("GET", "/gated?it"))
        wire.head()
        assert wire.chunk() == b"first"
        since = server.mark()
        server.send(signal.SIGHUP)
        server.wait_for("gen=1 pid=[0-9]+ draining", since)
        eventually(lambda: other.get("/pid").get("Connection"), "the worker to have heard of it")
        (server.directory / "go-it").touch()
        assert [wire.chunk(), wire.chunk()] == [b"second", b""]
        assert wire.get("/pid").get("Connection") == "close"
        wire.assert_closed()


@shared
def test_a_kept_connection_that_is_not_used_holds_up_no_reload_for_longer_than_kill_timeout(
    serve: Serve, mode: Mode
) -> None:
    server = serve(APP, workers=1, kill_timeout=4, **mode.settings)
    with server.client() as client:
        fast(client)
        server.reload()
        assert client.sock.recv(1) == b"", "it was reset, as the worker was killed"


def test_a_request_that_runs_in_a_reload_ends_and_its_worker_leaves(
    serve: Serve, mode: Mode, tmp_path: Path
) -> None:
    server = serve(APP, workers=1, **mode.settings)
    pid = server.workers()[1]
    held = Held(server, tmp_path / "held")
    since = server.mark()
    server.send(signal.SIGHUP)
    server.wait_for("gen=1 pid=[0-9]+ draining", since)
    # Where workers accept, the old one may have a connection before it hears that it retires.
    eventually(lambda: newest(server) == 2, "the new worker to get the connections")
    held.release()
    assert held.answer() == (200, b"held\n")
    server.wait_for(rf"pid={pid} exited with status 0", since)
    server.wait_for("reload to generation 2 done", since)


def test_a_request_longer_than_kill_timeout_is_ended_and_its_stack_logged(
    serve: Serve, mode: Mode, tmp_path: Path
) -> None:
    server = serve(APP, workers=1, kill_timeout=1, **mode.settings)
    held = Held(server, tmp_path / "held")
    since = server.mark()
    server.send(signal.SIGHUP)
    held.fails(mode, 504)
    server.wait_for(r"worker=1 gen=1 pid=\d+ was killed by SIGKILL", since)
    assert "in _hold" in server.log[since:]
    server.wait_for("reload to generation 2 done", since)
    assert newest(server) == 2


def test_a_broken_app_aborts_the_reload_and_nobody_notices(
    serve: Serve, mode: Mode, tmp_path: Path
) -> None:
    module = tmp_path / "deployed.py"
    module.write_text(
        "import os\nassert not os.path.exists('broken')\nfrom tests.apps.mix import app\n"
    )
    server = serve("deployed:app", workers=2, **mode.settings)
    pids = server.workers()
    (tmp_path / "broken").touch()
    with Load(server.client, [fast], clients=8) as clients:
        since = server.mark()
        server.send(signal.SIGHUP)
        server.wait_for("reload to generation 2 aborted", since)
        clients.answer(50)
    assert clients.losses == []
    assert server.workers() == pids


# By a signal.


def test_term_answers_what_runs_and_what_waits_and_ends_what_is_idle(
    serve: Serve, mode: Mode, tmp_path: Path
) -> None:
    server = serve(APP, workers=2, **mode.settings)
    pids = list(server.workers().values())
    idle = [server.client() for _ in range(4)]
    for client in idle:
        fast(client)
    held = Held(server, tmp_path / "held")
    os.kill(server.pid, signal.SIGSTOP)
    waiting = [socket.create_connection(("127.0.0.1", server.port), PATIENCE) for _ in range(10)]
    for sock in waiting:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    server.send(signal.SIGTERM)
    os.kill(server.pid, signal.SIGCONT)
    held.release()
    assert held.answer() == (200, b"held\n")
    for sock in waiting:
        assert read_all(sock).startswith(b"HTTP/1.1 200 OK")
        sock.close()
    assert server.wait() == 0
    for client in idle:
        assert client.sock.recv(1) == b""
    for pid in pids:
        assert re.search(rf"pid={pid} exited with status 0", server.log)
    assert "Traceback" not in server.log


def test_term_to_a_worker_has_it_replaced_first_and_loses_no_request(
    serve: Serve, mode: Mode
) -> None:
    server = serve(APP, workers=2, **mode.settings)
    before = server.workers()
    with Load(server.client, [fast, slow], clients=8) as clients:
        since = server.mark()
        os.kill(before[2], signal.SIGTERM)
        server.wait_for(rf"pid={before[2]} exited with status 0", since)
        clients.answer(50)
    assert clients.losses == []
    after = server.workers()
    assert after[1] == before[1]
    assert after[2] != before[2]


def test_a_worker_less_loses_no_request(serve: Serve, mode: Mode) -> None:
    server = serve(APP, workers=3, **mode.settings)
    before = server.workers()
    with Load(server.client, [fast, slow], clients=8) as clients:
        clients.answer(50)
        server.send(signal.SIGTTOU)
        eventually(lambda: not alive(before[3]), "a worker to leave")
        clients.answer(50)
    assert clients.losses == []


def test_a_worker_that_is_killed_costs_only_what_it_executes(
    serve: Serve, mode: Mode, tmp_path: Path
) -> None:
    server = serve(APP, workers=1, **mode.settings)
    idle = [server.client() for _ in range(4)]
    for client in idle:
        fast(client)
    socks = [client.sock for client in idle]
    held = Held(server, tmp_path / "held")
    since = server.mark()
    os.kill(server.workers()[1], signal.SIGKILL)
    held.fails(mode, 502)
    server.wait_for(r"worker=1 gen=1 pid=\d+ ready", since)
    for client, sock in zip(idle, socks, strict=True):
        if mode.lends:
            fast(client)
            assert client.sock is sock
        else:
            client.close()
            fast(client)


def test_a_response_that_has_begun_is_cut_when_its_worker_is_killed(
    serve: Serve, mode: Mode
) -> None:
    """Reset, whatever its framing: what has come must not be taken for the whole of it."""
    server = serve("tests.apps.contract:app", workers=1, **mode.settings)
    with Wire(server.port) as wire, Wire(server.port) as until_the_end:
        wire.send(request("GET", "/gated?one"))
        wire.head()
        assert wire.chunk() == b"first"
        if mode.concurrent:
            until_the_end.send(request("GET", "/gated?two", version="1.0"))
            until_the_end.head()
        os.kill(server.workers()[1], signal.SIGKILL)
        if mode.lends:
            assert wire.assert_cut() == b""
            if mode.concurrent:
                assert until_the_end.assert_cut() == b"first"
        else:
            with pytest.raises((AssertionError, ConnectionResetError)):
                wire.chunk()  # there is nobody to reset it
    assert server.client().ask("/").status == 200


@pytest.mark.parametrize("kind", ["sync", "threads"])
def test_requests_that_a_killed_worker_had_not_read_are_answered_by_the_next(
    serve: Serve, kind: str, tmp_path: Path
) -> None:
    server = serve(APP, workers=1, worker_class=kind, threads=1)
    killed = server.workers()[1]
    kept = server.client()
    fast(kept)
    held = Held(server, tmp_path / "held")
    before = len(fds(server.pid))
    waiting = [kept, *(server.client() for _ in range(5))]
    for client in waiting:
        client.request("GET", "/pid")
    eventually(lambda: len(fds(server.pid)) == before + 5, "the master to have lent the new ones")
    os.kill(killed, signal.SIGKILL)
    assert held.answer() == (502, b"")
    answers = [client.getresponse() for client in waiting]
    assert [answer.status for answer in answers] == [200] * 6
    assert str(killed).encode() not in [answer.read() for answer in answers]


def test_when_the_master_is_killed_what_runs_is_answered_and_the_worker_goes(
    serve: Serve, mode: Mode, tmp_path: Path
) -> None:
    server = serve(APP, workers=1, **mode.settings)
    (pid,) = server.workers().values()
    held = Held(server, tmp_path / "held")
    os.kill(server.pid, signal.SIGKILL)
    server.process.wait(PATIENCE)
    held.release()
    assert held.answer() == (200, b"held\n")
    eventually(lambda: not alive(pid), "the worker to go")


def test_term_answers_what_waits_for_a_thread(serve: Serve, tmp_path: Path) -> None:
    """There is no other worker any more that could have it."""
    server = serve(APP, workers=2, worker_class="threads", threads=1)
    kept = [server.client() for _ in range(6)]
    for client in kept:
        client.ask("/")
    holding = [Wire(server.port) for _ in range(2)]
    for number, wire in enumerate(holding):
        wire.send(request("GET", f"/hold?{tmp_path}/held-{number}"))
    files = [tmp_path / f"held-{number}" for number in range(2)]
    eventually(lambda: all(file.exists() for file in files), "both threads to be busy")
    for client in kept:
        client.request("GET", "/")
    server.send(signal.SIGTERM)
    eventually(lambda: server.log.count("draining") == 2, "both workers to drain")
    # Much longer than a worker waits before it gives connections back.
    time.sleep(0.3)
    for file in files:
        file.unlink()
    for client in kept:
        assert client.getresponse().read() == b"fast\n"
    assert server.wait() == 0
