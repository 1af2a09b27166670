"""Apps that take the socket of their connection: WebSockets by Flask-Sock, and bare ones."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.conftest import Serve
from tests.support.modes import Mode
from tests.support.rawhttp import Wire, request, running
from tests.support.server import PATIENCE, Server, eventually, open_files
from tests.support.tls import Authority

APP = "tests.apps.sockets:app"
MANY = 20
UPGRADE = ("Connection: upgrade", "Upgrade: lines")
SWITCHED = "HTTP/1.1 101 Switching Protocols"

concurrent = pytest.mark.parametrize("kind", ["threads", "gevent"])


@pytest.fixture(scope="module")
def server(mode: Mode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {**mode.settings, "access_log": "-"}
    if mode.kind == "threads":
        settings["threads"] = MANY
    with running(APP, tmp_path_factory.mktemp("sockets"), workers=1, **settings) as server:
        yield server


@contextlib.contextmanager
def talking(server: Server, path: str = "/echo", **options: Any) -> Iterator[websocket.WebSocket]:
    """A client of a WebSocket, which is closed in the end."""
    scheme = "wss" if options else "ws"
    client = websocket.create_connection(
        f"{scheme}://localhost:{server.port}{path}",
        timeout=PATIENCE,
        socket=None if options else socket.create_connection(("127.0.0.1", server.port)),
        **options,
    )
    client.settimeout(PATIENCE)
    try:
        yield client
    finally:
        client.close(timeout=PATIENCE)


def echoed(client: websocket.WebSocket, text: str) -> str:
    client.send(text)
    return client.recv()


def untroubled(server: Server, since: int) -> bool:
    """Whether nothing has gone wrong, by the log."""
    return "Traceback" not in server.log[since:] and "ERROR" not in server.log[since:]


def test_flask_sock_echoes_and_the_log_has_one_line_when_it_ends(server: Server) -> None:
    since = server.mark()
    with talking(server) as client:
        assert echoed(client, "one") == "one"
        assert echoed(client, "two") == "two"
        client.ping("are you there")
        pong = websocket.ABNF.OPCODE_PONG
        assert client.recv_data(control_frame=True) == (pong, b"are you there")
        assert "/echo" not in server.log[since:]
    server.wait_for(r'"GET /echo HTTP/1.1" 101 -', since)
    assert server.log[since:].count("/echo") == 1
    assert untroubled(server, since)


def test_the_end_of_the_app_is_the_end_of_the_connection(server: Server) -> None:
    since = server.mark()
    with talking(server, "/goodbye") as client:
        assert echoed(client, "x" * 500_000) == "x" * 500_000
        assert client.recv_data() == (websocket.ABNF.OPCODE_CLOSE, b"\x03\xe8")
        client.shutdown()
    server.wait_for(r'"GET /goodbye HTTP/1.1" 101', since)
    assert untroubled(server, since)


def test_a_client_that_vanishes_leaves_nothing_behind(server: Server) -> None:
    since = server.mark()
    assert server.client().ask("/pid").status == 200
    pid = server.workers()[1]
    before = len(open_files(pid))
    with Wire(server.port) as wire:
        wire.send(_handshake("/echo"))
        assert wire.head()[0].startswith(SWITCHED[:12])
        wire.reset_on_close()
    server.wait_for(r'"GET /echo HTTP/1.1" 101', since)
    eventually(lambda: len(open_files(pid)) <= before, "its files to be closed")
    assert untroubled(server, since)


def test_a_client_that_does_not_answer_the_end_leaves_nothing_behind(server: Server) -> None:
    assert server.client().ask("/pid").status == 200
    pid = server.workers()[1]
    before = len(open_files(pid))
    with Wire(server.port) as wire:
        wire.send(_handshake("/goodbye") + b"\x81\x82\x00\x00\x00\x00hi")
        assert wire.head()[0].startswith(SWITCHED[:12])
        assert wire.exactly(8) == b"\x81\x02hi\x88\x02\x03\xe8"
        wire.assert_closed()
        # The thread that Flask-Sock reads in has its end, too, though the client has not closed.
        eventually(lambda: len(open_files(pid)) <= before, "its files to be closed")


def test_many_at_once(server: Server, mode: Mode) -> None:
    count = MANY if mode.concurrent else 1
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(talking(server)) for _ in range(count)]
        for turn in "ab":
            for number, client in enumerate(clients):
                client.send(f"{turn}{number}")
            for number, client in enumerate(clients):
                assert client.recv() == f"{turn}{number}"
        # They are closed at once, as well.
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda client: client.close(), clients))


def test_an_app_that_leaves_the_socket_alone_answers_as_ever(server: Server) -> None:
    with Wire(server.port) as wire:
        wire.send(request("GET", "/refused", *UPGRADE) + request("GET", "/looks", *UPGRADE))
        answer = wire.response()
        assert (answer.status, answer.text) == (400, "no True")
        port = wire.sock.getsockname()[1]
        assert wire.response().text == f"<socket of GET /looks> {port}"
        # What is behind such a request is a request.
        assert wire.get("/looks").text == "none"


@pytest.mark.parametrize(
    ("fields", "version"),
    [((), "1.1"), (("Upgrade: lines",), "1.1"), (UPGRADE, "1.0")],
    ids=["no upgrade", "no Connection", "HTTP/1.0"],
)
def test_the_socket_is_offered_only_to_a_client_that_asks_for_an_upgrade(
    server: Server, fields: tuple[str, ...], version: str
) -> None:
    with Wire(server.port) as wire:
        wire.send(request("GET", "/looks", *fields, version=version))
        assert wire.response().text == "none"


def test_what_was_sent_right_behind_the_head_arrives_first(server: Server) -> None:
    since = server.mark()
    with Wire(server.port) as wire:
        wire.send(request("GET", "/bare", *UPGRADE) + b"one\r\nGET / HTTP/1.1\r\n")
        assert wire.head()[0] == SWITCHED
        wire.send(b"\r\nlast")
        assert [wire.line() for _ in range(3)] == [b"one\r\n", b"GET / HTTP/1.1\r\n", b"\r\n"]
        wire.half_close()
        assert wire.exactly(4) == b"last"
        # The app's response is none.
        wire.assert_closed()
    assert untroubled(server, since)


def test_what_the_app_raises_is_logged_and_nothing_more_is_sent(server: Server) -> None:
    since = server.mark()
    with Wire(server.port) as wire:
        wire.send(request("GET", "/raises", *UPGRADE))
        assert wire.exactly(6) == b"so far"
        wire.assert_closed()
    server.wait_for("ValueError: after it was taken", since)


def test_send_sends_all(server: Server) -> None:
    with Wire(server.port, receive_buffer=4096) as wire:
        wire.send(request("GET", "/large", *UPGRADE))
        assert wire.exactly(16 << 20) == bytes(16 << 20)
        wire.assert_closed()
    assert Path(server.directory, "sent").read_text() == str(16 << 20)


def test_it_can_not_be_taken_when_a_response_has_begun(server: Server) -> None:
    with Wire(server.port) as wire:
        wire.send(request("GET", "/late", *UPGRADE))
        assert wire.head()[0] == "HTTP/1.1 200 OK"
        assert wire.exactly(6) == b"begun "
        wire.send(request("GET", "/looks"))
        assert wire.response().text == "none"
    assert Path(server.directory, "late").exists()


def test_over_tls(serve: Serve, kind: Mode, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.certify("server.pem", "localhost")
    server = serve(APP, workers=1, tls={"certificate": certificate}, **kind.settings)
    with talking(server, sslopt={"ca_certs": str(authority.path)}) as client:
        assert echoed(client, "one") == "one"
        assert echoed(client, "x" * 300_000) == "x" * 300_000
    assert untroubled(server, 0)


@concurrent
def test_a_reload_waits_for_it(serve: Serve, kind: str) -> None:
    server = serve(APP, workers=1, **Mode(kind).settings)
    old = server.workers()[1]
    with talking(server) as client:
        assert echoed(client, "before") == "before"
        server.send(signal.SIGHUP)
        server.wait_for(rf"pid={old} draining")
        assert server.client().ask("/pid").text != str(old)
        assert echoed(client, "meanwhile") == "meanwhile"
    server.wait_for(rf"pid={old} exited with status 0")
    server.wait_for("reload .*done")


@concurrent
def test_kill_timeout_ends_it(serve: Serve, kind: str) -> None:
    server = serve(APP, workers=1, kill_timeout=0.5, **Mode(kind).settings)
    with Wire(server.port) as wire:
        wire.send(request("GET", "/bare", *UPGRADE))
        assert wire.head()[0] == SWITCHED
        server.reload()
        wire.assert_cut()


@concurrent
def test_it_may_last_longer_than_a_request(serve: Serve, kind: str) -> None:
    server = serve(APP, workers=1, request_timeout=0.3, timeout=0, **Mode(kind).settings)
    with talking(server) as client:
        with Wire(server.port) as other:
            assert echoed(client, "before") == "before"
            # A request that comes later, and is given up, shows that the time is over.
            other.send(request("GET", "/stuck"))
            assert other.response().status == 504
        assert echoed(client, "after") == "after"
    # It was not given up either: its stack would be there.
    assert "in echo" not in server.log


def test_a_death_cuts_it(serve: Serve, kind: Mode) -> None:
    server = serve(APP, workers=1, **kind.settings)
    with Wire(server.port) as wire:
        wire.send(request("GET", "/bare", *UPGRADE) + b"one\r\n")
        assert wire.head()[0] == SWITCHED
        assert wire.line() == b"one\r\n"
        os.kill(server.workers()[1], signal.SIGKILL)
        wire.assert_cut()


def test_a_sync_worker_is_held_by_it_until_timeout(serve: Serve) -> None:
    server = serve(APP, workers=1, timeout=1)
    with Wire(server.port) as wire:
        wire.send(request("GET", "/bare", *UPGRADE))
        assert wire.head()[0] == SWITCHED
        wire.assert_cut()


def _handshake(path: str) -> bytes:
    return request(
        "GET",
        path,
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
