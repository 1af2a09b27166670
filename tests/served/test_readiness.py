"""Readiness: a new worker is used when its app answers `ready_path`; and when the service is about
to stop, load balancers learn it before anybody is turned away."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Client, Load
from tests.support.modes import Mode
from tests.support.server import Server, eventually

APP = "tests.apps.mix:app"

# An app whose answer to /ready is what stands in a file; it notes who asks.
READY = """
import os, time
def app(environ, start_response):
    if environ['PATH_INFO'] == '/ready':
        with open('asked', 'a') as asked:
            asked.write(f"{environ['REMOTE_ADDR']} {environ['HTTP_HOST']} "
                        f"{environ.get('prefork.probe')}\\n")
        status = open('answer').read()
        if status == 'raise':
            raise RuntimeError('not today')
        if status == 'hang':
            time.sleep(600)
        start_response(status, [('Content-Type', 'text/plain')])
        return [b'the database ', b'is away\\n']
    body = str(os.getpid()).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
"""


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    """The file with the answer; the app is there too."""
    (tmp_path / "readies.py").write_text(READY)
    file = tmp_path / "answer"
    file.write_text("200 OK")
    return file


def fast(client: Client) -> None:
    assert client.ask("/").status == 200


def test_each_worker_asks_its_app_before_it_is_used(
    serve: Serve, mode: Mode, answer: Path, tmp_path: Path
) -> None:
    serve("readies:app", workers=2, ready_path="/ready?deep=1", **mode.settings)
    assert (tmp_path / "asked").read_text() == "127.0.0.1 localhost True\n" * 2


def test_a_clients_request_for_the_path_is_like_any_other(
    serve: Serve, mode: Mode, answer: Path, tmp_path: Path
) -> None:
    server = serve("readies:app", workers=1, ready_path="/ready", **mode.settings)
    answer.write_text("404 Not Found")
    assert server.client().ask("/ready").status == 404
    assert (tmp_path / "asked").read_text().splitlines()[1].endswith("None")


def test_a_redirect_is_an_answer(serve: Serve, answer: Path) -> None:
    answer.write_text("302 Found")
    serve("readies:app", workers=1, ready_path="/ready")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("503 Service Unavailable", "the app answered 503 Service Unavailable:\n    the database"),
        ("404 Not Found", "the app answered 404 Not Found"),
        ("raise", "the app answered 500 Internal Server Error"),
    ],
)
def test_an_app_that_does_not_answer_well_ends_the_start(
    start: Serve, kind: Mode, answer: Path, status: str, said: str
) -> None:
    answer.write_text(status)
    server = start("readies:app", workers=1, ready_path="/ready", **kind.settings)
    assert server.wait() == 3
    assert f"ready_path = /ready: {said}" in server.log
    if status == "raise":
        assert "RuntimeError: not today" in server.log


def test_an_app_that_hangs_in_it_is_late(start: Serve, kind: Mode, answer: Path) -> None:
    answer.write_text("hang")
    server = start(
        "readies:app", workers=1, ready_path="/ready", listen_timeout=1.0, **kind.settings
    )
    assert server.wait() == 3
    assert "not ready within listen_timeout" in server.log


def test_a_probe_that_fails_aborts_a_reload_and_nobody_notices(
    serve: Serve, mode: Mode, answer: Path
) -> None:
    server = serve("readies:app", workers=2, ready_path="/ready", **mode.settings)
    before = server.workers()
    answer.write_text("500 Oh No")
    with Load(server.client, [fast], clients=10) as load:
        server.send(signal.SIGHUP)
        server.wait_for("reload to generation 2 aborted")
        load.answer(50)
    assert load.losses == []
    assert "answered 500 Oh No:\n    the database is away" in server.log
    assert server.workers() == before
    answer.write_text("200 OK")
    server.reload()


def test_with_wait_ready_the_probe_comes_after(serve: Serve, answer: Path, tmp_path: Path) -> None:
    (tmp_path / "readies.py").write_text(
        READY + "import threading, prefork\n"
        "def soon():\n"
        "    time.sleep(0.3)\n"
        "    assert not os.path.exists('asked')\n"
        "    prefork.ready()\n"
        "threading.Thread(target=soon).start()\n"
    )
    serve("readies:app", workers=1, ready_path="/ready", wait_ready=True)
    assert (tmp_path / "asked").read_text().count("True") == 1


def test_the_probe_is_not_in_the_access_log(serve: Serve, answer: Path, tmp_path: Path) -> None:
    server = serve("readies:app", workers=1, ready_path="/ready", access_log="access.log")
    server.client().ask("/seen")
    server.stop()
    lines = (tmp_path / "access.log").read_text().splitlines()
    assert len(lines) == 1
    assert "/seen" in lines[0]


# The end of the service.


def about_to_stop(serve: Serve, mode: Mode, seconds: float = 600.0) -> Server:
    """A server that was sent SIGTERM, and goes on for so long."""
    server = serve(
        "readies:app", workers=2, ready_path="/ready", drain_delay=seconds, **mode.settings
    )
    server.send(signal.SIGTERM)
    server.wait_for("the service goes on for .* readiness answers 503")
    return server


def test_a_service_that_is_about_to_stop_serves_on_and_says_so_to_load_balancers(
    serve: Serve, mode: Mode, answer: Path, tmp_path: Path
) -> None:
    server = about_to_stop(serve, mode)
    asked = (tmp_path / "asked").read_text()
    for _ in range(4):
        assert server.client().ask("/ready?deep=1").status == 503
    assert (tmp_path / "asked").read_text() == asked
    kept = server.client()
    for _ in range(3):
        assert kept.ask("/").headers["Connection"] != "close"
    server.send(signal.SIGTERM)
    assert server.wait() == 0


def test_no_request_is_lost_in_a_stop_that_is_announced(
    serve: Serve, mode: Mode, answer: Path
) -> None:
    server = serve("readies:app", workers=2, ready_path="/ready", drain_delay=1.5, **mode.settings)
    balancer, load = server.client(), Load(server.client, [fast], clients=10)
    with load:
        load.answer(50)
        server.send(signal.SIGTERM)
        while balancer.ask("/ready").status == 200:
            time.sleep(0.05)
    assert load.losses == []
    assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_quick_stop_puts_nothing_off(serve: Serve, answer: Path, number: signal.Signals) -> None:
    server = about_to_stop(serve, Mode("sync"))
    assert server.stop(number) == 0


def test_a_quick_stop_is_never_announced(serve: Serve) -> None:
    server = serve(APP, workers=1, drain_delay=600.0)
    assert server.stop(signal.SIGINT) == 0


def test_a_service_that_is_about_to_stop_does_not_reload(serve: Serve, answer: Path) -> None:
    server = about_to_stop(serve, Mode("sync"))
    server.send(signal.SIGHUP)
    server.wait_for("no reload: the service is about to stop")
    assert server.client().ask("/").status == 200


def test_a_worker_that_dies_before_the_stop_is_replaced_and_says_the_same(
    serve: Serve, kind: Mode, answer: Path
) -> None:
    server = about_to_stop(serve, kind)
    pid = server.workers()[1]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: server.workers().get(1, pid) != pid, "another worker")
    for _ in range(4):
        assert server.client().ask("/ready").status == 503


def test_term_to_every_process_replaces_nobody(serve: Serve, kind: Mode, answer: Path) -> None:
    server = about_to_stop(serve, kind)
    pids = server.workers()
    for pid in pids.values():
        os.kill(pid, signal.SIGTERM)
    for _ in range(4):
        assert server.client().ask("/").text in {str(pid) for pid in pids.values()}
    assert server.log.count("spawned") == 2
    server.send(signal.SIGTERM)
    assert server.wait() == 0


@pytest.mark.parametrize("first", ["master", "workers"])
def test_term_to_every_process_in_any_order_loses_no_request(
    serve: Serve, mode: Mode, first: str
) -> None:
    """As platforms do it. Clients learn by `Connection: close`, or by the end of their idle
    connection, that they have to go elsewhere."""
    server = serve(APP, workers=2, **mode.settings)
    running = [server.client() for _ in range(2)]
    for client in running:
        client.request("GET", "/slow?0.5")
    time.sleep(0.2)  # they should run by then; if not, they wait, which must do as well
    pids = [server.pid, *server.workers().values()]
    for pid in pids if first == "master" else reversed(pids):
        os.kill(pid, signal.SIGTERM)
    assert [client.getresponse().read() for client in running] == [b"slow\n"] * 2
    assert server.wait() == 0
    assert "ERROR" not in server.log


def test_connections_that_wait_in_the_backlog_at_term_are_served(serve: Serve, kind: Mode) -> None:
    server = serve(APP, workers=1, **kind.settings)
    (worker,) = server.workers().values()
    os.kill(worker, signal.SIGSTOP)
    os.kill(server.pid, signal.SIGSTOP)
    clients = []
    for _ in range(50):
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        clients.append(sock)
    server.send(signal.SIGTERM)
    os.kill(worker, signal.SIGCONT)
    os.kill(server.pid, signal.SIGCONT)
    for sock in clients:
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        sock.close()
    assert server.wait() == 0
