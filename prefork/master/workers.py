"""The workers' processes, and the molds': born, told to drain, killed and reaped.

The fleet says what is to be done; this does it, and tells the fleet and the lending what has come
of it. What the workers say meanwhile is heard by `Reports`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from prefork import process
from prefork.master import handover
from prefork.master.births import Births
from prefork.master.census import count
from prefork.master.connection import Connection
from prefork.master.deaths import Deaths
from prefork.master.dispatch import Books
from prefork.master.failures import Failure, Failures
from prefork.master.fleet import Fleet
from prefork.master.hooks import Hooks
from prefork.master.lending import Lending
from prefork.master.link import Link, WorkerLink
from prefork.master.links import Links
from prefork.master.notices import notice
from prefork.master.poller import Poller
from prefork.master.pulse import Pulse
from prefork.master.reloads import Reloads
from prefork.master.reports import Reports
from prefork.master.steps import (
    Dump,
    Kill,
    ReloadAborted,
    ReloadDone,
    Retire,
    Spawn,
    Started,
    Step,
)
from prefork.settings import Settings
from prefork.wire import messages
from prefork.wire.board import RETIRING, UNREADY
from prefork.wire.facts import Counts
from prefork.wire.identity import MOLD, place

_log = logging.getLogger("prefork.master")


class Workers:
    """Their parent.

    Args:
        fleet: what is to be done.
        lending: the connections that they borrow.
        poller: the master's one wait.
        settings: of each generation that may be spawned.
        births: brings them into being.
        failures: of the workers.
        reloads: is told of what happens to them.
        hooks: are told when all serve, and when one has exited.
        adopt: called with the settings of a generation when all slots run it.
        counts: what becomes of workers and reloads.
    """

    def __init__(
        self,
        fleet: Fleet,
        lending: Lending,
        poller: Poller,
        settings: dict[int, Settings],
        births: Births,
        failures: Failures,
        reloads: Reloads,
        hooks: Hooks,
        adopt: Callable[[Settings], None],
        counts: Counts,
    ) -> None:
        self._fleet = fleet
        self._lending = lending
        self._settings = settings
        self._births = births
        self._failures = failures
        self._reloads = reloads
        self._adopt = adopt
        self._counts = counts
        self._pulse = Pulse()
        self._links = Links(lending)
        self._reports = Reports(
            fleet, lending, reloads, self._links, poller, self.look, self._never_born
        )
        self._deaths = Deaths(
            fleet,
            lending,
            reloads,
            hooks,
            self._links,
            self._reports,
            births,
            self._pulse,
            failures,
            counts,
            self.look,
        )
        self._steps: dict[type[Any], Callable[[Any], None]] = {
            Spawn: self._spawn,
            Retire: self._retire,
            Dump: self._dump,
            Kill: self._kill,
            Started: lambda step: hooks.call("when_ready", monotonic()),
            ReloadDone: self._reload_done,
            ReloadAborted: lambda step: count(counts.reloads, "aborted"),
        }
        # When `reconcile` is due; things that happen to the fleet bring it forward.
        self.deadline = 0.0

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links)

    def hand_over(self) -> list[handover.Link]:
        """The links, with what the workers have borrowed, for another to go on with."""
        return [
            link.hand_over(self._lending.books(link) if isinstance(link, WorkerLink) else None)
            for link in self._links
        ]

    def take_over(
        self, states: list[handover.Link], requests: int
    ) -> dict[WorkerLink, Books[Connection]]:
        """Go on with the links that another had: what their workers have borrowed. So many requests
        were begun by those that are gone."""
        self._deaths.requests = requests
        borrowed = {}
        for state in states:
            link = self._births.take_over(state)
            self._links.add(link)
            if not link.closed:
                self._reports.listen(link)
            if isinstance(link, WorkerLink) and state.books is not None:
                borrowed[link] = state.books
        return borrowed

    @property
    def requests_before(self) -> int:
        """How many requests those that are gone have begun."""
        return self._deaths.requests

    @property
    def expecting(self) -> bool:
        """Whether a mold is forking a worker, of which nothing is known yet."""
        return bool(self._links.unborn())

    def look(self) -> None:
        """Something has happened: see in this turn what the fleet's plan says."""
        self.deadline = 0.0

    def reconcile(self) -> None:
        """Do what the fleet's plan says, until it says nothing more."""
        now = monotonic()
        for link in self._links:
            if link.exit_due <= now:
                self._fleet.discard(link.worker, now)
        for link in self._pulse.hanging(self._links, now):
            self._fleet.hangs(link.worker, now)
        while steps := self._fleet.plan(monotonic()):
            for step in steps:
                self._take(step)
        now = monotonic()
        exits = [link.exit_due for link in self._links if link.exit_due > now]
        self.deadline = min(self._fleet.deadline(now), self._pulse.deadline, *exits, math.inf)

    def reap(self) -> list[tuple[int, int]]:
        """Bury the workers that have died; note which ones were stopped, or go on: waitpid(2).

        Returns:
            The pid and the wait status of each other child that has exited.
        """
        return self._deaths.reap()

    def tell(self, message: messages.Command, fds: list[int]) -> None:
        """Send a message to every worker and mold."""
        for link in self._links:
            link.tell(message, fds)

    def announce_end(self) -> None:
        """From now on readiness is answered with 503, as the service is about to stop."""
        for link in self._links:
            link.row.flags[UNREADY] = 1

    @property
    def links(self) -> list[WorkerLink]:
        """The workers, by slot, and in a slot by generation."""
        return self._links.workers()

    def retire(self, slot: int) -> str:
        """Replace the slot's worker, the new one first; why not, if that can't be."""
        if self._fleet.stopping:
            return "the service stops"
        worker = next(
            (each for each in self._fleet.roster.in_the_ring() if each.slot == slot), None
        )
        if worker is None:
            return f"no worker serves in slot {slot}"
        if self._fleet.leave(worker, monotonic()):
            self.look()
        return ""

    def disown(self) -> None:
        """In a forked worker: close the channels of the others."""
        for link in self._links:
            link.channel.close()

    # The steps of the fleet's plan.

    def _take(self, step: Step) -> None:
        act = self._steps.get(type(step))
        if act is not None:
            act(step)
        told = notice(step)
        if told is not None:
            _log.log(*told)
        self._reloads.stepped(step)

    def _spawn(self, step: Spawn) -> None:
        try:
            link = self._bring_forth(step)
        except OSError as error:
            self._fleet.not_spawned(step.slot, f"fork: {error.strerror}", monotonic())
            _log.error("%s can't be forked: %s", place(step.slot), error.strerror)
            return
        self._links.add(link)
        link.row.flags[UNREADY] = self._fleet.stopping
        if isinstance(link, WorkerLink):
            self._lending.open(link, process.most_connections(self._settings[step.generation]))
        self._reports.listen(link)
        if link.born:
            self._reports.spawned(link)

    def _bring_forth(self, step: Spawn) -> Link:
        settings = self._settings[step.generation]
        if step.slot == MOLD:
            return self._births.fork_mold(step.generation, settings)
        mold = self._links.mold_of(step.generation)
        if mold is not None:
            return self._births.cast(mold, step.slot, settings)
        return self._births.fork_worker(step.slot, step.generation, settings)

    def _retire(self, step: Retire) -> None:
        worker = step.worker
        link = self._links[worker]
        _log.info("%s %s", worker, "is not needed any more" if worker.id.is_mold else "draining")
        self._reloads.befell(worker, "draining")
        self._links.leave(link)
        # What was lent to it in this turn goes before Drain, to be given back with the rest.
        self._lending.send_loans()
        link.row.flags[RETIRING] = 1
        link.tell(messages.Drain(moving=not self._lending.stopping))

    def _dump(self, step: Dump) -> None:
        _log.warning("%s is %s: it will be killed", step.worker, step.why)
        link = self._links[step.worker]
        self._note_failure(link, f"was {step.why}")
        self._links.leave(link)
        link.dump_stacks()

    def _kill(self, step: Kill) -> None:
        link = self._links[step.worker]
        stacks = link.take_stacks()
        if stacks:
            _log.error("%s was killed here:\n%s", step.worker, stacks)
            self._failures.add_trace(step.worker.id, stacks)
        if link.born:
            link.kill()
            return
        # Whoever it is, it ends when it finds its channel closed. A mold that forks nobody is none.
        self._never_born(link)
        mold = self._links.mold_of(link.worker.id.generation)
        if mold is not None:
            self._fleet.discard(mold.worker, monotonic())

    def _reload_done(self, step: ReloadDone) -> None:
        count(self._counts.reloads, "done")
        self._adopt(self._settings[step.generation])

    # The parts.

    def _never_born(self, link: Link) -> None:
        self._deaths.exited(link, "did not come out of its mold")

    def _note_failure(self, link: Link, why: str) -> None:
        self._failures.note(Failure(link.worker.id, why, link.trouble, monotonic()))
