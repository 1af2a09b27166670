"""Clients that are slow, stuck or silent cost a buffer, never a worker, and are let go in time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.conftest import Serve
from tests.support.rawhttp import Wire, chunked, request, running, show_log_of_failure
from tests.support.server import PATIENCE, Server, eventually

APP = "tests.apps.contract:app"
LONG = 600.0
TIMEOUTS = ("keepalive", "header_timeout", "body_timeout", "send_timeout")


def impatient(name: str, seconds: float = 1.0) -> dict[str, float]:
    """Settings with which only this one can end a connection within a test."""
    return {**dict.fromkeys(TIMEOUTS, LONG), name: seconds}


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one sync worker that lets no client go."""
    settings = dict.fromkeys(TIMEOUTS, LONG)
    with running(APP, tmp_path_factory.mktemp("patient"), workers=1, **settings) as server:
        yield server


@pytest.fixture(autouse=True)
def _shown(request: pytest.FixtureRequest) -> Iterator[None]:
    if "patient" in request.fixturenames:
        yield from show_log_of_failure(request, request.getfixturevalue("patient"))
    else:
        yield


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


def test_a_head_that_does_not_come_to_its_end_is_answered_with_408(serve: Serve) -> None:
    server = serve(APP, **impatient("header_timeout"))
    with Wire(server.port) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: te")
        response = wire.response()
        assert (response.status, response.get("Connection")) == (408, "close")
        wire.assert_closed()


def test_a_head_that_keeps_coming_is_not_given_more_time_for_that(serve: Serve) -> None:
    server = serve(APP, **impatient("header_timeout"))
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
    serve: Serve,
) -> None:
    server = serve(APP, **impatient("header_timeout"))
    with Wire(server.port) as wire:
        wire.send(request("GET", "/pid") + b"GET ")
        assert wire.response().status == 200
        assert wire.response().status == 408
        wire.assert_closed()


@pytest.mark.parametrize("sent", [POST[:-1], CHUNKED[:-1]], ids=["length", "chunked"])
def test_a_body_that_does_not_come_to_its_end_is_answered_with_408(
    serve: Serve, sent: bytes
) -> None:
    server = serve(APP, **impatient("body_timeout"))
    with Wire(server.port) as wire:
        wire.send(sent)
        assert wire.response().status == 408
        wire.assert_closed()


def test_a_body_whose_parts_each_come_in_time_may_take_any_time(serve: Serve) -> None:
    server = serve(APP, **impatient("body_timeout", 2.0))
    began = time.monotonic()
    with Wire(server.port) as wire:
        wire.send(request("POST", "/echo", "Content-Length: 21"))
        for _ in range(20):
            wire.send(b"x")
            time.sleep(0.2)
        assert time.monotonic() - began > 4.0
        wire.send(b"x")
        assert wire.response().body == b"x" * 21


@pytest.mark.parametrize("asked", [True, False])
def test_an_idle_connection_is_closed_when_its_time_is_over(serve: Serve, asked: bool) -> None:
    server = serve(APP, **impatient("keepalive"))
    with Wire(server.port) as wire:
        if asked:
            wire.assert_open()
        wire.assert_closed()


def test_a_connection_that_is_used_is_not_idle(serve: Serve) -> None:
    server = serve(APP, **impatient("keepalive", 2.0))
    end = time.monotonic() + 3.0
    with Wire(server.port) as wire:
        while time.monotonic() < end:
            wire.assert_open()
            time.sleep(0.1)


def test_without_keep_alive_each_connection_ends_after_its_response(serve: Serve) -> None:
    server = serve(APP, **impatient("keepalive", 0.0))
    with Wire(server.port) as wire:
        assert wire.get("/pid").get("Connection") == "close"
        wire.assert_closed()
    with Wire(server.port) as wire:
        wire.send(request("GET", "/pid", "Connection: keep-alive", version="1.0"))
        assert wire.response().get("Connection") == "close"
        wire.assert_closed()


def test_without_keep_alive_a_silent_connection_has_the_time_of_a_head(serve: Serve) -> None:
    server = serve(APP, **{**impatient("header_timeout"), "keepalive": 0})
    with Wire(server.port) as wire:
        wire.assert_closed()


@pytest.mark.parametrize(
    "path",
    ["/large?900000", "/large?16000000", "/endless?unread/65536", "/endless?unread/10"],
    ids=["fits the buffer", "does not fit", "never ends", "never ends, in small parts"],
)
def test_a_client_that_takes_nothing_of_its_response_is_cut_off(serve: Serve, path: str) -> None:
    server = serve(APP, **impatient("send_timeout"))
    with Wire(server.port, receive_buffer=4096) as stuck, Wire(server.port) as other:
        # More than the kernel takes in any case.
        stuck.send(request("GET", path) * 10)
        eventually(stuck.reset_has_come, "the connection to be reset")
        other.assert_open()


@pytest.mark.parametrize(
    ("size", "quick"),
    [(900_000, 0), (16_000_000, 0), (16_000_000, 12_000_000)],
    ids=["fits the buffer", "does not fit", "the rest of it fits"],
)
def test_a_client_that_takes_its_response_slowly_but_steadily_is_not_cut_off(
    serve: Serve, size: int, quick: int
) -> None:
    """The kernel calls a socket writable only when a third of its buffer, which is megabytes, is
    free: a client can take longer over that than it may take nothing."""
    server = serve(APP, **impatient("send_timeout", 2.0))
    # With a large buffer of its own the client would take more only every other second.
    with Wire(server.port, receive_buffer=1 << 14) as wire:
        wire.send(request("GET", f"/large?{size}") * (16_000_000 // size))
        assert wire.head()[0] == "HTTP/1.1 200 OK"
        wire.exactly(quick)
        began = time.monotonic()
        for _ in range(60):
            wire.exactly(10_000)
            time.sleep(0.1)
        assert time.monotonic() - began > 4.0
        wire.exactly(size - quick - 600_000)
        for _ in range(16_000_000 // size - 1):
            assert wire.response().body == b"x" * size


def test_what_has_come_while_the_app_was_busy_is_not_too_late(serve: Serve) -> None:
    """The worker looks at the clock before it looks at the sockets again."""
    server = serve(APP, workers=1, keepalive=1, header_timeout=1, body_timeout=1, send_timeout=LONG)
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


def test_a_client_has_its_time_to_take_the_response_to_a_long_request(serve: Serve) -> None:
    server = serve(APP, workers=1, **impatient("send_timeout", 2.0))
    with Wire(server.port, receive_buffer=4096) as wire:
        wire.send(request("GET", "/gated?long") + request("GET", "/large?900000") * 10)
        wire.head()
        time.sleep(2.5)
        (server.directory / "go-long").touch()
        assert [wire.chunk() for _ in range(3)] == [b"first", b"second", b""]
        time.sleep(0.5)
        for _ in range(10):
            assert len(wire.response().body) == 900_000


def test_a_connection_is_kept_after_a_request_longer_than_keepalive(serve: Serve) -> None:
    server = serve(APP, workers=1, **impatient("keepalive", 2.0))
    with Wire(server.port) as wire:
        wire.send(request("GET", "/gated?long"))
        wire.head()
        time.sleep(2.5)
        (server.directory / "go-long").touch()
        assert [wire.chunk() for _ in range(3)] == [b"first", b"second", b""]
        time.sleep(0.5)
        wire.assert_open()
