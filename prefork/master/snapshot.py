"""The snapshot: what there is at the moment, for whoever asks on the control socket."""

from __future__ import annotations

import os
from collections.abc import Iterator

from prefork import __version__
from prefork.master.failures import Failures
from prefork.master.fleet import Fleet
from prefork.master.lending import Lending
from prefork.master.link import WorkerLink
from prefork.master.workers import Workers
from prefork.wire.control import Status, WorkerStatus

# So many characters of what has befallen a slot are told.
_LONGEST_ERROR = 300


class Snapshots:
    """Looks at the service.

    Args:
        fleet, workers, lending, failures: where to look.
        addresses: where it listens.
        by_workers: whether the workers accept for themselves: then only they know what they have.
    """

    def __init__(
        self,
        fleet: Fleet,
        workers: Workers,
        lending: Lending,
        failures: Failures,
        addresses: tuple[str, ...],
        by_workers: bool,
    ) -> None:
        self._fleet = fleet
        self._workers = workers
        self._lending = lending
        self._failures = failures
        self._addresses = addresses
        self._by_workers = by_workers

    def status(self, now: float, state: str, app: str, since: float) -> Status:
        """The master and its workers.

        Args:
            now: monotonic seconds.
            state: what the master is doing.
            app: what is served.
            since: when that began, monotonic seconds.
        """
        workers = self._all(now)
        return Status(
            pid=os.getpid(),
            version=__version__,
            app=app,
            state=state,
            uptime=now - since,
            generation=self._fleet.generation,
            size=self._fleet.size,
            listeners=list(self._addresses),
            requests=self._workers.requests_before + sum(each.requests for each in workers),
            connections=self._lending.connections,
            parked=self._lending.parked,
            waiting=self._lending.waiting,
            workers=workers,
        )

    def _all(self, now: float) -> list[WorkerStatus]:
        """The workers by slot, and the slots that have none."""
        links = self._workers.links
        found = [self._worker(link, now) for link in links]
        empty = list(self._empty({link.worker.slot for link in links}, now))
        if empty:
            found = sorted([*found, *empty], key=lambda each: (each.slot, each.generation))
        return found

    def _worker(self, link: WorkerLink, now: float) -> WorkerStatus:
        worker = link.worker
        connections, in_flight = self._usage(link)
        error, error_age = self._error(worker.slot, now)
        return WorkerStatus(
            slot=worker.slot,
            pid=worker.id.pid,
            generation=worker.id.generation,
            state="stopped" if link.stopped else worker.phase.value,
            age=now - worker.since,
            requests=link.row.counters[0],
            in_flight=in_flight,
            connections=connections,
            last_error=error,
            error_age=error_age,
        )

    def _usage(self, link: WorkerLink) -> tuple[int | None, int | None]:
        return (None, None) if self._by_workers else self._lending.usage(link)

    def _empty(self, filled: set[int], now: float) -> Iterator[WorkerStatus]:
        for slot in range(1, self._fleet.size + 1):
            if slot not in filled:
                error, error_age = self._error(slot, now)
                yield WorkerStatus(
                    slot=slot,
                    pid=0,
                    generation=self._fleet.generation,
                    state="empty",
                    last_error=error,
                    error_age=error_age,
                )

    def _error(self, slot: int, now: float) -> tuple[str, float | None]:
        failure = self._failures.of(slot)
        if failure is None:
            return "", None
        return failure.summary[:_LONGEST_ERROR], now - failure.at
