"""More connections than can be had: idle ones make room, and whoever finds none is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.conftest import Serve
from tests.support.modes import Mode
from tests.support.rawhttp import Wire, request
from tests.support.server import Server, eventually

APP = "tests.apps.contract:app"
SLOW = {"keepalive": 600, "header_timeout": 600, "body_timeout": 600}


@contextmanager
def connected(server: Server, count: int) -> Iterator[list[Wire]]:
    """So many connections, each of which was served."""
    with ExitStack() as stack:
        wires = []
        for _ in range(count):
            wires.append(stack.enter_context(Wire(server.port)))
            wires[-1].assert_open()
        yield wires


@contextmanager
def slow_heads(server: Server, count: int) -> Iterator[list[Wire]]:
    """So many connections in the middle of a head, one after the other."""
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(server.port)) for _ in range(count)]
        for wire in wires:
            wire.send(b"GET / HTTP/1.1\r\n")
        yield wires


def test_idle_connections_beyond_the_workers_credit_keep_nobody_out(
    serve: Serve, kind: Mode
) -> None:
    """They are not closed for it: the master keeps them until their next request."""
    server = serve(APP, workers=1, worker_connections=4, **kind.settings, **SLOW)
    with connected(server, 20) as wires:
        for wire in wires:
            wire.assert_open()


def test_whoever_finds_all_credit_held_by_slow_clients_is_told_so(serve: Serve, mode: Mode) -> None:
    server = serve(APP, workers=1, worker_connections=10, **mode.settings, **SLOW)
    with slow_heads(server, 10) as slow:
        with Wire(server.port) as wire, Wire(server.port) as other:
            for each in (wire, other):
                each.send(request("GET", "/"))
            for each in (wire, other):
                response = each.response()
                assert (response.status, response.get("Connection")) == (503, "close")
                assert response.get("Retry-After") == "1"
                each.assert_closed()
        server.wait_for("too many connections: ")
        # The slow ones are none the worse for it, and whoever leaves makes room.
        slow[0].send(b"Host: test\r\n\r\n")
        assert slow[0].response().status == 200
        slow[0].close()

        def served() -> bool:
            with Wire(server.port) as wire:
                return wire.get("/").status == 200

        eventually(served, "room for another")


def test_where_the_workers_accept_idle_connections_end_to_make_room(serve: Serve) -> None:
    server = serve(APP, workers=1, worker_connections=10, dispatch="shared", **SLOW)
    with connected(server, 10) as first, connected(server, 5) as last:
        for wire in last:
            wire.assert_open()
        assert sum(is_closed(wire) for wire in first) >= 5


def test_past_the_bound_the_connection_that_was_idle_longest_makes_room(
    serve: Serve, kind: Mode
) -> None:
    server = serve(
        APP, workers=1, worker_connections=10, limit_connections=20, **kind.settings, **SLOW
    )
    with connected(server, 10) as first, connected(server, 10), connected(server, 5) as last:
        for wire in last:
            wire.assert_open()
        assert any(is_closed(wire) for wire in first)


def test_past_the_bound_new_connections_are_told_so_where_none_is_idle(
    serve: Serve, kind: Mode
) -> None:
    server = serve(APP, workers=1, limit_connections=20, **kind.settings, **SLOW)
    with slow_heads(server, 20), Wire(server.port) as wire:
        response = wire.get("/")
        assert (response.status, response.get("Connection")) == (503, "close")
        wire.assert_closed()


def is_closed(wire: Wire) -> bool:
    """Whether the server has ended the connection."""
    wire.sock.settimeout(0.1)
    try:
        return wire.sock.recv(1) == b""
    except TimeoutError:
        return False
