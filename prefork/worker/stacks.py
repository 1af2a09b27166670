"""Where a worker is. On demand it writes that down besides the stacks of its threads: faulthandler
goes first, which can tell from within C code too; then we do, as soon as Python runs.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FrameType

from prefork.signals import DUMP_STACKS
from prefork.wsgi import Exchange, exchanges_on


def dump_more(fd: int, more: Callable[[], str]) -> None:
    """From now on, at `DUMP_STACKS`, write this too.

    Args:
        fd: where faulthandler writes the stacks.
        more: gives the text; it may be called in the middle of whatever the app does.
    """

    def write(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(Exception):  # it would be raised in the app
            os.write(fd, more().encode("utf-8", "backslashreplace"))

    # It does not take over again what it has already.
    faulthandler.unregister(DUMP_STACKS)
    signal.signal(DUMP_STACKS, write)
    faulthandler.register(DUMP_STACKS, file=fd, all_threads=True, chain=True)


def requests() -> str:
    """Which requests the threads are in, a line each."""
    return "".join(f"\nRequest {exchange} in thread {thread:#018x}" for thread, exchange in _all())


def _all() -> Iterator[tuple[int, Exchange]]:
    for thread, innermost in sys._current_frames().items():
        for exchange in exchanges_on(innermost):
            yield thread, exchange


def stack_of(thread: int) -> str:
    """Where a thread stands."""
    frame = sys._current_frames().get(thread)
    # It may have ended just now.
    return "".join(traceback.format_stack(frame)).rstrip() if frame is not None else ""
