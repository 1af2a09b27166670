"""The kind `gevent`: whoever waits lets others run, in all the ways in which an app can wait."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Client
from tests.support.modes import DISPATCHES, Mode
from tests.support.rawhttp import Wire, running
from tests.support.server import PATIENCE, ROOT, Server, eventually

APP = "tests.apps.together:app"


@pytest.fixture(scope="module", params=DISPATCHES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with a single worker: whatever runs at once runs in that."""
    settings = Mode("gevent", request.param).settings
    with running(APP, tmp_path_factory.mktemp("gevent"), **settings) as server:
        yield server


def asking(server: Server, *paths: str) -> list[Client]:
    """Clients that have asked for these, each on its own connection, and have no answer yet."""
    clients = [server.client() for _ in paths]
    for client, path in zip(clients, paths, strict=True):
        client.request("GET", path)
    return clients


def answer(client: Client) -> tuple[int, str]:
    response = client.getresponse()
    body = response.read().decode()
    client.close()
    return response.status, body


# What lets others run.


def test_fifty_requests_that_sleep_take_about_as_long_as_one(server: Server) -> None:
    began = time.monotonic()
    answer(asking(server, "/sleep?0.5")[0])
    one = time.monotonic() - began
    began = time.monotonic()
    for client in asking(server, *["/sleep?0.5"] * 50):
        assert answer(client) == (200, "slept")
    assert time.monotonic() - began < 10 * one


def test_requests_can_wait_for_each_other(server: Server) -> None:
    for client in asking(server, *["/meet?twenty/20"] * 20):
        assert answer(client) == (200, "met")


def test_requests_that_ask_another_server_do_not_wait_for_each_other(server: Server) -> None:
    """It answers none of them before it has been asked by all."""
    count = 10
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(PATIENCE)
        clients = asking(server, *[f"/fetch?{other.getsockname()[1]}"] * count)
        asked = [other.accept()[0] for _ in range(count)]
        for number, sock in enumerate(asked):
            sock.recv(65536)
            sock.sendall(b"HTTP/1.0 200 OK\r\n\r\n%d" % number)
            sock.close()
    assert sorted(int(answer(client)[1]) for client in clients) == list(range(count))


def test_a_name_is_resolved_while_others_run(server: Server) -> None:
    """`localhost` needs no name server; the resolver is another thread's work all the same."""
    (held,) = asking(server, "/meet?resolved/2")
    assert answer(asking(server, "/resolve")[0])[0] == 200
    (last,) = asking(server, "/meet?resolved/2")
    assert answer(held) == answer(last) == (200, "met")


@pytest.mark.parametrize("how", ["select", "poll", "wait_read", "recv"])
def test_a_request_that_waits_for_a_socket_in_any_way_lets_others_run(
    server: Server, how: str
) -> None:
    awaiting = server.directory / "awaiting"
    (waiting,) = asking(server, f"/await-byte?{how}")
    eventually(awaiting.exists, "the request to wait")
    awaiting.unlink()
    assert answer(asking(server, "/send-byte")[0]) == (200, "sent")
    assert answer(waiting) == (200, "byte")


def test_a_request_that_waits_for_a_queue_lets_others_run(server: Server) -> None:
    (waiting,) = asking(server, "/take")
    eventually((server.directory / "taking").exists, "the request to wait")
    (server.directory / "taking").unlink()
    assert answer(asking(server, "/put?this")[0]) == (200, "put")
    assert answer(waiting) == (200, "this")


def test_each_request_has_variables_of_its_own_thread(server: Server) -> None:
    one, other = asking(server, "/local?one", "/local?other")
    assert (answer(one)[1], answer(other)[1]) == ("one", "other")


def test_a_greenlet_that_the_app_spawns_outlives_the_request(server: Server) -> None:
    assert answer(asking(server, "/spawn?it")[0]) == (200, "spawned")
    (server.directory / "go-it").touch()
    eventually((server.directory / "spawned-it").exists, "the greenlet to run")
    for path in server.directory.glob("*-it"):
        path.unlink()


def test_connections_are_ended_at_once(server: Server) -> None:
    """Not only when the worker, which has nothing else to do, next looks at its clock."""
    ends = []
    for _ in range(10):
        with Wire(server.port) as wire:
            assert wire.get("/", "Connection: close").status == 200
            began = time.monotonic()
            wire.assert_closed()
            ends.append(time.monotonic() - began)
    assert min(ends) < 0.5


# Giving up.


