"""Who a worker is, as every log line about it says it."""

from __future__ import annotations

from dataclasses import dataclass

# The slot of a mold, which is no worker's.
MOLD = 0


@dataclass(frozen=True)
class WorkerId:
    """A worker: its stable slot (1..N), the generation whose code it runs, its transient pid, which
    is 0 as long as it is not known. Or a mold, whose slot is `MOLD`."""

    slot: int
    generation: int
    pid: int

    @property
    def is_mold(self) -> bool:
        """Whether this is no worker, but what workers are forked from."""
        return self.slot == MOLD

    def __str__(self) -> str:
        return f"{place(self.slot)} gen={self.generation} pid={self.pid or '?'}"


def place(slot: int) -> str:
    """A slot, as log lines name it."""
    return "mold" if slot == MOLD else f"worker={slot}"
