"""What `preforkctl` says, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from prefork.ctl import dump
from prefork.wire.control import Progress, Reloaded, Stacks, Status, WorkerStatus
from prefork.wire.tally import BOUNDS

COLUMNS = (
    "SLOT",
    "PID",
    "GEN",
    "STATE",
    "AGE",
    "REQUESTS",
    "IN FLIGHT",
    "CONNS",
    "MEMORY",
    "LAST ERROR",
)
# Columns of words; numbers stand at the right.
LEFT = frozenset({"STATE", "LAST ERROR", "WHERE", "REQUEST"})


def head(status: Status) -> list[str]:
    """The master, in a few lines."""
    return [
        f"prefork {status.version}  pid {status.pid}  {status.state}  "
        f"generation {status.generation}  up {duration(status.uptime)}  {status.app}",
        f"listening on {', '.join(status.listeners)}",
        f"{status.size} workers wanted  {status.requests} requests  {status.connections} "
        f"connections ({status.parked} parked, {status.waiting} waiting)",
    ]


def rows(status: Status) -> list[list[str]]:
    """The workers, as `COLUMNS` has them."""
    return [_row(worker) for worker in status.workers]


def _row(worker: WorkerStatus) -> list[str]:
    empty = not worker.pid
    return [
        str(worker.slot),
        "-" if empty else str(worker.pid),
        str(worker.generation),
        worker.state,
        "-" if empty else duration(worker.age),
        str(worker.requests),
        _number(worker.in_flight),
        _number(worker.connections),
        size(worker.memory),
        _error(worker),
    ]


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _error(worker: WorkerStatus) -> str:
    if worker.error_age is None:
        return "-"
    return f"{worker.last_error} ({duration(worker.error_age)} ago)"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    return [_line(columns, columns, widths), *(_line(columns, row, widths) for row in rows)]


def _line(columns: Sequence[str], row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if column in LEFT else cell.rjust(width)
        for column, cell, width in zip(columns, row, widths, strict=True)
    ]
    return "  ".join(cells).rstrip()


def progress(step: Progress) -> str:
    """A step of a reload, in a line."""
    place = f"slot {step.slot}" if step.slot else "mold"
    who = f"{place}: pid {step.pid} (generation {step.generation})"
    count = f"{step.replaced} of {step.slots}"
    return {
        "queued": "a reload, an upgrade or the start is under way: ours comes after it",
        "begun": f"reload to generation {step.generation} begun: {step.slots} slots",
        "spawned": f"{who} boots",
        "ready": f"{who} is ready after {step.seconds:.2f} s: {count} slots replaced",
        "baking": f"{who} serves beside the old one for {step.seconds:g} s",
        "draining": f"{who} drains",
        "gone": f"{who} is gone",
        "aborted": f"reload to generation {step.generation} aborted: {step.why}",
    }.get(step.event, f"{who} {step.event}")


def reloaded(end: Reloaded) -> str:
    """How a reload has ended, in a line."""
    if end.good:
        return f"done in {end.seconds:.2f} s: every slot runs generation {end.generation}"
    if not end.slots:
        return f"the reload has failed, what served before goes on: {end.why}"
    slots = ", ".join(map(str, end.slots))
    return f"the reload has failed, the new code runs in the slots {slots} only: {end.why}"


def stacks(told: Stacks) -> list[str]:
    """What a worker does: the app's part of each of its stacks, with the request."""
    lines = [f"slot {told.slot}: pid {told.pid} (generation {told.generation})"]
    if not told.text:
        return [*lines, "    could not say: it boots, is about to end, or was stopped"]
    found = dump.stacks(told)
    if not found:
        return [*lines, "    in no request"]
    for stack in found:
        lines += [f"    {stack.request or stack.heading}", *(f"    {at}" for at in stack.places)]
    return lines


def duration(seconds: float) -> str:
    """Some seconds, in the unit that is best to read."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, length, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172800)):
        if seconds < limit:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def latency(seconds: float | None) -> str:
    """How long requests take, as far as histograms can tell."""
    if seconds is None:
        return "-"
    if seconds <= BOUNDS[0]:
        return f"< {BOUNDS[0] * 1000:g} ms"
    if seconds >= BOUNDS[-1]:
        return f"> {BOUNDS[-1]:g} s"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.2g} s"


def size(count: int | None) -> str:
    """Some bytes, likewise."""
    if count is None:
        return "-"
    return f"{count / (1 << 20):.1f} MiB" if count < 1 << 30 else f"{count / (1 << 30):.1f} GiB"
