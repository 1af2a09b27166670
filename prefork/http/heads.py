"""Heads of requests that are recognized, instead of being parsed again.

A client, or the proxy before it, sends the same header fields with one request after the other.
Once llhttp has twice accepted them as the fields of a request without a body, the bytes of such a
*block* are remembered with what they mean. A request is then recognized if it is nothing but a
plain request line and a block that is known byte by byte; whatever is not is left to the parser.
So nothing is accepted here that the parser would not accept, and it is understood in the same way.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from prefork.http.memo import Memo
from prefork.http.request import Request

# Blocks and lines that are remembered, and the size of one in bytes.
_BLOCKS = 256
_LINES = 512
_LONGEST = 4096
# Hashes of blocks that were seen once.
_SEEN = 4096

# A target of plain characters, in origin form (RFC 9112, section 3.2.1): its path and its query.
_PLAIN_LINE = re.compile(
    rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) "
    rb"((/[A-Za-z0-9/._~!$&'()*+,;=:@%-]*)(?:\?([A-Za-z0-9/?._~!$&'()*+,;=:@%-]*))?) HTTP/1\.1"
)
# With these the bytes that follow the block matter.
_TELLING = ("CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "HTTP_UPGRADE", "HTTP_EXPECT")


class Block(NamedTuple):
    """What a block of header fields means: an environ with them, and whether the connection may
    live on after the request."""

    environ: dict[str, Any]
    persistent: bool


class Line(NamedTuple):
    """A request line: `raw` is the target as it came."""

    method: str
    raw: str
    path: str
    query: str


class Heads:
    """The heads that were seen on the connections of one listener.

    Args:
        longest_line: the setting `limit_request_line`, in bytes.
    """

    def __init__(self, longest_line: int) -> None:
        self._longest_line = longest_line
        self._blocks: Memo[bytes, Block] = Memo(_unknown, _BLOCKS, bool)
        self._lines: Memo[bytes, Line | None] = Memo(self._read_line, _LINES, bool)
        self._seen: set[int] = set()

    def recognize(self, data: bytes, peer: tuple[str, str]) -> Request | None:
        """The request that these bytes are, all of them; None if they have to be parsed.

        Args:
            data: what has arrived where a request may begin.
            peer: REMOTE_ADDR and REMOTE_PORT.
        """
        line, _, fields = data.partition(b"\r\n")
        block = self._blocks.get(fields) or self._blocks.find(fields)
        if block is None or len(line) > _LONGEST:
            return None
        known = self._lines[line]
        if known is None:
            return None
        environ, persistent = block
        environ = environ.copy()
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = peer
        environ["REQUEST_METHOD"], raw, environ["PATH_INFO"], environ["QUERY_STRING"] = known
        environ["RAW_URI"] = environ["REQUEST_URI"] = raw
        return Request(environ, None, True, persistent)

    def learn(self, data: bytes, request: Request) -> None:
        """Remember the fields of a request that has been parsed, if it is seen again.

        Args:
            data: what has arrived where it began. If it goes on behind the head, with something
                that the parser may have refused, nothing is remembered.
            request: what the parser has made of it.
        """
        line, _, fields = data.partition(b"\r\n")
        if not request.http11 or request.body is not None or len(fields) > _LONGEST:
            return
        if fields.find(b"\r\n\r\n") + len(b"\r\n\r\n") != len(fields):
            return
        environ = request.environ
        if any(key in environ for key in _TELLING) or not _PLAIN_LINE.fullmatch(line):
            return
        mark = hash(fields)
        if mark in self._seen:
            self._blocks.keep(fields, Block(environ.copy(), request.persistent))
            return
        if len(self._seen) >= _SEEN:
            self._seen.clear()
        self._seen.add(mark)

    def _read_line(self, line: bytes) -> Line | None:
        match = _PLAIN_LINE.fullmatch(line)
        if match is None:
            return None
        method, target, path, query = match.groups(b"")
        if len(target) > self._longest_line:
            return None
        if b"%" in path:
            path = unquote_to_bytes(path)
        return Line(
            method.decode(), target.decode(), path.decode("latin-1"), query.decode("latin-1")
        )


def _unknown(key: bytes) -> Block:
    raise KeyError(key)
