"""The workers' processes: forked, listened to, told to drain, killed and reaped.

The fleet says what is to be done; this does it, and tells the fleet and the lending what has come
of it.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import msgspec

from prefork import process
from prefork.log import Logs
from prefork.master import handover
from prefork.master.connection import Connection
from prefork.master.dispatch import Books, UnknownLoan
from prefork.master.fleet import Fleet
from prefork.master.lending import Lending
from prefork.master.life import IN_THE_RING, Phase, Worker
from prefork.master.link import Link, Place, describe_exit, describe_signal, fork
from prefork.master.poller import READ, WRITE, Poller
from prefork.master.pulse import Pulse
from prefork.master.reserve import Reserve
from prefork.master.steps import (
    BackedOff,
    Baking,
    Dump,
    Kill,
    Recovered,
    ReloadAborted,
    ReloadDone,
    Retire,
    Spawn,
    Started,
    Step,
)
from prefork.settings import Settings
from prefork.wire import messages
from prefork.wire.assignment import ListenerInfo
from prefork.wire.board import RETIRING, ROWS, UNREADY, Board
from prefork.wire.channel import ChannelClosed
from prefork.wire.identity import WorkerId

# A worker that has closed its channel is about to exit; if it hasn't by then, it is killed.
_EXIT_SECONDS = 1.0

Handlers = dict[type[Any], Callable[[Link, Any], None]]

_log = logging.getLogger("prefork.master")


@dataclass(frozen=True)
class Surroundings:
    """What all workers share."""

    board: Board
    listeners: tuple[ListenerInfo, ...]
    # The same listeners, if the workers accept for themselves.
    sockets: tuple[socket.socket, ...]
    logs: Logs
    # Closes, in a forked child, what only the master may have.
    disown: Callable[[], None]


class Workers:
    """The links to all workers.

    Args:
        fleet: what is to be done.
        lending: the connections that they borrow.
        poller: the master's one wait.
        settings: of each generation that may be spawned.
        surroundings: what each worker is given.
        adopt: called with the settings of a generation when all slots run it.
    """

    def __init__(
        self,
        fleet: Fleet,
        lending: Lending,
        poller: Poller,
        settings: dict[int, Settings],
        surroundings: Surroundings,
        adopt: Callable[[Settings], None],
    ) -> None:
        self._fleet = fleet
        self._lending = lending
        self._poller = poller
        self._settings = settings
        self._surroundings = surroundings
        self._adopt = adopt
        self._reserve = Reserve()
        self._pulse = Pulse()
        self._free_rows = list(reversed(range(ROWS)))
        self._links: dict[int, Link] = {}  # by pid
        # Whether the service is about to stop.
        self._ending = False
        # Whether it has been said that there are no gates.
        self._gateless = False
        self._steps: dict[type[Any], Callable[[Any], None]] = {
            Spawn: self._spawn,
            Retire: self._retire,
            Dump: self._dump,
            Kill: self._kill,
            Started: self._started,
            ReloadDone: self._reload_done,
            ReloadAborted: self._reload_aborted,
            Baking: self._baking,
            BackedOff: self._backed_off,
            Recovered: self._recovered,
        }
        self._reports: Handlers = {
            messages.Ready: self._ready,
            messages.Leaving: self._leaving,
            messages.Closed: lambda link, report: lending.closed(link, report.loans),
            messages.Returned: lambda link, report: lending.returned(link, report.loans),
            messages.Released: lambda link, report: lending.released(link, report.loans),
            messages.Room: lambda link, report: lending.room(link),
        }
        # Of a worker that has died, only what it says of its loans still counts.
        self._last_words = {
            kind: self._reports[kind]
            for kind in (messages.Closed, messages.Returned, messages.Released)
        }
        # When `reconcile` is due; things that happen to the fleet bring it forward.
        self.deadline = 0.0

    def __len__(self) -> int:
        return len(self._links)

    def hand_over(self) -> list[handover.Link]:
        """The links, with what the workers have borrowed, for another to go on with."""
        return [link.hand_over(self._lending.books(link)) for link in self._links.values()]

    def take_over(self, states: list[handover.Link]) -> dict[Link, Books[Connection]]:
        """Go on with the links that another had: what their workers have borrowed."""
        for state in states:
            link = Link.taken_over(state, self._poller, self._surroundings.board)
            self._links[link.worker.id.pid] = link
            self._free_rows.remove(state.row)
            if not link.closed:
                self._listen(link)
        return dict(zip(self._links.values(), (state.books for state in states), strict=True))

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
            link = self._links.get(pid)
            if link is None:
                if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                    others.append((pid, status))
            elif os.WIFSTOPPED(status):
                self._stopped(link, describe_signal(os.WSTOPSIG(status)))
            elif os.WIFCONTINUED(status):
                self._continued(link)
            else:
                del self._links[pid]
                self._exited(link, status)

    def tell(self, message: messages.Command, fds: list[int]) -> None:
        """Send a message to every worker."""
        for link in self._links.values():
            link.tell(message, fds)

    def announce_end(self) -> None:
        """From now on readiness is answered with 503, and who wants to leave stays, as the service
        is about to stop."""
        self._ending = True
        for link in self._links.values():
            link.row.flags[UNREADY] = 1

    def disown(self) -> None:
        """In a forked worker: close the channels of the others."""
        for link in self._links.values():
            link.channel.close()

    # The steps of the fleet's plan.

    def _take(self, step: Step) -> None:
        self._steps[type(step)](step)

    def _spawn(self, step: Spawn) -> None:
        settings = self._settings[step.generation]
        shared = self._surroundings
        place = Place(
            step.slot, step.generation, settings, shared.listeners, shared.sockets, shared.logs
        )
        row = shared.board.row(self._free_rows.pop())
        try:
            with self._reserve.released():
                welcome = partial(self._welcome, settings)
                link = fork(place, self._poller, shared.board, row, shared.disown, welcome)
        except OSError as error:
            self._free_rows.append(row.number)
            self._fleet.not_spawned(step.slot, f"fork: {error.strerror}", monotonic())
            _log.error("worker=%d can't be forked: %s", step.slot, error.strerror)
            return
        self._links[link.worker.id.pid] = link
        link.row.flags[UNREADY] = self._ending
        self._lending.open(link, process.most_connections(settings))
        self._listen(link)
        _log.info("%s spawned", link.worker)
        if link.gate is None and not self._gateless:
            self._gateless = True
            _log.warning(
                "no semaphores here (is there no /dev/shm?): connections stay behind long requests"
            )

    def _welcome(self, settings: Settings, id: WorkerId) -> Worker:
        return self._fleet.spawned(id, settings.listen_timeout, settings.kill_timeout, monotonic())

    def _retire(self, step: Retire) -> None:
        worker = step.worker
        link = self._links[worker.id.pid]
        _log.info("%s draining", worker)
        self._lending.leave(link)
        # What was lent to it in this turn goes before Drain, to be given back with the rest.
        self._lending.send_loans()
        link.row.flags[RETIRING] = 1
        link.tell(messages.Drain(moving=not self._lending.stopping))

    def _dump(self, step: Dump) -> None:
        _log.warning("%s is %s: it will be killed", step.worker, step.why)
        link = self._links[step.worker.id.pid]
        self._lending.leave(link)
        link.dump_stacks()

    def _kill(self, step: Kill) -> None:
        link = self._links[step.worker.id.pid]
        stacks = link.read_stacks()
        if stacks:
            _log.error("%s was killed here:\n%s", step.worker, stacks)
        link.kill()

    def _started(self, step: Started) -> None:
        _log.info("started: %d serving", self._fleet.size)

    def _reload_done(self, step: ReloadDone) -> None:
        self._adopt(self._settings[step.generation])
        _log.info("reload to generation %d done in %.2f s", step.generation, step.seconds)

    def _baking(self, step: Baking) -> None:
        _log.info("%s bakes: the reload goes on if it serves for %g s", step.worker, step.seconds)

    def _reload_aborted(self, step: ReloadAborted) -> None:
        slots = ", ".join(str(slot) for slot in step.replaced)
        stays = f"; slots with the new generation: {slots}" if slots else ""
        _log.error(
            "reload to generation %d aborted after %.2f s: %s; what served before goes on%s",
            step.generation,
            step.seconds,
            step.why,
            stays,
        )

    def _backed_off(self, step: BackedOff) -> None:
        _log.warning(
            "worker=%d has failed %d times in a row: the next one comes in %.1f s",
            step.slot,
            step.failures,
            step.seconds,
        )

    def _recovered(self, step: Recovered) -> None:
        _log.info("worker=%d has recovered, after %d failures", step.slot, step.failures)

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
            for report, _ in link.channel.receive():
                handler = handlers.get(type(report))
                if handler is not None:
                    handler(link, report)
        except ChannelClosed:
            self._channel_closed(link)
        except (msgspec.DecodeError, UnknownLoan) as error:
            _log.error("%s wrote nonsense on its channel (%r): it is killed", worker, error)
            self._lending.leave(link)
            self._fleet.discard(worker, monotonic())
            self.deadline = 0.0

    def _channel_closed(self, link: Link) -> None:
        if link.closed:
            return
        link.exit_due = monotonic() + _EXIT_SECONDS
        self.deadline = min(self.deadline, link.exit_due)
        self._poller.forget(link.channel.fileno())
        self._lending.leave(link)

    def _ready(self, link: Link, report: messages.Ready) -> None:
        worker = link.worker
        seconds = monotonic() - worker.since
        if self._fleet.ready(worker, monotonic()):
            _log.info("%s ready after %.2f s", worker, seconds)
            if not link.stopped:
                self._lending.join(link)
            self.deadline = 0.0

    def _leaving(self, link: Link, report: messages.Leaving) -> None:
        if not self._ending and self._fleet.leave(link.worker, monotonic()):
            _log.info("%s %s: it is replaced first", link.worker, report.why)
            self.deadline = 0.0

    def _stopped(self, link: Link, number: str) -> None:
        _log.warning("%s was stopped by %s: it gets nothing until it goes on", link.worker, number)
        link.stopped = True
        self._lending.leave(link)

    def _continued(self, link: Link) -> None:
        _log.info("%s goes on", link.worker)
        link.stopped = False
        if link.worker.phase in IN_THE_RING and not link.closed:
            self._lending.join(link)

    def _exited(self, link: Link, status: int) -> None:
        worker = link.worker
        self._lending.leave(link)  # nothing is lent to the dead
        self._receive(link, self._last_words)
        if not link.closed:
            self._poller.forget(link.channel.fileno())
        why = describe_exit(status)
        level = logging.ERROR if worker.phase in _ALIVE else logging.INFO
        _log.log(level, "%s %s after %d requests", worker, why, link.row.counters[0])
        self._lending.bury(link, was_killed=worker.phase is Phase.DYING)
        self._fleet.exited(worker, why, monotonic())
        self._free_rows.append(link.row.number)
        self._pulse.forget(link)
        link.close()
        self.deadline = 0.0


# In these phases a worker has no reason to exit.
_ALIVE = IN_THE_RING | {Phase.BOOTING}
