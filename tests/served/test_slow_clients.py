"""Clients that are slow, stuck or silent cost a buffer, never a worker of any kind, and are let go
in time."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from math import ceil

import pytest

from tests.conftest import Serve
from tests.support.modes import Mode
from tests.support.rawhttp import Wire, chunked, request, running, show_log_of_failure
from tests.support.server import PATIENCE, Server, eventually

APP = "tests.apps.contract:app"
LONG = 600.0
TIMEOUTS = ("keepalive", "header_timeout", "body_timeout", "send_timeout")


Impatient = Callable[..., Server]


@pytest.fixture(scope="module")
def running_once(
    kind: Mode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Server]]:
    """Starts a server with one worker, unless there is one with these settings."""
    servers: dict[tuple[tuple[str, float], ...], Server] = {}
    with ExitStack() as stack:

        def begin(**timeouts: float) -> Server:
            key = tuple(timeouts.items())
            if key not in servers:
                directory = tmp_path_factory.mktemp("slow")
                settings = {**kind.settings, **timeouts}
                servers[key] = stack.enter_context(running(APP, directory, **settings))
            return servers[key]

        yield begin


@pytest.fixture
def used(
    running_once: Callable[..., Server], request: pytest.FixtureRequest
) -> Iterator[Impatient]:
    """The same, and shows what they logged if the test fails."""
    watches: list[Iterator[None]] = []

    def begin(**timeouts: float) -> Server:
        server = running_once(**timeouts)
        watch = show_log_of_failure(request, server)
        next(watch)
        watches.append(watch)
        return server

    yield begin
    for watch in watches:
        next(watch, None)


@pytest.fixture
def patient(used: Impatient) -> Server:
    """A server that lets no client go."""
    return used(**dict.fromkeys(TIMEOUTS, LONG))


@pytest.fixture
def impatient(used: Impatient) -> Impatient:
    """A server on which only this timeout can end a connection within a test."""

    def begin(name: str, seconds: float = 1.0) -> Server:
        return used(**{**dict.fromkeys(TIMEOUTS, LONG), name: seconds})

    return begin


# A slow client does not hold the only worker.

POST = request("POST", "/echo", body=b"0123456789")
CHUNKED = request("POST", "/echo", "Transfer-Encoding: chunked") + chunked(b"01234", b"56789")


@pytest.mark.parametrize("data", [POST, CHUNKED], ids=["length", "chunked"])
def test_a_client_that_drips_its_request_does_not_hold_the_worker(
    patient: Server, data: bytes
) -> None:
    with Wire(patient.port) as slow, Wire(patient.port) as quick:
        for byte in data:
            slow.send(bytes([byte]))
            assert quick.get("/pid").status == 200
        assert slow.response().body == b"0123456789"


def test_a_client_that_stops_in_a_large_body_does_not_hold_the_worker(patient: Server) -> None:
    body = b"x" * 3_000_000
    data = request("POST", "/digest", body=body)
    with Wire(patient.port) as slow, Wire(patient.port) as quick:
        for start in range(0, len(data), 1_000_000):
            slow.send(data[start : start + 1_000_000])
            for _ in range(10):
                assert quick.get("/pid").status == 200
        assert slow.response().text.split()[1:] == ["3000000", "False"]


def test_a_client_that_is_told_to_continue_but_does_not_holds_nobody_up(patient: Server) -> None:
    with Wire(patient.port) as slow, Wire(patient.port) as quick:
        slow.send(request("POST", "/echo", "Expect: 100-continue", "Content-Length: 5"))
        assert slow.head()[0] == "HTTP/1.1 100 Continue"
        assert quick.get("/pid").status == 200
        slow.send(b"hello")
        assert slow.response().body == b"hello"


def test_silent_connections_do_not_hold_the_worker(patient: Server) -> None:
    silent = [Wire(patient.port) for _ in range(50)]
    with Wire(patient.port) as quick:
        assert quick.get("/pid").status == 200
    for wire in silent:
        wire.assert_open()
        wire.close()


@pytest.mark.parametrize("path", ["/large?1000000", "/ways?generator"])
def test_a_client_that_reads_slowly_does_not_hold_the_worker(patient: Server, path: str) -> None:
    """As long as the rest of its response fits the worker's buffer."""
    with Wire(patient.port, receive_buffer=4096) as slow, Wire(patient.port) as quick:
        slow.send(request("GET", path) * 20)
        for _ in range(20):
            assert quick.get("/pid").status == 200
        sizes = {len(slow.response().body) for _ in range(20)}
        assert sizes == {1_000_000 if "large" in path else 9}


