"""The census: what the master knows of the service, counted for those who watch it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from prefork.master.fleet import Fleet
from prefork.master.lending import Lending
from prefork.master.life import Phase
from prefork.master.link import Link
from prefork.master.listeners import Listener
from prefork.wire.facts import Counts, Facts, WorkerFacts

# Of a listening socket, what struct tcp_info has as tcpi_unacked is how many wait: tcp(7).
_UNACKED = struct.Struct("24xI")

_REASONS = {
    Phase.BOOTING: "boot",
    Phase.SERVING: "crash",
    Phase.LEAVING: "crash",
    Phase.DRAINING: "retired",
    Phase.DUMPING: "killed",
    Phase.DYING: "killed",
}


def count(counts: dict[str, int], key: str) -> None:
    """Count one more."""
    counts[key] = counts.get(key, 0) + 1


def reason_of(link: Link) -> str:
    """Why a worker that has exited did: how its life goes says it."""
    if link.leaving and link.worker.phase is Phase.DRAINING:
        return "recycled"
    return _REASONS[link.worker.phase]


def take(
    now: float,
    fleet: Fleet,
    links: Iterable[Link],
    lending: Lending,
    listeners: Iterable[Listener],
    counts: Counts,
) -> Facts:
    """What there is now.

    Args:
        now: monotonic seconds.
        fleet, links: the workers.
        lending: the connections.
        listeners: where others wait.
        counts: what has happened.
    """
    return Facts(
        at=now,
        ready=not fleet.stopping and bool(fleet.roster.in_the_ring()),
        generation=fleet.generation,
        wanted=fleet.size,
        workers=[_worker(link) for link in links],
        connections=lending.census(),
        backlog=dict(_backlog(listeners)),
        counts=counts,
    )


def _worker(link: Link) -> WorkerFacts:
    id = link.worker.id
    return WorkerFacts(id.slot, id.generation, id.pid, link.row.number, link.worker.phase.value)


def _backlog(listeners: Iterable[Listener]) -> Iterable[tuple[str, int]]:
    """How many wait at each; a unix socket does not tell."""
    for listener in listeners:
        sock = listener.sock
        if sock.fileno() >= 0 and sock.family != socket.AF_UNIX:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED.size)
            yield str(listener), _UNACKED.unpack(info)[0]
