"""HTTP byte by byte: a client that shows a response exactly as the server framed it.

It reads strictly by RFC 9112, section 6.3, so a response that is framed wrongly fails the test
that reads it, or the next response on the same connection.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import PATIENCE, Server

BODILESS = (204, 304)


@dataclass(frozen=True)
class Response:
    """A response as it was received: `framing` is "none", "length", "chunked" or "close"."""

    status: int
    line: str
    fields: list[tuple[str, str]]
    framing: str
    body: bytes
    chunks: list[bytes] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """The values of every field line with this name."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The value of the field, which must not be there twice; None where it is not there."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else None

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class Wire:
    """A connection on which bytes are sent and responses are read one after the other."""

    def __init__(self, port: int, receive_buffer: int = 0) -> None:
        self.sock = socket.socket()
        if receive_buffer:
            # Before connecting: the window is announced with the handshake, tcp(7).
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.sock.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self.sock.close()

    def reset_on_close(self) -> None:
        """Have the connection reset instead of ended when it is closed: socket(7), SO_LINGER."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.sock.sendall(data)

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self.sock.shutdown(socket.SHUT_WR)

    def get(self, target: str = "/", *fields: str) -> Response:
        """Ask for something and read the response."""
        self.send(request("GET", target, *fields))
        return self.response()

    def exactly(self, size: int) -> bytes:
        """The next bytes, so many of them."""
        data = self._file.read(size)
        assert len(data) == size, f"the connection ended after {data!r}"
        return data

    def line(self) -> bytes:
        """The next line with its CRLF."""
        line = self._file.readline()
        assert line.endswith(b"\r\n"), f"the connection ended, or a bare LF: {line!r}"
        return line

    def head(self) -> tuple[str, list[tuple[str, str]]]:
        """The next status line and the fields after it."""
        status = self.line().decode("latin-1").rstrip("\r\n")
        fields = []
        while (line := self.line()) != b"\r\n":
            name, separator, value = line.decode("latin-1").rstrip("\r\n").partition(": ")
            assert separator, f"not a field line: {line!r}"
            fields.append((name, value))
        return status, fields

    def chunk(self) -> bytes:
        """The next chunk of a chunked body, empty for the last one."""
        data = self.exactly(int(self.line(), 16))
        assert self.line() == b"\r\n"
        return data

    def response(self, method: str = "GET") -> Response:
        """The next response, to a request with this method."""
        line, fields = self.head()
        assert line.startswith("HTTP/1.1 "), line
        status = int(line[9:12])
        bare = Response(status, line, fields, "none", b"")
        coding, length = bare.get("Transfer-Encoding"), bare.get("Content-Length")
        assert coding is None or length is None, "both Transfer-Encoding and Content-Length"
        if method == "HEAD" or status in BODILESS or status < 200:
            return bare
        if coding is not None:
            assert coding == "chunked"
            chunks = list(iter(self.chunk, b""))
            return Response(status, line, fields, "chunked", b"".join(chunks), chunks)
        if length is not None:
            return Response(status, line, fields, "length", self.exactly(int(length)))
        assert bare.get("Connection") == "close", "nothing says where the body ends"
        return Response(status, line, fields, "close", self._file.read())

    def assert_closed(self) -> None:
        """The server has ended the connection in order, with nothing more said."""
        assert self._file.read() == b""

    def assert_open(self) -> None:
        """The connection still serves."""
        assert self.get("/").status == 200

    def assert_cut(self) -> bytes:
        """The server resets the connection: what came before that."""
        parts = []
        with pytest.raises(ConnectionResetError):
            while part := self._file.read1(65536):
                parts.append(part)
        return b"".join(parts)

    def reset_has_come(self) -> bool:
        """Whether the connection was reset, though nothing is read from it."""
        poll = select.poll()
        poll.register(self.sock, select.POLLERR)
        return any(event & select.POLLERR for _, event in poll.poll(0))


def request(
    method: str, target: str, *fields: str, body: bytes = b"", version: str = "1.1"
) -> bytes:
    """A request as bytes; the length of the body is added where there is one."""
    lines = [f"{method} {target} HTTP/{version}", "Host: test", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*parts: bytes, trailer: bytes = b"") -> bytes:
    """A chunked body."""
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
    return b"".join(chunks) + b"0\r\n" + trailer + b"\r\n"


@contextlib.contextmanager
def running(app: str, directory: Path, **settings: Any) -> Iterator[Server]:
    """A server for as long as the context lasts, for fixtures that many tests share."""
    server = Server(app, directory, settings)
    try:
        try:
            server.started()
        except AssertionError:
            print(server.log)
            raise
        yield server
    finally:
        server.kill()


def show_log_of_failure(node: pytest.FixtureRequest, server: Server) -> Iterator[None]:
    """For a fixture around each test on a shared server: what it logged if the test fails."""
    since, failed = server.mark(), node.session.testsfailed
    yield
    if node.session.testsfailed > failed:
        print(f"----- the server's log during the test -----\n{server.log[since:]}")
