"""Back-off: a slot whose workers fail again and again gets the next one later each time. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

# A crash or a failed boot delays the next worker of the slot: 0.1 s, doubled up to 30 s; a
# worker that has lived this long makes good for the ones before it.
BACKOFF_FIRST, BACKOFF_MOST, STABLE_SECONDS = 0.1, 30.0, 10.0


@dataclass
class Backoff:
    """How many workers of a slot have failed in a row, and until when the next one waits:
    monotonic seconds."""

    failures: int = 0
    until: float = 0.0


class Backoffs:
    """The slots whose workers have failed; how often, and when they may get another."""

    def __init__(self) -> None:
        self.by_slot: dict[int, Backoff] = {}

    def __contains__(self, slot: int) -> bool:
        return slot in self.by_slot

    def failed(self, slot: int, now: float) -> tuple[int, float]:
        """A worker of the slot has failed: how many have in a row, and the seconds until the next
        one."""
        backoff = self.by_slot.setdefault(slot, Backoff())
        backoff.failures += 1
        delay = min(BACKOFF_FIRST * 2 ** min(backoff.failures - 1, 20), BACKOFF_MOST)
        backoff.until = now + delay
        return backoff.failures, delay

    def forgive(self, slot: int) -> int:
        """A worker of the slot lives: how many had failed before it."""
        return self.by_slot.pop(slot).failures

    def clear(self) -> None:
        """Forget all that has failed."""
        self.by_slot.clear()

    def due(self, slot: int) -> float:
        """When the slot may get a worker."""
        backoff = self.by_slot.get(slot)
        return backoff.until if backoff is not None else -math.inf

    def deadlines(self, now: float) -> list[float]:
        """When slots that may not get one yet may."""
        return [each.until for each in self.by_slot.values() if each.until > now]
