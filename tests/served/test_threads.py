"""The kind `threads`: so many requests at once and not more; and what holds for all kinds that run
several at once."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Client
from tests.support.command import launched
from tests.support.modes import DISPATCHES, THREADS, Mode
from tests.support.rawhttp import Wire, request, running
from tests.support.server import Server, eventually

APP = "tests.apps.together:app"
CONCURRENT = [Mode(kind, dispatch) for kind in ("threads", "gevent") for dispatch in DISPATCHES]
# Of them those whose threads are the kernel's.
THREADED = [mode for mode in CONCURRENT if mode.kind == "threads"]


@pytest.fixture(scope="module", params=CONCURRENT, ids=str)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with a single worker: whatever runs at once runs in that."""
    with running(APP, tmp_path_factory.mktemp("threads"), **request.param.settings) as server:
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


only_threads = pytest.mark.parametrize("server", THREADED, ids=str, indirect=True)


# How many at once.


def test_as_many_requests_run_at_once_as_there_are_threads(server: Server) -> None:
    """None is answered before all have begun."""
    for client in asking(server, *[f"/meet?all/{THREADS}"] * THREADS):
        assert answer(client) == (200, "met")


@only_threads
def test_no_more_requests_run_at_once_than_there_are_threads(server: Server) -> None:
    answers = [answer(client) for client in asking(server, *["/count"] * (5 * THREADS))]
    assert {status for status, _ in answers} == {200}
    assert max(int(peak) for _, peak in answers) == THREADS


@only_threads
def test_requests_on_kept_connections_run_at_once_and_not_more_of_them(server: Server) -> None:
    clients = [server.client() for _ in range(3 * THREADS)]
    for client in clients:
        client.ask("/")
    for _ in range(3):
        for client in clients:
            client.request("GET", "/count")
        peaks = {int(client.getresponse().read()) for client in clients}
        assert max(peaks) == THREADS
    for client in clients:
        client.close()


def test_a_request_that_waits_for_a_thread_is_served_when_one_is_free(server: Server) -> None:
    held = asking(server, *[f"/hold?{number}" for number in range(THREADS)])
    for number in range(THREADS):
        eventually((server.directory / f"begun-{number}").exists, "the requests to run")
    late = asking(server, *["/"] * 10)
    (server.directory / "go-0").touch()
    assert {answer(client)[0] for client in late} == {200}
    for number in range(1, THREADS):
        (server.directory / f"go-{number}").touch()
    assert {answer(client) for client in held} == {(200, "held")}
    for path in [*server.directory.glob("go-*"), *server.directory.glob("begun-*")]:
        path.unlink()


@only_threads
def test_the_threads_have_names(server: Server) -> None:
    names = {answer(client)[1] for client in asking(server, *["/thread"] * 50)}
    assert names <= {f"prefork-{number}" for number in range(1, THREADS + 1)}


@pytest.mark.parametrize(
    ("settings", "multithread"),
    [
        ({"threads": 4}, True),
        ({"threads": 1}, False),
        ({"threads": 1, "worker_class": "threads"}, True),
        ({"threads": 4, "worker_class": "sync"}, True),
    ],
)
def test_several_threads_alone_make_workers_of_that_kind(
    serve: Serve, settings: dict[str, object], multithread: bool
) -> None:
    server = serve("tests.apps.contract:app", **settings)
    with server.client() as client:
        assert f'"wsgi.multithread": {str(multithread).lower()}' in client.ask("/").text


def test_several_threads_can_be_asked_for_on_the_command_line(tmp_path: Path) -> None:
    with launched(tmp_path, APP, "-b", "127.0.0.1:0", "--threads", "3") as server:
        for client in asking(server.started(), *["/meet?three/3"] * 3):
            assert answer(client) == (200, "met")


def test_pipelined_requests_wait_for_nothing(server: Server) -> None:
    """A hundred together take no longer than a hundred one after the other, with some to spare."""

    def seconds(requests: int) -> float:
        began = time.monotonic()
        for _ in range(0, 100, requests):
            wire.send(request("GET", "/thread") * requests)
            for _ in range(requests):
                assert wire.response().status == 200
        return time.monotonic() - began

    with Wire(server.port) as wire:
        apart = seconds(1)
        assert min(seconds(100) for _ in range(3)) < 10 * apart


