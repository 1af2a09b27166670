"""A reload as data: what there is yet to do of it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from prefork.master.life import Worker
from prefork.master.roster import Roster


@dataclass
class Rollout:
    """A reload under way: the generation that it brings, the slots that it has yet to fill, the
    number of slots when it is done, and the one to go back to if it fails.

    A new worker is `baking` for `bake` seconds, until `baked_at`, before it replaces the old one
    of its slot, which serves on meanwhile. The first of them is the canary.

    One that is `returning` undoes another that has failed: it brings the old generation back. As
    that has proved itself, nothing that fails ends it.
    """

    generation: int
    slots: set[int]
    size: int
    size_before: int
    since: float
    bake: float = 0.0
    returning: bool = False
    baking: Worker | None = None
    baked_at: float = math.inf

    def tries(self, generation: int) -> bool:
        """Whether a failure of this generation's ends it."""
        return generation == self.generation and not self.returning

    def is_done(self, roster: Roster) -> bool:
        """Whether there is nothing left to do: each slot has its worker, and no other is there."""
        if self.slots or not roster.settled:
            return False
        return all(roster.filled(slot) for slot in range(1, self.size + 1))

    def has_to_bake(self, worker: Worker, roster: Roster) -> bool:
        """Whether the worker has to prove itself beside the one that it is to replace."""
        beside = bool(roster.others_in_the_ring(worker))
        return bool(self.bake) and worker.slot in self.slots and beside

    def begin_to_bake(self, worker: Worker, now: float) -> None:
        """This worker is ready, and has to prove itself."""
        self.baking, self.baked_at = worker, now + self.bake

    def end_of_baking(self, now: float) -> Worker | None:
        """The worker that has proved itself by now."""
        worker = self.baking
        if worker is None or self.baked_at > now:
            return None
        self.baking, self.baked_at = None, math.inf
        return worker
