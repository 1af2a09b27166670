"""Who a worker is, as every log line about it says it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkerId:
    """A worker: its stable slot (1..N), the generation whose code it runs, its transient pid."""

    slot: int
    generation: int
    pid: int

    def __str__(self) -> str:
        return f"worker={self.slot} gen={self.generation} pid={self.pid}"
