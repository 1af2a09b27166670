"""Bodies of requests that a gevent worker's app reads while they arrive.

Those of a Content-Length: a chunked one is received whole, in every kind, as apps go by the
length.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.modes import DISPATCHES, Mode
from tests.support.rawhttp import Wire, chunked, request, running
from tests.support.server import Server, eventually

APP = "tests.apps.together:app"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
MIB = 1 << 20
_numbers = count()


@pytest.fixture(scope="module", params=DISPATCHES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    settings = Mode("gevent", request.param).settings
    with running(APP, tmp_path_factory.mktemp("streaming"), **settings) as server:
        yield server


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server.port) as wire:
        yield wire


@pytest.fixture
def name() -> str:
    """A name that no other test uses, for the files of the app."""
    return f"test{next(_numbers)}"


def post(target: str, size: int, *fields: str) -> bytes:
    """The head of a request with a body of this size."""
    return request("POST", target, *fields, f"Content-Length: {size}")


def left(server: Server, name: str) -> Callable[[], bool]:
    """Whether the app has left this file."""
    return (server.directory / name).exists


# As it comes.


def test_an_app_has_the_beginning_of_a_body_before_the_end_is_sent(
    server: Server, wire: Wire, name: str
) -> None:
    wire.send(post("/first-line", len(name) + 5) + name.encode() + b"\n")
    eventually(left(server, name), "the app to have read the first line")
    wire.send(b"rest")
    assert wire.response().body == b"rest"
    assert wire.get("/").status == 200


def test_a_body_and_its_response_may_go_back_and_forth(wire: Wire) -> None:
    wire.send(post("/echo-parts", 80))
    for number in range(10):
        line = b"line %2d\n" % number
        wire.send(line)
        if number == 0:
            wire.head()
        assert wire.chunk() == line
    assert wire.chunk() == b""
    assert wire.get("/").status == 200


def test_a_chunked_body_is_received_before_the_app_is_called(
    server: Server, wire: Wire, name: str
) -> None:
    wire.send(request("POST", "/first-line", "Transfer-Encoding: chunked"))
    wire.send(b"%x\r\n%b\n\r\n" % (len(name) + 1, name.encode()))
    with Wire(server.port) as other:
        for _ in range(5):
            assert other.get("/").status == 200
    assert not left(server, name)()
    wire.send(chunked(b"rest"))
    assert wire.response().body == b"rest"


def test_many_bodies_are_read_at_once(server: Server) -> None:
    wires = [Wire(server.port) for _ in range(20)]
    for part in (b"", b"he", b"ll", b"o"):
        for wire in wires:
            wire.send(part or post("/read", 5))
    for wire in reversed(wires):
        assert wire.response().body == b"hello"
        wire.close()


def test_a_request_in_the_same_segment_as_the_end_of_a_body_is_served_after_it(wire: Wire) -> None:
    wire.send(post("/read", 10) + b"hello")
    wire.send(b"world" + request("GET", "/thread") + post("/read", 3) + b"ab")
    assert wire.response().body == b"helloworld"
    assert wire.response().status == 200
    wire.send(b"c" + request("GET", "/"))
    assert wire.response().body == b"abc"
    assert wire.response().status == 200


def test_another_thread_of_the_app_may_read_the_body(wire: Wire) -> None:
    wire.send(post("/read-elsewhere", 5) + b"he")
    wire.send(b"llo")
    assert wire.response().body == b"hello"
    assert wire.get("/").status == 200


def test_a_client_of_http_1_0_may_send_its_body_as_it_likes(wire: Wire) -> None:
    head = request("POST", "/read", "Connection: keep-alive", "Content-Length: 5", version="1.0")
    for _ in range(2):
        wire.send(head + b"he")
        wire.send(b"llo")
        assert wire.response().body == b"hello"


# Expect: 100-continue.


def test_a_client_is_told_to_continue_when_the_app_asks_for_the_body(
    server: Server, wire: Wire, name: str
) -> None:
    wire.send(post(f"/hold-and-read?{name}", 5, "Expect: 100-continue"))
    eventually(left(server, f"begun-{name}"), "the app to be called")
    with Wire(server.port) as other:
        assert other.get("/").status == 200
    assert not select.select([wire.sock], [], [], 0)[0], "it was told before"
    (server.directory / f"go-{name}").touch()
    assert wire.exactly(len(INTERIM)) == INTERIM
    wire.send(b"hello")
    assert wire.response().body == b"5"
    assert wire.get("/").status == 200


def test_a_client_is_not_told_to_continue_when_the_app_does_not_want_the_body(wire: Wire) -> None:
    """It can't know whether the client sends it nevertheless, so the connection ends."""
    wire.send(post("/ignore", 5, "Expect: 100-continue"))
    response = wire.response()
    assert (response.status, response.body) == (200, b"ignored")
    assert response.get("Connection") == "close"
    wire.assert_closed()


