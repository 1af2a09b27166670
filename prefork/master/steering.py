"""Steering: what the requests on the control socket mean, and what is answered."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from time import monotonic
from typing import Any

from prefork.master.commands import Commands
from prefork.master.control import ControlClient
from prefork.master.dumps import Dumps
from prefork.master.fleet import Fleet, Goal
from prefork.master.link import Link
from prefork.master.reloads import Reloads
from prefork.master.workers import Workers
from prefork.settings import MOST_WORKERS
from prefork.signals import Command
from prefork.wire import control
from prefork.wire.control import Done, Refused, Request, Stacks, Status

# A status that is no older than this is told again: to be asked often must not cost much.
_FRESH_SECONDS = 0.05
# What changes nothing, and is not worth a line of the log.
_QUESTIONS = (control.GetStatus, control.GetStacks)

_log = logging.getLogger("prefork.master")


class Steering:
    """Does what is asked for on the control socket.

    Args:
        fleet, workers: what is steered.
        reloads: who waits for them.
        status: tells what there is.
        commands: what a signal can do as well.
    """

    def __init__(
        self,
        fleet: Fleet,
        workers: Workers,
        reloads: Reloads,
        status: Callable[[], Status],
        commands: Commands,
    ) -> None:
        self._fleet = fleet
        self._workers = workers
        self._reloads = reloads
        self._status = status
        self._commands = commands
        self._dumps = Dumps()
        # The status as it was told last, and when.
        self._told = b""
        self._told_at = -math.inf
        self._handlers: dict[type[Any], Callable[[ControlClient, Any], None]] = {
            control.GetStatus: self._get_status,
            control.Reload: self._reload,
            control.Stop: self._stop,
            control.Scale: self._rescale,
            control.ReopenLogs: self._reopen_logs,
            control.Retire: self._retire,
            control.GetStacks: self._get_stacks,
        }

    @property
    def deadline(self) -> float:
        """When `expire` is to be called next."""
        return self._dumps.deadline

    def expire(self, now: float) -> None:
        """Do what is due by now."""
        self._dumps.expire(now)
        self._reloads.settle()

    def handle(self, client: ControlClient, request: Request) -> None:
        """Do what the client asks for, and tell it."""
        if not isinstance(request, _QUESTIONS):
            _log.info("asked by preforkctl to: %s", _words(request))
            self._told_at = -math.inf
        self._handlers[type(request)](client, request)

    def ended(self, client: ControlClient) -> None:
        """The client is gone."""
        self._reloads.forget(client)

    # The requests.

    def _get_status(self, client: ControlClient, request: control.GetStatus) -> None:
        now = monotonic()
        if now - self._told_at > _FRESH_SECONDS:
            self._told, self._told_at = control.encode(self._status()), now
        client.tell_line(self._told)

    def _reload(self, client: ControlClient, request: control.Reload) -> None:
        state = self._status().state
        if state == "stopping":
            client.tell(Refused(why="the service stops"))
            return
        queued = state != "serving"
        if request.wait:
            client.waiting = True
            self._reloads.await_next(client, queued)
        self._commands.act(Command.RELOAD)
        if not request.wait:
            after = ", after the one that is under way" if queued else ""
            client.tell(Done(what=f"a reload will begin{after}"))

    def _stop(self, client: ControlClient, request: control.Stop) -> None:
        client.tell(Done(what="stopping"))
        self._commands.act(Command.QUICK_STOP if request.quick else Command.STOP)

    def _rescale(self, client: ControlClient, request: control.Scale) -> None:
        size = request.count + self._fleet.size if request.relative else request.count
        if not 1 <= size <= MOST_WORKERS:
            client.tell(Refused(why=f"{size} workers can't be: 1 to {MOST_WORKERS} can"))
        elif self._fleet.goal is Goal.STOP:
            client.tell(Refused(why="the service stops"))
        else:
            self._commands.scale(size)
            client.tell(Done(what=f"{size} workers wanted"))

    def _reopen_logs(self, client: ControlClient, request: control.ReopenLogs) -> None:
        self._commands.act(Command.REOPEN_LOGS)
        client.tell(Done(what="logs reopened"))

    def _retire(self, client: ControlClient, request: control.Retire) -> None:
        why = self._workers.retire(request.slot)
        client.tell(
            Refused(why=why) if why else Done(what=f"slot {request.slot} gets a new worker")
        )

    def _get_stacks(self, client: ControlClient, request: control.GetStacks) -> None:
        links: list[Link] = [
            link
            for link in self._workers.links
            if not request.slots or link.worker.slot in request.slots
        ]
        if not links:
            client.tell(Refused(why="there is no such worker"))
            return
        client.waiting = True

        def done(stacks: list[Stacks]) -> None:
            client.release()
            for each in stacks:
                client.tell(each)
            client.tell(Done(what=f"the stacks of {len(stacks)} workers"))

        self._dumps.demand(links, done)


def _words(request: Request) -> str:
    """A request as the log has it."""
    given = {name: getattr(request, name) for name in request.__struct_fields__}
    values = [f"{name}={value}" for name, value in given.items() if value not in (None, False)]
    return " ".join([str(request.__struct_config__.tag), *values])
