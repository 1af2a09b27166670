"""The body of a request, kept until the whole of it has arrived."""

from __future__ import annotations

import io
import tempfile
from http import HTTPStatus
from typing import IO

from prefork.errors import HTTPError

# A body up to this many bytes stays in memory, a larger one goes to a temporary file.
SPOOL_SIZE = 1 << 20


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


def too_large(limit: int) -> HTTPError:
    """The answer to a body beyond the limit: 413 (RFC 9110, section 15.5.14)."""
    return HTTPError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body exceeds {limit} bytes")


def _not_stored(error: OSError) -> HTTPError:
    return HTTPError(HTTPStatus.SERVICE_UNAVAILABLE, f"the body can't be stored: {error.strerror}")
