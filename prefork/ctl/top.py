"""`preforkctl top`: a live screen of rates, workers, and the requests that take longest."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

import msgspec

from prefork.ctl import dump, text
from prefork.ctl.connection import Connection
from prefork.ctl.failure import ConnectionLost, Refusal
from prefork.ctl.latency import WINDOW, Latency
from prefork.ctl.memory import with_memory
from prefork.ctl.output import rich_console
from prefork.ctl.rates import Rates
from prefork.wire.control import GetStacks, Stacks, Status

COLUMNS = (
    "SLOT",
    "PID",
    "GEN",
    "STATE",
    "AGE",
    "REQ/S",
    "P50",
    "P99",
    "IN FLIGHT",
    "CONNS",
    "MEMORY",
)
SLOW_COLUMNS = ("RUNNING", "SLOT", "REQUEST", "WHERE")
# The percentiles of latency that are shown, of all and of each worker.
_PERCENTILES = (50, 95, 99)
_OF_A_WORKER = (50, 99)
# So many workers are looked at more closely, of each so many requests are shown.
_MOST_SLOW = 5
_MOST_OF_A_WORKER = 3
_CLEAR = "\x1b[H\x1b[2J"


class Slow(msgspec.Struct, frozen=True):
    """A request that has been running for at least so many seconds, and where it is."""

    seconds: float
    slot: int
    request: str
    where: str


@dataclass(frozen=True)
class View:
    """What there is to be seen."""

    status: Status
    rates: Rates
    latency: Latency
    slow: list[Slow]

    def head(self) -> list[str]:
        """The first lines."""
        status = self.status
        known = [worker.in_flight for worker in status.workers if worker.in_flight is not None]
        serving = sum(worker.state == "serving" for worker in status.workers)
        return [
            *text.head(status)[:2],
            f"{self.rates.per_second:.1f} requests/s  {sum(known)} in flight  "
            f"{status.connections} connections ({status.parked} parked, {status.waiting} waiting)  "
            f"{serving} of {status.size} workers serve",
            f"latency in the last {WINDOW:g} s: "
            + "  ".join(f"p{percent} {self._percentile(percent)}" for percent in _PERCENTILES),
        ]

    def rows(self) -> list[list[str]]:
        """The workers, as `COLUMNS` has them."""
        made = []
        for worker, row in zip(self.status.workers, text.rows(self.status), strict=True):
            rate = self.rates.by_pid.get(worker.pid)
            latency = [self._percentile(percent, worker.pid) for percent in _OF_A_WORKER]
            made.append([*row[:5], "-" if rate is None else f"{rate:.1f}", *latency, *row[6:9]])
        return made

    def _percentile(self, percent: int, pid: int | None = None) -> str:
        return text.latency(self.latency.percentile(percent, pid))

    def _percentiles(self, pid: int | None = None) -> dict[str, float | None]:
        return {f"p{percent}": self.latency.percentile(percent, pid) for percent in _PERCENTILES}

    def json(self) -> dict[str, object]:
        """All of it, for programs."""
        return {
            "status": self.status,
            "requests_per_second": self.rates.per_second,
            "latency": self._percentiles(),
            "latency_by_pid": {
                worker.pid: self._percentiles(worker.pid)
                for worker in self.status.workers
                if worker.pid
            },
            "slowest": self.slow,
        }

    def slow_rows(self) -> list[list[str]]:
        """The slowest requests, as `SLOW_COLUMNS` has them."""
        return [
            [f"> {text.duration(each.seconds)}", str(each.slot), each.request or "-", each.where]
            for each in self.slow
        ]


Show = Callable[[View], None]


def top(connect: Callable[[], Connection], options: argparse.Namespace) -> None:
    """Look over and over.

    Args:
        connect: finds the master.
        options: `interval` in seconds, `count`, and `json`.

    Raises:
        CtlError: the master is not there, or not any more.
    """
    connection = connect()
    rates, latency = Rates(), Latency()
    count = 0
    with _screen(options.json) as show:
        while True:
            try:
                view = _look(connection, rates, latency, max(WINDOW, 2 * options.interval))
            except ConnectionLost:
                connection = connect()  # it may have upgraded itself
                continue
            show(view)
            count += 1
            if count == options.count:
                return
            time.sleep(options.interval)


def _look(connection: Connection, rates: Rates, latency: Latency, interest: float) -> View:
    """Look once, and say for how many seconds we will be interested in more."""
    status = connection.status(interest)
    rates.look(status, monotonic())
    latency.look(status.durations or {}, monotonic())
    running = sorted(rates.running.items(), key=lambda item: -item[1])[:_MOST_SLOW]
    return View(with_memory(status), rates, latency, _closely(connection, dict(running)))


def _closely(connection: Connection, running: dict[int, float]) -> list[Slow]:
    """Look at workers, by slot, that have been in a request for so many seconds."""
    if not running:
        return []
    told: dict[int, Stacks] = {}
    try:
        connection.send(GetStacks(slots=list(running)))
        while isinstance(answer := connection.receive(), Stacks):
            told[answer.slot] = answer
    except Refusal:
        return []  # they are gone
    return [
        Slow(seconds, slot, stack.request, stack.where)
        for slot, seconds in running.items()
        if slot in told
        for stack in [each for each in dump.stacks(told[slot]) if each.request][:_MOST_OF_A_WORKER]
    ]


@contextmanager
def _screen(json: bool) -> Iterator[Show]:
    """What shows the views: as JSON or, at a terminal and with rich, on a screen of its own."""
    console = None if json else rich_console()
    if console is None:
        yield _show_json if json else _show_plain
        return
    from rich.live import Live

    from prefork.ctl.rich import screen

    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda view: live.update(screen(view), refresh=True)


def _show_json(view: View) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(view.json()) + b"\n")
    sys.stdout.flush()


def _show_plain(view: View) -> None:
    lines = [*view.head(), "", *text.table(COLUMNS, view.rows())]
    if view.slow:
        lines += ["", *text.table(SLOW_COLUMNS, view.slow_rows())]
    print((_CLEAR if sys.stdout.isatty() else "") + "\n".join(lines) + "\n", flush=True)
