"""Servers under loads, in interleaved rounds, and what that has cost them.

One server at a time runs on a core of its own and its clients on another. The rounds are
interleaved (A, B, C, A, B, C, ...), so that a machine that gets slower meanwhile gets slower for
all. The CPU of a request is what all processes of the server, and the kernel for them, have used
while it was loaded, divided by the requests that were answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from statistics import median, quantiles

from benchmarks import clients, wrk
from benchmarks.loads import Kind, Load
from benchmarks.processes import Running, Unable, running
from benchmarks.results import Figures, Results
from benchmarks.servers import YARDSTICK, Server

WAITED = 0.05  # seconds after which a short request has waited for another one
BUSY_BESIDE_IDLE = 16  # connections
TO_OPEN = 30.0  # seconds for all idle connections


@dataclass(frozen=True)
class Plan:
    """Which servers are measured under which loads, how often and for how many seconds."""

    servers: Sequence[Server]
    loads: Sequence[Load]
    rounds: int
    seconds: int
    core: int  # of the servers

    def steps(self) -> Iterator[tuple[int, Server, list[Load]]]:
        """Each round, each server, with the loads that are put on one process of it."""
        for number in range(1, self.rounds + 1):
            # wrk's loads are the noisy ones, the others take long.
            due = [load for load in self.loads if number == 1 or load.kind is Kind.WRK]
            for _, together in groupby(due, key=lambda load: load.home):
                loads = list(together)
                for server in self.servers:
                    if fitting := [load for load in loads if fits(server, load)]:
                        yield number, server, fitting


def fits(server: Server, load: Load) -> bool:
    """Whether a server is to be measured under a load at all."""
    compared = server.ours or server.name == YARDSTICK or not load.ours_only
    return compared and (not server.only or load.name in server.only)


def measure(plan: Plan, results: Results, keep: Callable[[], None]) -> None:
    """Add to the results what is measured, calling `keep` after each step."""
    for number, server, loads in plan.steps():
        for load in loads:
            if load.name in server.unable:
                results.leave_out(server.name, load.name, server.unable[load.name])
        # One that failed in a round is tried again in the next: it may have been the machine.
        able = [load for load in loads if load.name not in server.unable]
        if able and not results.is_left_out(server.name):
            print(f"round {number}: {server.title}", flush=True)
            _on_one_process(plan, server, able, results)
            keep()


def _on_one_process(plan: Plan, server: Server, loads: list[Load], results: Results) -> None:
    try:
        with running(server, loads[0], plan.core) as at_work:
            clients.warm_up(at_work.port)
            for load in loads:
                _one_load(at_work, server, load, plan.seconds, results)
    except Unable as reason:
        for load in loads:
            results.leave_out(server.name, load.name, str(reason))
        print(f"  {reason}", flush=True)


def _one_load(at_work: Running, server: Server, load: Load, seconds: int, results: Results) -> None:
    try:
        figures = _LOADING[load.kind](at_work, load, load.duration(seconds))
    except Unable as reason:
        results.leave_out(server.name, load.name, str(reason))
        print(f"  {load.name}: {reason}", flush=True)
    else:
        results.add(load.name, server.name, figures)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        print(f"  {load.name}: {shown}", flush=True)


def _as_much_as_wrk_can(at_work: Running, load: Load, seconds: int) -> Figures:
    figures = _loaded(at_work, load, load.connections, seconds)
    return {**figures, "pss_mib": at_work.pss_mib()}


def _loaded(at_work: Running, load: Load, connections: int, seconds: int) -> Figures:
    before = at_work.cpu_seconds()
    report = wrk.run(at_work, load, connections, seconds)
    after = at_work.cpu_seconds()
    if before.keys() != after.keys():
        raise Unable("a process of it has ended or was started meanwhile")
    if not report.requests:
        raise Unable(f"answered no request in {seconds} s")
    used = sum(after.values()) - sum(before.values())
    return {
        "requests_per_second": report.requests / report.seconds,
        "cpu_us": used / report.requests * 1e6,
        "p50_ms": report.p50_ms,
        "p99_ms": report.p99_ms,
        "core_percent": used / report.seconds * 100,
        "errors": report.errors,
    }


def _beside_idle_ones(at_work: Running, load: Load, seconds: int) -> Figures:
    """The same figures without and with the idle connections, of 16 busy ones."""
    alone = _loaded(at_work, load, BUSY_BESIDE_IDLE, seconds)
    pss_alone = at_work.pss_mib()
    with closing(clients.Held(at_work.port)) as held:
        held.open(load.connections - BUSY_BESIDE_IDLE, TO_OPEN)
        pss_beside = at_work.pss_mib()
        beside = _loaded(at_work, load, BUSY_BESIDE_IDLE, seconds)
        still_open = held.still_open()
    figures = {"held": float(still_open), "pss_mib": pss_alone, "pss_beside_mib": pss_beside}
    for name in ("cpu_us", "p50_ms", "p99_ms"):
        figures |= {name: alone[name], name.replace("_", "_beside_", 1): beside[name]}
    return {**figures, "errors": alone["errors"] + beside["errors"]}


def _thinking(at_work: Running, load: Load, seconds: int) -> Figures:
    met = clients.think(at_work.port, load.connections, seconds)
    if len(met.short) < 2:
        raise Unable("answered no request")
    waited = sum(time > WAITED for time in met.short)
    return {
        "waited_percent": waited / len(met.short) * 100,
        "short": len(met.short),
        "p50_ms": median(met.short) * 1000,
        "p99_ms": quantiles(met.short, n=100)[98] * 1000,
        "slow_p50_ms": median(met.slow or [0.0]) * 1000,
        "late_p99_ms": quantiles(met.late, n=100)[98] * 1000,
        "pss_mib": at_work.pss_mib() / load.workers,
        "errors": met.errors,
    }


def _memory(at_work: Running, load: Load, seconds: int) -> Figures:
    """Of all processes, after all workers have had something to do."""
    errors = wrk.run(at_work, load, load.connections, seconds).errors
    pss = at_work.pss_mib()
    return {"pss_mib": pss, "pss_per_worker_mib": pss / load.workers, "errors": errors}


_LOADING: dict[Kind, Callable[[Running, Load, int], Figures]] = {
    Kind.WRK: _as_much_as_wrk_can,
    Kind.IDLE: _beside_idle_ones,
    Kind.MIX: _thinking,
    Kind.MEMORY: _memory,
}