@pytest.mark.parametrize("how", ["sleep", "body"])
def test_an_app_may_give_up_what_takes_too_long(server: Server, how: str) -> None:
    with server.client() as client:
        client.putrequest("POST", f"/timeout?{how}")
        client.putheader("Content-Length", "5")
        client.endheaders(b"he")
        assert client.getresponse().read() == b"too late"
    with server.client() as other:
        assert other.ask("/").status == 200


def test_a_timeout_that_the_app_does_not_catch_is_a_500(server: Server) -> None:
    """It is no Exception, but must not end the worker."""
    since = server.mark()
    with server.client() as other:
        pid = other.ask("/").text
        assert answer(asking(server, "/timeout?uncaught")[0])[0] == 500
        assert other.ask("/").text == pid
    server.wait_for(r"GET /timeout\?uncaught: the app raised(.|\n)*Timeout", since)


# What is patched.


def test_what_the_app_imports_is_gevents(server: Server) -> None:
    assert answer(asking(server, "/patched")[0])[1].startswith("gevent.")


def imported_early(serve: Serve, directory: Path, code: str) -> Server:
    """A server in which a module with this code is imported before anything else."""
    (directory / "sitecustomize.py").write_text("import early\n")
    (directory / "early.py").write_text(code + "\n")
    path = f"{directory}:{ROOT}"
    return serve(APP, worker_class="gevent", environ={"PYTHONPATH": path})


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("from socket import socket", "socket.socket"),
        ("from ssl import SSLContext", "ssl.SSLContext"),
        ("from time import sleep as pause", "time.sleep"),
        ("from threading import Lock, RLock", "threading"),
    ],
)
def test_a_module_that_was_imported_too_early_is_named(
    serve: Serve, tmp_path: Path, code: str, what: str
) -> None:
    server = imported_early(serve, tmp_path, code)
    (line,) = re.findall(r"WARNING worker=1 .* before gevent could patch .*", server.log)
    assert re.search(rf"\bearly \({what}", line)
    assert len(re.findall(r" \(\w+\.\w+\)", line)) == 1, "others are named, which do no harm"
    with server.client() as client:
        assert client.ask("/").status == 200


def test_a_module_that_was_imported_early_but_is_patched_is_not_named(
    serve: Serve, tmp_path: Path
) -> None:
    server = imported_early(serve, tmp_path, "import socket, ssl, time, urllib.request")
    assert "WARNING" not in server.log


def test_nothing_is_said_when_nothing_was_imported_too_early(server: Server) -> None:
    assert "WARNING" not in server.log.partition("started: ")[0]


def test_the_master_is_not_patched(server: Server) -> None:
    maps = Path(f"/proc/{server.pid}/maps").read_text()
    assert "greenlet" not in maps
    assert "gevent" not in maps


# A hub that is held up.


def test_a_worker_whose_hub_stands_still_is_replaced_and_its_idle_connections_are_kept(
    serve: Serve,
) -> None:
    server = serve(APP, worker_class="gevent", timeout=1)
    idle = [server.client() for _ in range(5)]
    pids = {client.ask("/").text for client in idle}
    socks = [client.sock for client in idle]
    since = server.mark()
    blocked, waiting = asking(server, "/hold?blocked", "/block?it")
    assert answer(waiting)[0] == 504
    assert answer(blocked)[0] == 504
    killed = server.wait_for(r"worker=1 gen=1 pid=(\d+) was killed by SIGKILL", since)[1]
    assert {killed} == pids
    assert "in _block" in server.log[since:]
    assert "in _hold" in server.log[since:]
    for client, sock in zip(idle, socks, strict=True):
        assert client.ask("/").text != killed
        assert client.sock is sock


def test_a_request_may_wait_longer_than_timeout(serve: Serve) -> None:
    server = serve(APP, worker_class="gevent", timeout=0.5)
    with server.client() as client:
        assert client.ask("/sleep?2.5").text == "slept"
    assert "killed" not in server.log


def test_stacks_of_requests_that_wait_are_logged_when_kill_timeout_is_over(serve: Serve) -> None:
    server = serve(APP, worker_class="gevent", kill_timeout=0.5)
    first, second = asking(server, "/hold?one", "/sleep?60")
    eventually((server.directory / "begun-one").exists, "the request to run")
    server.send(signal.SIGTERM)
    assert answer(first)[0] == answer(second)[0] == 504
    assert server.wait() == 0
    assert "in _hold" in server.log
    assert "in _sleep" in server.log
