"""Files that an app returns by `wsgi.file_wrapper`, in every mode: the kernel sends them,
from where the app stands in them, and a client that is slow to take one holds up nobody."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.modes import Mode
from tests.support.rawhttp import Wire, request, running
from tests.support.server import Server, eventually, open_files

APP = "tests.apps.files:app"
MIB = 1 << 20
CONTENT = bytes(range(256)) * 100


@pytest.fixture(scope="module")
def server(mode: Mode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("files")
    with running(APP, directory, workers=1, **mode.settings) as server:
        yield server


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server.port) as wire:
        yield wire


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A sparse file that no buffer of a kernel has room for."""
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 64 * MIB)
    return path


def drain(wire: Wire, size: int) -> None:
    while size:
        size -= len(wire.exactly(min(size, MIB)))


@pytest.mark.parametrize("how", ["buffered", "raw", "random", "memory", "subclass"])
@pytest.mark.parametrize("read", [0, 5, 10000])
def test_a_file_is_sent_from_its_position_on(wire: Wire, file: Path, how: str, read: int) -> None:
    response = wire.get(f"/?path={file}&as={how}&read={read}")
    assert response.body == CONTENT[read:]
    has_length = response.get("Content-Length") == str(len(CONTENT) - read)
    assert has_length == (how in ("buffered", "raw", "random"))
    wire.assert_open()


def test_what_only_has_a_file_beneath_is_read(wire: Wire, file: Path) -> None:
    (packed := file.with_suffix(".gz")).write_bytes(gzip.compress(CONTENT))
    for how in ("gzip", "behind-gzip"):
        assert wire.get(f"/?path={packed}&as={how}&read=3").body == CONTENT[3:]
    assert wire.get(f"/?path={file}&as=pipe").body == CONTENT


def test_a_file_of_text_is_a_500(server: Server, wire: Wire, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    assert wire.get(f"/?path={tmp_path / 'text'}&as=text").status == 500


def test_a_file_that_tells_no_size_is_read(wire: Wire) -> None:
    assert b"Linux" in wire.get("/?path=/proc/version").body


def test_an_empty_file_is_an_empty_body(wire: Wire, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert wire.get(f"/?path={tmp_path / 'empty'}").body == b""
    wire.assert_open()


def test_as_much_is_sent_as_the_app_says(wire: Wire, file: Path) -> None:
    assert wire.get(f"/?path={file}&read=10&length=20").body == CONTENT[10:30]
    assert wire.get(f"/?path={file}&length=0").body == b""
    wire.assert_open()


def test_a_file_shorter_than_its_length_is_cut(wire: Wire, file: Path) -> None:
    wire.send(request("GET", f"/?path={file}&length={len(CONTENT) + 1}"))
    assert wire.assert_cut().endswith(CONTENT)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_a_body_sends_no_file(wire: Wire, file: Path, status: str) -> None:
    assert wire.get(f"/?path={file}&status={status.replace(' ', '+')}").body == b""
    wire.assert_open()


def test_a_response_to_head_sends_the_length_of_the_file_only(wire: Wire, file: Path) -> None:
    wire.send(request("HEAD", f"/?path={file}"))
    assert wire.response("HEAD").get("Content-Length") == str(len(CONTENT))
    wire.assert_open()


def test_requests_behind_a_large_file_are_answered_in_order(wire: Wire, large: Path) -> None:
    wire.send(request("GET", f"/?path={large}") + request("GET", f"/?path={large}&length=3"))
    wire.head()
    drain(wire, 64 * MIB)
    assert wire.response().body == bytes(3)
    wire.assert_open()


def test_a_client_of_http_1_0_gets_the_file_and_its_length(wire: Wire, file: Path) -> None:
    wire.send(f"GET /?path={file} HTTP/1.0\r\n\r\n".encode())
    response = wire.response()
    assert response.get("Content-Length") == str(len(CONTENT))
    assert response.body == CONTENT
    wire.assert_closed()


def test_a_file_that_nobody_takes_holds_up_nobody_and_costs_no_memory(
    server: Server, wire: Wire, large: Path
) -> None:
    with Wire(server.port) as slow:
        pid = int(wire.get("/pid").text)
        before = peak(pid)
        slow.send(request("GET", f"/?path={large}"))
        slow.head()
        # The app has closed its file, which the server still has.
        assert str(large) in wire.get("/closed").text
        assert str(large) in open_files(pid)
        drain(slow, 64 * MIB)
        slow.assert_open()
        assert peak(pid) < before + 16 * MIB
    eventually(lambda: str(large) not in open_files(pid), "the file to be closed")


def test_a_file_is_let_go_of_when_its_client_is_gone(
    server: Server, wire: Wire, large: Path
) -> None:
    pid = int(wire.get("/pid").text)
    with Wire(server.port) as gone:
        gone.send(request("GET", f"/?path={large}"))
        gone.head()
        assert str(large) in open_files(pid)
    eventually(lambda: str(large) not in open_files(pid), "the file to be closed")
    assert wire.get("/closed").text.split().count(str(large)) == 1


def test_a_file_that_becomes_shorter_while_it_is_sent_is_cut(
    server: Server, wire: Wire, large: Path
) -> None:
    since = server.mark()
    wire.send(request("GET", f"/?path={large}"))
    wire.head()
    os.truncate(large, 0)
    assert len(wire.assert_cut()) < 64 * MIB
    server.wait_for("ERROR .* a file became [0-9]+ bytes shorter", since)


def peak(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def test_a_client_that_stops_to_take_its_file_is_let_go_in_time(
    serve: Serve, kind: Mode, large: Path
) -> None:
    server = serve(APP, workers=1, send_timeout=1, **kind.settings)
    with Wire(server.port) as stuck, Wire(server.port) as other:
        pid = int(other.get("/pid").text)
        stuck.send(request("GET", f"/?path={large}"))
        stuck.head()
        eventually(lambda: str(large) not in open_files(pid), "the client to be let go")
        assert len(stuck.assert_cut()) < 64 * MIB