def test_a_client_that_reads_slowly_gets_all_of_a_response_that_fits_no_buffer(
    patient: Server,
) -> None:
    with Wire(patient.port, receive_buffer=4096) as slow, Wire(patient.port) as quick:
        slow.send(request("GET", "/large?16000000"))
        assert slow.response().body == b"x" * 16_000_000
        assert quick.get("/pid").status == 200


def test_a_healthy_client_among_two_hundred_that_drip_their_heads_is_always_served(
    patient: Server,
) -> None:
    head = request("GET", "/pid", "X-Padding: " + "x" * 100)
    slow = [Wire(patient.port) for _ in range(200)]
    with Wire(patient.port) as healthy:
        for byte in head[:70]:
            for wire in slow:
                wire.send(bytes([byte]))
            assert healthy.get("/pid").status == 200
    for wire in slow:
        wire.send(head[70:])
        assert wire.response().status == 200
        wire.close()


# Each wait has its own patience.


def test_a_head_that_does_not_come_to_its_end_is_answered_with_408(impatient: Impatient) -> None:
    server = impatient("header_timeout")
    with Wire(server.port) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: te")
        response = wire.response()
        assert (response.status, response.get("Connection")) == (408, "close")
        wire.assert_closed()


def test_a_head_that_keeps_coming_is_not_given_more_time_for_that(impatient: Impatient) -> None:
    server = impatient("header_timeout")
    with Wire(server.port) as wire:
        wire.assert_open()
        wire.send(b"GET / HTTP/1.1\r\nHost: test\r\nX: ")
        end = time.monotonic() + PATIENCE
        wire.sock.settimeout(0.05)
        while True:
            assert time.monotonic() < end, "it is never answered"
            wire.send(b"x")
            try:
                answer = wire.sock.recv(65536)
                break
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_pipelined_head_that_does_not_come_to_its_end_is_answered_with_408(
    impatient: Impatient,
) -> None:
    server = impatient("header_timeout")
    with Wire(server.port) as wire:
        wire.send(request("GET", "/pid") + b"GET ")
        assert wire.response().status == 200
        assert wire.response().status == 408
        wire.assert_closed()


@pytest.mark.parametrize("sent", [POST[:-1], CHUNKED[:-1]], ids=["length", "chunked"])
def test_a_body_that_does_not_come_to_its_end_is_answered_with_408(
    impatient: Impatient, sent: bytes
) -> None:
    server = impatient("body_timeout")
    with Wire(server.port) as wire:
        wire.send(sent)
        assert wire.response().status == 408
        wire.assert_closed()


def test_without_a_least_rate_a_body_whose_parts_each_come_in_time_may_take_any_time(
    used: Impatient,
) -> None:
    server = used(**{**dict.fromkeys(TIMEOUTS, LONG), "body_timeout": 2.0, "client_rate": 0})
    began = time.monotonic()
    with Wire(server.port) as wire:
        wire.send(request("POST", "/echo", "Content-Length: 16"))
        for _ in range(15):
            wire.send(b"x")
            time.sleep(0.2)
        assert time.monotonic() - began > 2.5
        wire.send(b"x")
        assert wire.response().body == b"x" * 16


def drip(wire: Wire, data: bytes, pause: float) -> bytes:
    """Send this byte by byte, in pauses, until something comes: the first of that."""
    end = time.monotonic() + PATIENCE
    wire.sock.settimeout(pause)
    for byte in data:
        assert time.monotonic() < end, "it is never answered"
        wire.send(bytes([byte]))
        with contextlib.suppress(TimeoutError):
            return wire.sock.recv(65536)
    raise AssertionError("all of it was taken")