# What they write.


def letters(part: bytes, size: int) -> tuple[str, int]:
    """The letter and the number of a part that a thread of the app has written."""
    match = re.fullmatch(rb"([A-Z])(\d+?)(\1*)", part)
    assert match, "a part of one thread in that of another"
    assert len(match[3]) == size
    return match[1].decode(), int(match[2])


@pytest.mark.parametrize(("threads", "parts", "size"), [(4, 100, 10), (4, 20, 100_000)])
def test_what_several_threads_of_the_app_write_is_neither_mixed_nor_lost(
    server: Server, threads: int, parts: int, size: int
) -> None:
    """Not even when the client is slow to take it, so that they have to wait."""
    with Wire(server.port, receive_buffer=4096) as wire:
        wire.send(request("GET", f"/threads-that-write?{threads}/{parts}/{size}"))
        time.sleep(0.2)
        chunks = [letters(chunk, size) for chunk in wire.response().chunks]
        assert wire.get("/").status == 200
    for letter in "ABCD"[:threads]:
        assert [number for each, number in chunks if each == letter] == list(range(parts))
    assert len(chunks) == threads * parts


# Slow clients.


def test_a_slow_client_of_a_large_response_holds_no_thread_but_its_own(server: Server) -> None:
    slow = [Wire(server.port, receive_buffer=4096) for _ in range(THREADS - 1)]
    for wire in slow:
        wire.send(request("GET", "/large?8000000"))
        wire.head()
    for _ in range(10):
        assert answer(asking(server, "/")[0])[0] == 200
    for wire in slow:
        assert wire.exactly(8_000_000) == b"x" * 8_000_000
        wire.close()


def test_slow_clients_of_responses_that_fit_the_buffer_hold_no_thread(server: Server) -> None:
    slow = [Wire(server.port, receive_buffer=4096) for _ in range(3 * THREADS)]
    for wire in slow:
        wire.send(request("GET", "/large?900000") * 5)
    for client in asking(server, *[f"/meet?fit/{THREADS}"] * THREADS):
        assert answer(client) == (200, "met")
    for wire in slow:
        for _ in range(5):
            assert len(wire.response().body) == 900_000
        wire.close()


def test_clients_that_go_while_their_requests_run_free_their_threads(server: Server) -> None:
    for reset in (False, True):
        for number in range(3 * THREADS):
            with Wire(server.port) as wire:
                wire.send(request("GET", ("/large?8000000", "/sleep?0.01")[number % 2]))
                if reset:
                    wire.reset_on_close()
    for client in asking(server, *[f"/meet?free/{THREADS}"] * THREADS):
        assert answer(client) == (200, "met")


def test_a_client_that_takes_nothing_frees_its_thread_in_the_end(serve: Serve) -> None:
    server = serve(APP, threads=1, worker_class="threads", send_timeout=0.5)
    with Wire(server.port, receive_buffer=4096) as stuck:
        stuck.send(request("GET", "/large?32000000"))
        stuck.head()
        assert answer(asking(server, "/")[0])[0] == 200
        eventually(stuck.reset_has_come, "the connection to be reset")


# The end of a worker.


@pytest.mark.parametrize("kind", ["threads", "gevent"])
def test_a_request_that_kills_its_worker_costs_those_that_run_with_it_and_nobody_else(
    serve: Serve, kind: str
) -> None:
    server = serve(APP, **Mode(kind).settings)
    idle = server.client()
    idle.ask("/")
    sock = idle.sock
    (held,) = asking(server, "/hold?it")
    eventually((server.directory / "begun-it").exists, "the request to run")
    (killer,) = asking(server, "/die")
    assert answer(killer) == answer(held) == (502, "")
    assert idle.ask("/").status == 200
    assert idle.sock is sock


# Load.


def test_many_requests_of_many_clients_are_all_answered(server: Server) -> None:
    def ask(number: int) -> int:
        paths = ["/", "/sleep?0.001", f"/large?{number * 1000}", "/thread"] * 5
        with server.client() as client:
            return sum(client.ask(path).status == 200 for path in paths)

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(ask, range(60))) == [20] * 60
