"""Deaths: how workers and molds are stopped, go on, and end."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from time import monotonic

from prefork.master.births import Births
from prefork.master.census import count, reason_of
from prefork.master.failures import Failure, Failures
from prefork.master.fleet import Fleet
from prefork.master.hooks import Hooks
from prefork.master.lending import Lending
from prefork.master.life import IN_THE_RING, Phase
from prefork.master.link import Link, WorkerLink, describe_exit, describe_signal
from prefork.master.links import Links
from prefork.master.pulse import Pulse
from prefork.master.reloads import Reloads
from prefork.master.reports import Reports
from prefork.wire.facts import Counts

# In these phases a worker has no reason to exit.
_ALIVE = IN_THE_RING | {Phase.BOOTING}

_log = logging.getLogger("prefork.master")


class Deaths:
    """Buries them, and tells everybody.

    Args:
        fleet, lending, reloads, hooks: are told.
        links: to those who live.
        reports: what they have said.
        births, pulse: have something of each that is not needed any more.
        failures, counts: what is remembered.
        changed: called when the fleet may have something to do.
    """

    def __init__(
        self,
        fleet: Fleet,
        lending: Lending,
        reloads: Reloads,
        hooks: Hooks,
        links: Links,
        reports: Reports,
        births: Births,
        pulse: Pulse,
        failures: Failures,
        counts: Counts,
        changed: Callable[[], None],
    ) -> None:
        self._fleet = fleet
        self._lending = lending
        self._reloads = reloads
        self._hooks = hooks
        self._links = links
        self._reports = reports
        self._births = births
        self._pulse = pulse
        self._failures = failures
        self._counts = counts
        self._changed = changed
        # How many requests those that are gone have begun.
        self.requests = 0

    def reap(self) -> list[tuple[int, int]]:
        """Bury the workers that have died; note which ones were stopped, or go on: waitpid(2).

        Returns:
            The pid and the wait status of each other child that has exited.
        """
        others: list[tuple[int, int]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                return others
            if pid == 0:
                return others
            link = self._link_of(pid)
            if link is not None:
                self._changed_state(link, status)
            elif os.WIFEXITED(status) or os.WIFSIGNALED(status):
                others.append((pid, status))

    def exited(self, link: Link, why: str) -> None:
        """There is no such process any more, or there never was: `why` says how, in words."""
        worker = link.worker
        self._links.remove(link)
        self._reports.end(link)
        level = logging.ERROR if worker.phase in _ALIVE else logging.INFO
        if isinstance(link, WorkerLink):
            requests = link.row.counters[0]
            _log.log(level, "%s %s after %d requests", worker, why, requests)
            self.requests += requests
            count(self._counts.exits, reason_of(link))
            self._lending.forget(link)
            self._lending.returns.bury(link, was_killed=worker.phase is Phase.DYING)
            self._hooks.call("child_exit", monotonic(), worker=worker.id)
        else:
            _log.log(level, "%s %s", worker, why)
        if worker.phase in _ALIVE:
            self._failures.note(Failure(worker.id, why, link.trouble, monotonic()))
        self._fleet.exited(worker, why, monotonic())
        self._reloads.befell(worker, "gone", monotonic() - worker.since)
        self._pulse.forget(link)
        self._births.bury(link)
        self._changed()

    def _link_of(self, pid: int) -> Link | None:
        """Whose process it is; one that has died may not have been heard of yet."""
        for link in self._links.unborn():
            self._reports.catch_up(link)
        return self._links.of_process(pid)

    def _changed_state(self, link: Link, status: int) -> None:
        if os.WIFSTOPPED(status):
            self._stopped(link, describe_signal(os.WSTOPSIG(status)))
        elif os.WIFCONTINUED(status):
            self._continued(link)
        else:
            self.exited(link, describe_exit(status))

    def _stopped(self, link: Link, number: str) -> None:
        _log.warning("%s was stopped by %s: it gets nothing until it goes on", link.worker, number)
        link.stopped = True
        self._links.leave(link)

    def _continued(self, link: Link) -> None:
        _log.info("%s goes on", link.worker)
        link.stopped = False
        if link.worker.phase in IN_THE_RING and not link.closed:
            self._links.join(link)