@pytest.mark.parametrize(
    "head",
    [
        request("POST", "/echo", "Content-Length: 9999"),
        request("POST", "/echo", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n1;",
        request("POST", "/echo", "Transfer-Encoding: chunked") + b"0\r\nX: ",
    ],
    ids=["length", "extension", "trailer"],
)
def test_a_body_that_comes_too_slowly_is_answered_with_408(
    impatient: Impatient, head: bytes
) -> None:
    """However steadily it comes."""
    server = impatient("body_timeout")
    with Wire(server.port) as wire:
        wire.send(head)
        assert drip(wire, b"x" * 2000, 0.05).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_comes_fast_enough_may_take_any_time(impatient: Impatient) -> None:
    server = impatient("body_timeout", 2.0)
    began = time.monotonic()
    with Wire(server.port) as wire:
        wire.send(request("POST", "/echo", "Content-Length: 30000"))
        for _ in range(30):
            wire.send(b"x" * 1000)
            time.sleep(0.1)
        assert time.monotonic() - began > 2.5
        assert wire.response().body == b"x" * 30000


@pytest.mark.parametrize("asked", [True, False])
def test_an_idle_connection_is_closed_when_its_time_is_over(
    impatient: Impatient, asked: bool
) -> None:
    server = impatient("keepalive")
    with Wire(server.port) as wire:
        if asked:
            wire.assert_open()
        wire.assert_closed()


def test_a_connection_that_is_used_is_not_idle(impatient: Impatient) -> None:
    server = impatient("keepalive", 2.0)
    end = time.monotonic() + 2.5
    with Wire(server.port) as wire:
        while time.monotonic() < end:
            wire.assert_open()
            time.sleep(0.1)


def test_a_request_that_arrives_when_its_idle_connections_time_is_over_is_answered(
    serve: Serve, kind: Mode
) -> None:
    """The worker had no time to look for a while, and finds both at once."""
    server = serve("tests.apps.mix:app", workers=1, keepalive=1.0, **kind.settings)
    (worker,) = server.workers().values()
    with Wire(server.port) as wire, server.client() as other:
        assert wire.get("/").status == 200
        os.kill(worker, signal.SIGSTOP)
        time.sleep(1.5)
        wire.send(request("GET", "/slow?0.3"))
        os.kill(worker, signal.SIGCONT)
        assert wire.response().text == "slow\n"
        assert other.ask("/pid").text == str(worker)


def test_without_keep_alive_each_connection_ends_after_its_response(impatient: Impatient) -> None:
    server = impatient("keepalive", 0.0)
    with Wire(server.port) as wire:
        assert wire.get("/pid").get("Connection") == "close"
        wire.assert_closed()
    with Wire(server.port) as wire:
        wire.send(request("GET", "/pid", "Connection: keep-alive", version="1.0"))
        assert wire.response().get("Connection") == "close"
        wire.assert_closed()


def test_without_keep_alive_a_silent_connection_has_the_time_of_a_head(used: Impatient) -> None:
    server = used(**{**dict.fromkeys(TIMEOUTS, LONG), "header_timeout": 1.0, "keepalive": 0.0})
    with Wire(server.port) as wire:
        wire.assert_closed()


def test_clients_that_take_nothing_of_their_responses_are_cut_off(serve: Serve, kind: Mode) -> None:
    """Whether a response fits the worker's buffer, does not, or never ends, in parts of any size;
    each is a worker's own, as it may hold one up for as long."""
    paths = ["/large?900000", "/large?16000000", "/endless?a/65536", "/endless?b/10"]
    timeouts = {**dict.fromkeys(TIMEOUTS, LONG), "send_timeout": 0.5}
    server = serve(APP, workers=len(paths), **kind.settings, **timeouts)
    clients = [Wire(server.port, receive_buffer=4096) for _ in paths]
    for client, path in zip(clients, paths, strict=True):
        # More than the kernel takes in any case.
        client.send(request("GET", path) * 10)
    for client in clients:
        eventually(client.reset_has_come, "the connection to be reset")
        client.close()
    for _ in paths:
        with Wire(server.port) as other:
            other.assert_open()


def test_clients_that_take_less_of_their_responses_than_the_least_rate_are_cut_off(
    serve: Serve, kind: Mode
) -> None:
    """Whether the worker stands still for them, or keeps the rest itself."""
    paths = ["/large?900000", "/large?16000000", "/endless?a/65536"]
    timeouts = {**dict.fromkeys(TIMEOUTS, LONG), "send_timeout": 1.0, "client_rate": 1_000_000}
    server = serve(APP, workers=len(paths), **kind.settings, **timeouts)
    clients = [Wire(server.port, receive_buffer=4096) for _ in paths]
    for client, path in zip(clients, paths, strict=True):
        client.send(request("GET", path) * 10)

    def all_are_cut_off() -> bool:
        for client in clients:
            with contextlib.suppress(OSError):
                client.sock.recv(2000)
        return all(client.reset_has_come() or is_over(client) for client in clients)

    eventually(all_are_cut_off, "all connections to be reset")
    for client in clients:
        client.close()


def is_over(client: Wire) -> bool:
    """Whether the connection has failed, whoever was told of that."""
    try:
        return client.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_clients_that_take_their_responses_slowly_but_steadily_are_not_cut_off(
    serve: Serve, kind: Mode
) -> None:
    """The kernel calls a socket writable only when a third of its buffer, which is megabytes, is
    free: a client can take longer over that than it may take nothing."""
    # Responses that fit the worker's buffer, that do not, and of which the rest does.
    sizes = {900_000: 0, 16_000_000: 0, 17_000_000: 12_000_000}
    timeouts = {**dict.fromkeys(TIMEOUTS, LONG), "send_timeout": 2.0}
    server = serve(APP, workers=len(sizes), **kind.settings, **timeouts)
    # With a large buffer of its own a client would take more only every other second.
    clients = {size: Wire(server.port, receive_buffer=1 << 14) for size in sizes}
    for size, client in clients.items():
        client.send(request("GET", f"/large?{size}") * ceil(16_000_000 / size))
    for size, client in clients.items():
        assert client.head()[0] == "HTTP/1.1 200 OK"
        client.exactly(sizes[size])
    began = time.monotonic()
    for _ in range(35):
        for client in clients.values():
            client.exactly(10_000)
        time.sleep(0.1)
    assert time.monotonic() - began > 3.0
    for size, client in clients.items():
        client.exactly(size - sizes[size] - 350_000)
        for _ in range(ceil(16_000_000 / size) - 1):
            assert client.response().body == b"x" * size
        client.close()


def test_what_has_come_while_the_app_was_busy_is_not_too_late(used: Impatient) -> None:
    """The worker looks at the clock before it looks at the sockets again."""
    server = used(keepalive=1.0, header_timeout=1.0, body_timeout=1.0, send_timeout=LONG)
    with Wire(server.port) as busy, Wire(server.port) as idle, Wire(server.port) as begun:
        idle.assert_open()
        begun.send(POST[:30])
        busy.send(request("GET", "/gated?busy"))
        busy.head()
        begun.send(POST[30:])
        idle.send(request("GET", "/pid"))
        time.sleep(2)  # longer than any patience with them
        (server.directory / "go-busy").touch()
        assert idle.response().status == 200
        assert begun.response().body == b"0123456789"


def test_a_client_has_its_time_to_take_the_response_to_a_long_request(impatient: Impatient) -> None:
    server = impatient("send_timeout", 2.0)
    with Wire(server.port, receive_buffer=4096) as wire:
        wire.send(request("GET", "/gated?long") + request("GET", "/large?900000") * 10)
        wire.head()
        time.sleep(2.5)
        (server.directory / "go-long").touch()
        assert [wire.chunk() for _ in range(3)] == [b"first", b"second", b""]
        time.sleep(0.5)
        for _ in range(10):
            assert len(wire.response().body) == 900_000


def test_a_connection_is_kept_after_a_request_longer_than_keepalive(impatient: Impatient) -> None:
    server = impatient("keepalive", 2.0)
    with Wire(server.port) as wire:
        wire.send(request("GET", "/gated?long"))
        wire.head()
        time.sleep(2.5)
        (server.directory / "go-long").touch()
        assert [wire.chunk() for _ in range(3)] == [b"first", b"second", b""]
        time.sleep(0.5)
        wire.assert_open()
