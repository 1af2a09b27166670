"""The metrics: what workers have counted and what the master knows, in the words of Prometheus.

All of it is read from shared memory when somebody asks.
"""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from prefork import __version__
from prefork.wire.board import Board
from prefork.wire.facts import Facts
from prefork.wire.tally import BOUNDS, Tally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# A master that has not said anything for so many seconds hangs.
_SILENCE = 10.0
# So many classes of status there are: 1xx to 5xx.
_CLASSES = range(1, 6)
# What there may be of each kind is told from the beginning, as 0.
_EXITS = ("boot", "crash", "killed", "recycled", "retired")
_RELOADS = ("done", "aborted", "refused")
_PHASES = ("booting", "serving", "leaving", "draining", "dumping", "dying")


@dataclass(frozen=True)
class _Counts:
    """The totals and what the living have counted, as of one moment."""

    classes: list[int]
    buckets: list[int]
    seconds: float
    in_flight: int


class Exposition(Collector):
    """The metrics of the service.

    Args:
        board: where they are.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    @property
    def live(self) -> bool:
        """Whether the master goes on."""
        facts = self._board.facts.read()
        return facts is not None and monotonic() - facts.at < _SILENCE

    @property
    def ready(self) -> bool:
        """Whether somebody serves, and goes on to."""
        facts = self._board.facts.read()
        return facts is not None and facts.ready

    def text(self) -> bytes:
        """All of it, in the text format of Prometheus."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing needs to be known before."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All of it."""
        facts = self._board.facts.read()
        yield _gauge("prefork_build_info", "The version.", "version", {__version__: 1})
        if facts is None:
            return
        yield from _of_requests(self._board.totals.read(lambda: self._count(facts)))
        yield from _of_connections(facts)
        yield from _of_workers(facts)

    def _count(self, facts: Facts) -> _Counts:
        """Who is not among the facts yet is counted the next time, who is no more in the totals."""
        board = self._board
        rows = [board.row(worker.row) for worker in facts.workers]
        tallies: list[Tally] = [board.totals, *(row.tally for row in rows)]
        begun = sum(row.counters[0] for row in rows)
        ended = sum(sum(row.tally.buckets) for row in rows)
        return _Counts(
            classes=_sums(tally.classes for tally in tallies),
            buckets=_sums(tally.buckets for tally in tallies),
            seconds=sum(tally.seconds for tally in tallies),
            in_flight=max(0, begun - ended),
        )


def _of_requests(counts: _Counts) -> Iterator[Metric]:
    yield _counter(
        "prefork_requests",
        "Answers by class of status, those of the server itself among them.",
        "status",
        {f"{digit}xx": counts.classes[digit] for digit in _CLASSES},
    )
    bounds = [*map(str, BOUNDS), "+Inf"]
    ended, buckets = 0, []
    for bound, count in zip(bounds, counts.buckets, strict=True):
        ended += count
        buckets.append((bound, ended))
    yield HistogramMetricFamily(
        "prefork_request_duration_seconds",
        "How long the app took to answer, from the request on.",
        buckets=buckets,
        sum_value=counts.seconds,
    )
    yield _plain("prefork_requests_in_flight", "Requests that are served now.", counts.in_flight)


def _of_connections(facts: Facts) -> Iterator[Metric]:
    yield _gauge(
        "prefork_connections",
        "Connections of the master: lent to workers, parked between requests, waiting for room in "
        "a worker, or lingering until the client closes too.",
        "state",
        facts.connections,
    )
    yield _gauge(
        "prefork_backlog_connections",
        "Connections that the kernel has and nobody has accepted yet.",
        "listener",
        facts.backlog,
    )
    yield CounterMetricFamily(
        "prefork_recalls", "Idle connections taken back from busy workers.", facts.counts.recalls
    )


def _of_workers(facts: Facts) -> Iterator[Metric]:
    workers = [worker for worker in facts.workers if worker.slot]
    phases = Counter(worker.phase for worker in workers)
    yield _gauge(
        "prefork_workers",
        "Workers by the phase of their lives.",
        "state",
        {phase: phases[phase] for phase in _PHASES},
    )
    yield _plain("prefork_workers_wanted", "Workers that there should be.", facts.wanted)
    yield _counter(
        "prefork_worker_exits",
        "Workers that have ended: before they were ready, by themselves, killed by the master, "
        "because a limit was reached, or replaced and retired.",
        "reason",
        {reason: facts.counts.exits.get(reason, 0) for reason in _EXITS},
    )
    yield _counter(
        "prefork_reloads",
        "Reloads by how they have ended.",
        "outcome",
        {outcome: facts.counts.reloads.get(outcome, 0) for outcome in _RELOADS},
    )
    memory: Counter[str] = Counter()
    for worker in facts.workers:
        memory[str(worker.slot) if worker.slot else "mold"] += _resident(worker.pid)
    yield _gauge(
        "prefork_worker_resident_memory_bytes",
        "Resident memory by slot, shared pages included; during a reload that of two workers.",
        "slot",
        memory,
    )
    yield _plain("prefork_generation", "The generation that serves.", facts.generation)
    yield _plain("prefork_ready", "Whether the service is ready, as /ready says.", facts.ready)


def _resident(pid: int) -> int:
    """The RSS of a process in bytes, 0 if there is none: proc(5). Its PSS would have to be summed
    up over all its pages, while the process itself could map none."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _sums(rows: Iterable[Iterable[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _plain(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value)


def _gauge(name: str, help: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, help, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counter(name: str, help: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, help, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
