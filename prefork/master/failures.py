"""Failures: what has befallen the workers of each slot last. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from prefork.wire.identity import WorkerId


@dataclass(frozen=True)
class Failure:
    """A worker that failed, how, and where: the app's traceback, or its stacks; and when, in
    monotonic seconds."""

    id: WorkerId
    why: str
    trace: str
    at: float

    @property
    def summary(self) -> str:
        """It in a line, with the error that the app has raised, if it has."""
        last = self.trace.rstrip().rpartition("\n")[2]
        return f"{self.why}: {last}" if last and not last.startswith(" ") else self.why


class Failures:
    """The last failure of each slot, and of the molds."""

    def __init__(self) -> None:
        self._by_slot: dict[int, Failure] = {}

    def note(self, failure: Failure) -> None:
        """This has happened."""
        self._by_slot[failure.id.slot] = failure

    def add_trace(self, id: WorkerId, trace: str) -> None:
        """Where it was that failed, if it is still what has happened last."""
        failure = self._by_slot.get(id.slot)
        if failure is not None and failure.id == id:
            self._by_slot[id.slot] = replace(failure, trace=trace)

    def of(self, slot: int) -> Failure | None:
        """What has happened in a slot last."""
        return self._by_slot.get(slot)

    def latest(self, generation: int) -> Failure | None:
        """What has happened to a worker of the generation, or its mold, last."""
        found = [each for each in self._by_slot.values() if each.id.generation == generation]
        return max(found, key=lambda each: each.at, default=None)
