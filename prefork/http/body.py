"""The body of a request: kept until the whole of it has arrived, or read while it arrives."""

from __future__ import annotations

import io
import tempfile
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import IO, Any

from prefork.errors import HTTPError

# A body up to this many bytes stays in memory, a larger one goes to a temporary file.
SPOOL_SIZE = 1 << 20
_READ_SIZE = 65536


class Body:
    """Collects a body as it arrives.

    Args:
        limit: the most bytes that are accepted; 0 for any number.
    """

    __slots__ = ("_file", "_limit", "size", "spooled")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._file: IO[bytes] = io.BytesIO()
        self.size = 0
        self.spooled = False

    def feed(self, data: bytes) -> None:
        """Add the next bytes.

        Raises:
            HTTPError: 413 past the limit; 503 when the temporary file can't be written.
        """
        self.size += len(data)
        if self._limit and self.size > self._limit:
            raise too_large(self._limit)
        try:
            if self.size > SPOOL_SIZE and not self.spooled:
                self._spool()
            self._file.write(data)
        except OSError as error:
            raise _not_stored(error) from error

    def finish(self) -> IO[bytes]:
        """The whole body as a file at its beginning, for the app to read.

        Raises:
            HTTPError: 503 when the temporary file can't be written.
        """
        try:
            self._file.seek(0)
        except OSError as error:
            raise _not_stored(error) from error
        return self._file

    def _spool(self) -> None:
        memory, self._file = self._file, tempfile.TemporaryFile(prefix="prefork-")  # noqa: SIM115
        self.spooled = True
        memory.seek(0)
        self._file.write(memory.read())


class Stream(io.RawIOBase):
    """A body that the app reads while it arrives.

    Args:
        size: its length in bytes, more than 0.
        expects: the client waits for an interim response before it sends it (RFC 9110, section
            10.1.1); whoever sends that resets it.

    `wait` is called in the app when there is nothing to read: it is to return when that may have
    changed. `held` are the bytes that have arrived and not been read, `left` those that have not
    arrived; `failure` is why they won't.
    """

    def __init__(self, size: int, expects: bool) -> None:
        super().__init__()
        self.wait: Callable[[], None] = _nobody_waits
        self.expects = expects
        self.held = 0
        self.left = size
        self.failure: OSError | None = None
        self._parts: deque[memoryview] = deque()
        self._unwanted = False

    @property
    def complete(self) -> bool:
        """Whether the whole of it has arrived."""
        return not self.left

    def comes(self, most: int) -> bool:
        """Whether what is left is on its way, and at most so many bytes."""
        if not self.left:
            return True
        return self.left <= most and not self.expects and self.failure is None

    def feed(self, data: bytes) -> None:
        """Add the next bytes."""
        self.left -= len(data)
        if not self._unwanted:
            self.held += len(data)
            self._parts.append(memoryview(data))

    def discard(self) -> None:
        """Nobody reads what is left of it."""
        self._unwanted = True
        self._parts.clear()
        self.held = 0

    def finish(self) -> IO[bytes]:
        """The body as a file, for the app to read."""
        return io.BufferedReader(self, _READ_SIZE)

    def readable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`.

        Raises:
            OSError: the rest of the body will not come.
        """
        while not self._parts:
            if not self.left or self._unwanted:
                return 0
            if self.failure is not None:
                # A new one: with a traceback it would refer back to this, and to all that reads it.
                raise type(self.failure)(*self.failure.args)
            self.wait()
        part = self._parts.popleft()
        size = min(len(part), len(buffer))
        buffer[:size] = part[:size]
        self.held -= size
        if size < len(part):
            self._parts.appendleft(part[size:])
        return size


def _nobody_waits() -> None:
    raise OSError("the body can't be read outside of its request")


def too_large(limit: int) -> HTTPError:
    """The answer to a body beyond the limit: 413 (RFC 9110, section 15.5.14)."""
    return HTTPError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body exceeds {limit} bytes")


def _not_stored(error: OSError) -> HTTPError:
    return HTTPError(HTTPStatus.SERVICE_UNAVAILABLE, f"the body can't be stored: {error.strerror}")
