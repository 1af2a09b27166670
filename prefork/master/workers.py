"""The workers' processes, and the molds': born, listened to, told to drain, killed and reaped.

The fleet says what is to be done; this does it, and tells the fleet and the lending what has come
of it.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from typing import Any

import msgspec

from prefork import process
from prefork.master import handover
from prefork.master.births import Births
from prefork.master.census import count, reason_of
from prefork.master.connection import Connection
from prefork.master.dispatch import Books, UnknownLoan
from prefork.master.failures import Failure, Failures
from prefork.master.fleet import Fleet
from prefork.master.hooks import Hooks
from prefork.master.lending import Lending
from prefork.master.life import IN_THE_RING, Phase, Worker
from prefork.master.link import Link, MoldLink, WorkerLink, describe_exit, describe_signal
from prefork.master.notices import notice
from prefork.master.poller import READ, WRITE, Poller
from prefork.master.pulse import Pulse
from prefork.master.reloads import Reloads
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
from prefork.wire.channel import ChannelClosed
from prefork.wire.facts import Counts
from prefork.wire.identity import MOLD, place

# A worker that has closed its channel is about to exit; if it hasn't by then, it is killed.
_EXIT_SECONDS = 1.0
_UNBORN = "did not come out of its mold"

Handlers = dict[type[Any], Callable[[Any, Any], None]]

_log = logging.getLogger("prefork.master")


class Workers:
    """The links to all workers and molds.

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
        self._poller = poller
        self._settings = settings
        self._births = births
        self._failures = failures
        self._reloads = reloads
        self._hooks = hooks
        self._adopt = adopt
        self._counts = counts
        self._pulse = Pulse()
        self._links: dict[Worker, Link] = {}
        self._steps: dict[type[Any], Callable[[Any], None]] = {
            Spawn: self._spawn,
            Retire: self._retire,
            Dump: self._dump,
            Kill: self._kill,
            Started: lambda step: hooks.call("when_ready", monotonic()),
            ReloadDone: self._reload_done,
            ReloadAborted: lambda step: count(counts.reloads, "aborted"),
        }
        self._reports: Handlers = {
            messages.Born: self._born,
            messages.Ready: self._ready,
            messages.Failed: self._failed,
            messages.Leaving: self._leaving,
            messages.Closed: lambda link, report: lending.closed(link, report.loans),
            messages.Returned: lambda link, report: lending.returned(link, report.loans),
            messages.Released: lambda link, report: lending.released(link, report.loans),
            messages.Room: lambda link, report: lending.room(link),
        }
        # Of a worker that has died, only what it says of its loans, and of its end, still counts.
        self._last_words = {
            kind: self._reports[kind]
            for kind in (messages.Closed, messages.Returned, messages.Released, messages.Failed)
        }
        # How many requests those that are gone have begun.
        self.requests_before = 0
        # When `reconcile` is due; things that happen to the fleet bring it forward.
        self.deadline = 0.0

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

    def hand_over(self) -> list[handover.Link]:
        """The links, with what the workers have borrowed, for another to go on with."""
        return [
            link.hand_over(self._lending.books(link) if isinstance(link, WorkerLink) else None)
            for link in self._links.values()
        ]

    def take_over(self, states: list[handover.Link]) -> dict[WorkerLink, Books[Connection]]:
        """Go on with the links that another had: what their workers have borrowed."""
        borrowed = {}
        for state in states:
            link = self._links[state.worker] = self._births.take_over(state)
            if not link.closed:
                self._listen(link)
            if isinstance(link, WorkerLink) and state.books is not None:
                borrowed[link] = state.books
        return borrowed

    @property
    def expecting(self) -> bool:
        """Whether a mold is forking a worker, of which nothing is known yet."""
        return not all(link.born for link in self._links.values())

    def reconcile(self) -> None:
        """Do what the fleet's plan says, until it says nothing more."""
        now = monotonic()
        for link in self._links.values():
            if link.exit_due <= now:
                self._fleet.discard(link.worker, now)
        for link in self._pulse.hanging(self._links.values(), now):
            self._fleet.hangs(link.worker, now)
        while steps := self._fleet.plan(monotonic()):
            for step in steps:
                self._take(step)
        now = monotonic()
        exits = [link.exit_due for link in self._links.values() if link.exit_due > now]
        self.deadline = min(self._fleet.deadline(now), self._pulse.deadline, *exits, math.inf)

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
            if link is None:
                if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                    others.append((pid, status))
            elif os.WIFSTOPPED(status):
                self._stopped(link, describe_signal(os.WSTOPSIG(status)))
            elif os.WIFCONTINUED(status):
                self._continued(link)
            else:
                self._exited(link, describe_exit(status))

    def tell(self, message: messages.Command, fds: list[int]) -> None:
        """Send a message to every worker and mold."""
        for link in self._links.values():
            link.tell(message, fds)

    def announce_end(self) -> None:
        """From now on readiness is answered with 503, as the service is about to stop."""
        for link in self._links.values():
            link.row.flags[UNREADY] = 1

    @property
    def links(self) -> list[WorkerLink]:
        """The workers, by slot, and in a slot by generation."""
        found = [link for link in self._links.values() if isinstance(link, WorkerLink)]
        return sorted(found, key=lambda link: (link.worker.slot, link.worker.id.generation))

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
            self.deadline = 0.0
        return ""

    def disown(self) -> None:
        """In a forked worker: close the channels of the others."""
        for link in self._links.values():
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
        self._links[link.worker] = link
        link.row.flags[UNREADY] = self._fleet.stopping
        if isinstance(link, WorkerLink):
            self._lending.open(link, process.most_connections(self._settings[step.generation]))
        self._listen(link)
        if link.born:
            self._spawned(link)

    def _bring_forth(self, step: Spawn) -> Link:
        settings = self._settings[step.generation]
        if step.slot == MOLD:
            return self._births.fork_mold(step.generation, settings)
        mold = self._mold_of(step.generation)
        if mold is not None:
            return self._births.cast(mold, step.slot, settings)
        return self._births.fork_worker(step.slot, step.generation, settings)

    def _retire(self, step: Retire) -> None:
        worker = step.worker
        link = self._links[worker]
        _log.info("%s %s", worker, "is not needed any more" if worker.id.is_mold else "draining")
        self._reloads.befell(worker, "draining")
        self._leave(link)
        # What was lent to it in this turn goes before Drain, to be given back with the rest.
        self._lending.send_loans()
        link.row.flags[RETIRING] = 1
        link.tell(messages.Drain(moving=not self._lending.stopping))

    def _dump(self, step: Dump) -> None:
        _log.warning("%s is %s: it will be killed", step.worker, step.why)
        link = self._links[step.worker]
        self._note_failure(link, f"was {step.why}")
        self._leave(link)
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
        self._exited(link, _UNBORN)
        mold = self._mold_of(link.worker.id.generation)
        if mold is not None:
            self._fleet.discard(mold.worker, monotonic())

    def _reload_done(self, step: ReloadDone) -> None:
        count(self._counts.reloads, "done")
        self._adopt(self._settings[step.generation])

    # What workers report.

    def _listen(self, link: Link) -> None:
        events = READ | WRITE if link.channel.backlogged else READ
        self._poller.watch(link.channel.fileno(), partial(self._on_channel, link), events)

    def _on_channel(self, link: Link, events: int) -> None:
        if events & WRITE:
            link.flush()
        self._receive(link, self._reports)

    def _receive(self, link: Link, handlers: Handlers) -> None:
        """Handle the worker's reports, and survive whatever it writes."""
        worker = link.worker
        try:
            for report, fds in link.channel.receive():
                for fd in fds:
                    os.close(fd)  # nobody has asked for any
                handler = handlers.get(type(report))
                if handler is not None:
                    handler(link, report)
        except ChannelClosed:
            self._channel_closed(link)
        except (msgspec.DecodeError, UnknownLoan) as error:
            _log.error("%s wrote nonsense on its channel (%r): it is killed", worker, error)
            self._leave(link)
            self._fleet.discard(worker, monotonic())
            self.deadline = 0.0

    def _channel_closed(self, link: Link) -> None:
        if link.closed:
            return
        link.exit_due = monotonic() + _EXIT_SECONDS
        self.deadline = min(self.deadline, link.exit_due)
        self._poller.forget(link.channel.fileno())
        self._leave(link)
        if not link.born and link.worker in self._links:
            self._exited(link, _UNBORN)

    def _born(self, link: Link, report: messages.Born) -> None:
        if not link.born:
            link.bear(report.pid)
            self._spawned(link)

    def _ready(self, link: Link, report: messages.Ready) -> None:
        worker = link.worker
        seconds = monotonic() - worker.since
        if self._fleet.ready(worker, monotonic()):
            _log.info("%s ready after %.2f s", worker, seconds)
            self._reloads.befell(worker, "ready", seconds)
            self._join(link)
            self.deadline = 0.0

    def _failed(self, link: Link, report: messages.Failed) -> None:
        link.trouble = report.why

    def _leaving(self, link: Link, report: messages.Leaving) -> None:
        if not self._fleet.stopping and self._fleet.leave(link.worker, monotonic()):
            _log.info("%s %s: it is replaced first", link.worker, report.why)
            link.leaving = True
            self.deadline = 0.0

    # What becomes of their processes.

    def _stopped(self, link: Link, number: str) -> None:
        _log.warning("%s was stopped by %s: it gets nothing until it goes on", link.worker, number)
        link.stopped = True
        self._leave(link)

    def _continued(self, link: Link) -> None:
        _log.info("%s goes on", link.worker)
        link.stopped = False
        if link.worker.phase in IN_THE_RING and not link.closed:
            self._join(link)

    def _exited(self, link: Link, why: str) -> None:
        worker = link.worker
        del self._links[worker]
        self._leave(link)  # nothing is lent to the dead
        self._receive(link, self._last_words)
        if not link.closed:
            self._poller.forget(link.channel.fileno())
        level = logging.ERROR if worker.phase in _ALIVE else logging.INFO
        if isinstance(link, WorkerLink):
            requests = link.row.counters[0]
            _log.log(level, "%s %s after %d requests", worker, why, requests)
            self.requests_before += requests
            count(self._counts.exits, reason_of(link))
            self._lending.bury(link, was_killed=worker.phase is Phase.DYING)
            self._hooks.call("child_exit", monotonic(), worker=worker.id)
        else:
            _log.log(level, "%s %s", worker, why)
        if worker.phase in _ALIVE:
            self._note_failure(link, why)
        self._fleet.exited(worker, why, monotonic())
        self._reloads.befell(worker, "gone", monotonic() - worker.since)
        self._pulse.forget(link)
        self._births.bury(link)
        self.deadline = 0.0

    # The parts.

    def _spawned(self, link: Link) -> None:
        _log.info("%s spawned", link.worker)
        self._reloads.befell(link.worker, "spawned")

    def _note_failure(self, link: Link, why: str) -> None:
        self._failures.note(Failure(link.worker.id, why, link.trouble, monotonic()))

    def _join(self, link: Link) -> None:
        if isinstance(link, WorkerLink) and not link.stopped:
            self._lending.join(link)

    def _leave(self, link: Link) -> None:
        if isinstance(link, WorkerLink):
            self._lending.leave(link)

    def _mold_of(self, generation: int) -> MoldLink | None:
        """The mold that this generation's workers are forked from."""
        for link in self._links.values():
            if isinstance(link, MoldLink) and link.worker.id.generation == generation:
                return link
        return None

    def _link_of(self, pid: int) -> Link | None:
        """Whose process it is; one that has died may not have been heard of yet."""
        for link in [each for each in self._links.values() if not each.born]:
            self._receive(link, self._reports)
        return next((each for each in self._links.values() if each.worker.id.pid == pid), None)


# In these phases a worker has no reason to exit.
_ALIVE = IN_THE_RING | {Phase.BOOTING}
