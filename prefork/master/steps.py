"""What the fleet's plan can ask for, or tell. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from prefork.master.life import Worker


@dataclass(frozen=True)
class Spawn:
    """Fork a worker, from the mold of the generation if there is one, then call `spawned`. Where
    the slot is `MOLD`: fork a mold."""

    slot: int
    generation: int


@dataclass(frozen=True)
class Retire:
    """Tell the worker to drain."""

    worker: Worker


@dataclass(frozen=True)
class Dump:
    """The worker is too late, for what `why` says: have it write down its stacks."""

    worker: Worker
    why: str


@dataclass(frozen=True)
class Kill:
    """Kill the worker."""

    worker: Worker


@dataclass(frozen=True)
class Started:
    """Each of so many slots has had its first ready worker."""

    size: int


@dataclass(frozen=True)
class ReloadDone:
    """Every slot runs the new generation."""

    generation: int
    seconds: float


@dataclass(frozen=True)
class Baking:
    """A worker of the new generation serves beside the one that it is to replace: the reload goes
    on when it has done so for these seconds."""

    worker: Worker
    seconds: float


@dataclass(frozen=True)
class ReloadAborted:
    """A new worker failed: the workers that were not replaced stay. The slots that were replaced
    already are listed; they go back to the generation `back`, or, if that is None, stay too."""

    generation: int
    seconds: float
    why: str
    replaced: tuple[int, ...] = ()
    back: int | None = None


@dataclass(frozen=True)
class WentBack:
    """Every slot runs the old generation again, after a reload that was aborted."""

    generation: int
    seconds: float


@dataclass(frozen=True)
class BackedOff:
    """So many workers of the slot have failed in a row: the next one comes after these seconds."""

    slot: int
    failures: int
    seconds: float


@dataclass(frozen=True)
class Recovered:
    """A worker of the slot lives, after so many that have failed."""

    slot: int
    failures: int


Step = (
    Spawn
    | Retire
    | Dump
    | Kill
    | Started
    | ReloadDone
    | Baking
    | ReloadAborted
    | WentBack
    | BackedOff
    | Recovered
)
