"""Recycling: when a worker has done enough, and asks to be replaced.

Apps leak: memory, threads, connections. A worker that has served so many requests, or has grown so
large, makes room for a new one, which is there before it goes.
"""

from __future__ import annotations

import math
import random
import re

from prefork.settings import Settings

# Requests are counted so often, in seconds.
INTERVAL = 0.25
# To look at the memory of a large process takes milliseconds: that is done so often.
_MEMORY_INTERVAL = 5.0

_PSS = re.compile(rb"^Pss:\s+(\d+) kB$", re.MULTILINE)


class Recycling:
    """The limits of one worker.

    Args:
        settings: `max_requests`, `max_requests_jitter` and `max_memory`.
    """

    def __init__(self, settings: Settings) -> None:
        # Not all workers at once, though all are served in turn.
        jitter = random.SystemRandom().randint(0, settings.max_requests_jitter)
        self._settings = settings
        self._most_requests = settings.max_requests and settings.max_requests + jitter
        self._look_again = -math.inf

    @property
    def wanted(self) -> bool:
        """Whether there is any limit."""
        return bool(self._most_requests or self._settings.max_memory)

    def due(self, requests: int, now: float) -> str:
        """Why the worker has to be replaced; empty if it has not.

        Args:
            requests: how many it has begun.
            now: monotonic seconds.
        """
        settings = self._settings
        if 0 < self._most_requests <= requests:
            return f"has served {requests} requests, max_requests = {settings.max_requests}"
        if settings.max_memory and now >= self._look_again:
            self._look_again = now + _MEMORY_INTERVAL
            size = memory()
            if size > settings.max_memory:
                return f"takes {_mib(size)} of memory, max_memory = {_mib(settings.max_memory)}"
        return ""


def memory() -> int:
    """The bytes of memory of this process, of what it shares only its part: the PSS of proc(5)."""
    with open("/proc/self/smaps_rollup", "rb") as rollup:
        found = _PSS.search(rollup.read())
    return int(found[1]) << 10 if found else 0


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
