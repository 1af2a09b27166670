"""The roster: which workers and molds there are. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from prefork.master.life import FILLS_ITS_SLOT, IN_THE_RING, Phase, Worker


class Roster:
    """The workers, and the molds that they are forked from, of which a generation has one at most.

    Both live by the same table; a mold that is `SERVING` can have workers forked from it.
    """

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self.molds: dict[int, Worker] = {}  # by generation

    def __iter__(self) -> Iterator[Worker]:
        """Workers and molds."""
        yield from self.workers
        yield from self.molds.values()

    def add(self, worker: Worker) -> None:
        """It was forked."""
        if worker.id.is_mold:
            self.molds[worker.id.generation] = worker
        else:
            self.workers.append(worker)

    def remove(self, worker: Worker) -> None:
        """It has exited."""
        if worker.id.is_mold:
            del self.molds[worker.id.generation]
        else:
            self.workers.remove(worker)

    def in_the_ring(self) -> list[Worker]:
        """The workers that serve and are not retiring."""
        return [worker for worker in self.workers if worker.phase in IN_THE_RING]

    def others_in_the_ring(self, worker: Worker) -> list[Worker]:
        """Those besides it that serve in its slot."""
        return [each for each in self.in_the_ring() if each.slot == worker.slot and each != worker]

    def can_cast(self, generation: int) -> bool:
        """Whether the generation has a mold that workers can be forked from."""
        mold = self.molds.get(generation)
        return mold is not None and mold.phase is Phase.SERVING

    def of_generation(self, generation: int) -> list[Worker]:
        """The workers that run this generation's code."""
        return [worker for worker in self.workers if worker.id.generation == generation]

    def filled(self, slot: int) -> bool:
        """Whether the slot has a worker, or will have."""
        return any(each.slot == slot and each.phase in FILLS_ITS_SLOT for each in self.workers)

    def leaves(self, slot: int) -> bool:
        """Whether the slot's worker has asked to be replaced."""
        return any(each.slot == slot and each.phase is Phase.LEAVING for each in self.workers)

    @property
    def booting(self) -> bool:
        """Whether a worker is."""
        return any(worker.phase is Phase.BOOTING for worker in self.workers)

    @property
    def settled(self) -> bool:
        """Whether no worker is on the way in or out."""
        return all(worker.phase in IN_THE_RING for worker in self.workers)
