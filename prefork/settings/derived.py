"""What follows from several settings at once."""

from __future__ import annotations

import math
from collections.abc import Callable

from prefork.settings.option import MOST_WORKERS
from prefork.settings.table import Settings


def worker_count(settings: Settings, usable_cpus: Callable[[], int]) -> int:
    """The number of slots that `workers` asks for."""
    return min(usable_cpus(), MOST_WORKERS) if settings.workers == "auto" else settings.workers


def worker_kind(settings: Settings) -> str:
    """The kind of worker: several threads can only be meant for `threads`."""
    several = settings.worker_class == "sync" and settings.threads > 1
    return "threads" if several else settings.worker_class


def standstill_timeout(settings: Settings) -> float:
    """Seconds that the loop of a worker may stand still, math.inf for any. That of a sync worker
    does in each request."""
    limits = [settings.timeout]
    if worker_kind(settings) == "sync":
        limits.append(settings.request_timeout)
    return _least(limits)


def request_timeout(settings: Settings) -> float:
    """Seconds that a request may take beside the loop, math.inf for any."""
    limits = [settings.request_timeout]
    if worker_kind(settings) == "threads":
        limits.append(settings.timeout)
    return _least(limits)


def _least(limits: list[float]) -> float:
    return min((limit for limit in limits if limit), default=math.inf)


def idle_timeout(settings: Settings) -> float:
    """Seconds that a connection may be idle; without keep-alive, before its only request."""
    return settings.keepalive or settings.header_timeout
