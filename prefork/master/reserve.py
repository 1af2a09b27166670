"""A few fds held back, so that a worker can still be forked when clients have taken all others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

# The channel's two ends and the memfd for stacks, and one to spare.
_COUNT = 4


class Reserve:
    """Fds of /dev/null, to be let go of for as long as it takes to open something else.

    Args:
        count: how many.
    """

    def __init__(self, count: int = _COUNT) -> None:
        self._count = count
        self._fds: list[int] = []
        self._fill()

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Free the fds for what is opened within; hold as many as there are after."""
        while self._fds:
            os.close(self._fds.pop())
        try:
            yield
        finally:
            self._fill()

    def _fill(self) -> None:
        with contextlib.suppress(OSError):
            while len(self._fds) < self._count:
                self._fds.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