def test_a_client_that_has_sent_the_unwanted_body_already_is_served_on(wire: Wire) -> None:
    wire.send(post("/ignore", 5, "Expect: 100-continue") + b"hello" + request("GET", "/thread"))
    assert wire.response().body == b"ignored"
    assert wire.response().status == 200


def test_nothing_is_put_into_a_response_that_has_begun(wire: Wire) -> None:
    """No interim response can come after the beginning of the final one."""
    wire.send(post("/start-and-read", 5, "Expect: 100-continue"))
    wire.head()
    assert wire.chunk() == b"first"
    wire.send(b"hello")
    assert wire.chunk() == b"hello"
    assert wire.chunk() == b""


# A body that the app does not read.


@pytest.mark.parametrize("size", [5, 100_000, MIB])
def test_a_body_that_the_app_does_not_read_is_passed_over(
    server: Server, wire: Wire, size: int
) -> None:
    for sent in (0, size // 2, size):
        wire.send(post("/ignore", size) + b"x" * sent)
        response = wire.response()
        assert (response.body, response.get("Connection")) == (b"ignored", None)
        wire.send(b"x" * (size - sent) + request("GET", "/thread"))
        assert wire.response().status == 200


def test_a_large_body_that_the_app_does_not_read_ends_the_connection(wire: Wire) -> None:
    """It is not worth having; but its client must be able to read the response."""
    wire.send(post("/ignore", 8 * MIB))
    response = wire.response()
    assert (response.body, response.get("Connection")) == (b"ignored", "close")
    wire.send(b"x" * 100_000)
    wire.assert_closed()


def test_a_client_that_sends_a_large_unread_body_gets_the_response(wire: Wire) -> None:
    wire.send(post("/ignore", 4 * MIB) + b"x" * (4 * MIB))
    assert wire.response().body == b"ignored"


def test_a_client_that_goes_in_the_rest_of_an_unread_body_harms_nobody(
    server: Server, wire: Wire
) -> None:
    pid = wire.get("/").body
    for reset in (False, True):
        with Wire(server.port) as other:
            other.send(post("/ignore", 100) + b"x")
            assert other.response().body == b"ignored"
            if reset:
                other.reset_on_close()
    assert wire.get("/").body == pid


# No more than the app reads.


def sent_until_full(wire: Wire, size: int) -> int:
    """How much of so many bytes can be sent, until for a while nothing more can."""
    sent, data = 0, b"x" * 65536
    wire.sock.setblocking(False)
    while sent < size and select.select([], [wire.sock], [], 1.0)[1]:
        try:
            sent += wire.sock.send(data[: size - sent])
        except BlockingIOError:
            continue
    wire.sock.settimeout(30)
    return sent


def most_memory(pid: int) -> int:
    """The most bytes that a process has had in memory at once: proc(5), VmHWM."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index]


def test_a_client_can_not_send_much_more_of_a_body_than_the_app_has_read(
    server: Server, name: str
) -> None:
    size = 64 * MIB
    with Wire(server.port) as wire, Wire(server.port) as other:
        pid = int(other.get("/").body)
        before = most_memory(pid)
        wire.send(post(f"/hold-and-read?{name}", size))
        sent = sent_until_full(wire, size)
        # What the kernel keeps on both sides of the connection is a few MiB.
        assert sent < size // 2
        assert other.get("/").status == 200
        (server.directory / f"go-{name}").touch()
        for start in range(sent, size, MIB):
            wire.send(b"x" * min(MIB, size - start))
        assert int(wire.response().body) == size
        assert most_memory(pid) - before < size // 4
        assert wire.get("/").status == 200


# A body that does not come.


def impatient(serve: Serve, **settings: float) -> Server:
    return serve(APP, worker_class="gevent", **settings)


def test_an_app_is_told_that_its_client_is_gone(server: Server, wire: Wire) -> None:
    pid = wire.get("/").body
    since = server.mark()
    for reset in (False, True):
        with Wire(server.port) as other:
            other.send(post("/read-and-tell", 10) + b"hello")
            assert wire.get("/").status == 200
            if reset:
                other.reset_on_close()
        told = server.directory / "ConnectionResetError"
        eventually(told.exists, "the app to be told")
        told.unlink()
    assert wire.get("/").body == pid
    assert "Traceback" not in server.log[since:]


def test_a_client_that_half_closes_in_its_body_is_gone(server: Server, wire: Wire) -> None:
    wire.send(post("/read", 10) + b"hello")
    wire.half_close()
    wire.assert_closed()


def test_an_app_that_does_not_mind_is_no_error_when_its_client_is_gone(
    server: Server, wire: Wire, name: str
) -> None:
    since = server.mark()
    with Wire(server.port) as other:
        other.send(post("/read", 10) + name.encode()[:5])
        assert wire.get("/").status == 200
    server.wait_for("POST /read: the body did not arrive: ", since)
    assert "ERROR" not in server.log[since:]
    assert "Traceback" not in server.log[since:]


def test_a_body_that_stalls_is_answered_with_408(serve: Serve) -> None:
    server = impatient(serve, body_timeout=0.5)
    with Wire(server.port) as wire, Wire(server.port) as other:
        wire.send(post("/read", 10) + b"hello")
        assert other.get("/").status == 200
        assert wire.response().status == 408
        wire.assert_closed()
        assert other.get("/").status == 200
    assert "Traceback" not in server.log


def test_an_app_may_answer_for_itself_when_a_body_stalls(serve: Serve) -> None:
    server = impatient(serve, body_timeout=0.5)
    with Wire(server.port) as wire:
        wire.send(post("/read-and-tell", 10) + b"hello")
        response = wire.response()
        assert (response.body, response.get("Connection")) == (b"TimeoutError", "close")
        wire.assert_closed()


def test_a_response_that_has_begun_is_cut_when_the_body_stalls(serve: Serve) -> None:
    server = impatient(serve, body_timeout=0.5)
    with Wire(server.port) as wire:
        wire.send(post("/start-and-read", 10) + b"hello")
        wire.head()
        assert wire.assert_cut() == b"5\r\nfirst\r\n"


def test_the_time_that_an_app_takes_before_it_reads_is_not_the_clients(serve: Serve) -> None:
    server = impatient(serve, body_timeout=0.5)
    with Wire(server.port) as wire:
        wire.send(post("/hold-and-read?late", 10) + b"hello")
        eventually(left(server, "begun-late"), "the app to be called")
        time.sleep(1.5)
        wire.send(b"world")
        (server.directory / "go-late").touch()
        assert wire.response().body == b"10"


def test_the_rest_of_an_unread_body_that_stalls_ends_the_connection(serve: Serve) -> None:
    server = impatient(serve, body_timeout=0.5)
    with Wire(server.port) as wire:
        wire.send(post("/ignore", 10) + b"hello")
        assert wire.response().body == b"ignored"
        wire.assert_closed()
