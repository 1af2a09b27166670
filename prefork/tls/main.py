"""What a terminator is: a process of its own, which has the keys, and never sees the app."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from functools import partial

from prefork import child, process
from prefork.tls.contexts import context
from prefork.tls.relay import Relay
from prefork.wire.assignment import TerminatorAssignment
from prefork.wire.channel import ChannelClosed
from prefork.wire.messages import Cut, Drain, Ready, ReopenLogs, Terminate, TerminatorCommand

_log = logging.getLogger("prefork.tls")


def main(assignment: TerminatorAssignment) -> int:
    """Be a terminator.

    Returns:
        The exit status.
    """
    child.begin("tls", assignment.settings, assignment.logs, assignment.channel.fileno())
    assignment.logs.patient(True)
    return child.end(partial(_serve, assignment), "terminator", _log)


def _serve(assignment: TerminatorAssignment) -> None:
    settings = assignment.settings
    # The keys first: they may be for nobody's eyes but the one's who has started us.
    terminator = Terminator(assignment, context(settings))
    process.become(*process.user_and_group(settings))
    asyncio.run(terminator.serve())


class Terminator:
    """The connections of the process.

    Args:
        assignment: whom it talks to.
        context: for the handshakes.
    """

    def __init__(self, assignment: TerminatorAssignment, context: ssl.SSLContext) -> None:
        self._channel = assignment.channel
        self._logs = assignment.logs
        self._context = context
        self._handshake_seconds = assignment.settings.header_timeout
        self._relays: dict[int, Relay] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False

    async def serve(self) -> None:
        """Serve until the master says that it is enough, and the last connection has ended; or the
        master is gone."""
        self._over = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._channel.fileno(), self._obey)
        self._channel.send(Ready())
        await self._over.wait()

    def _obey(self) -> None:
        """Do what the master has sent."""
        try:
            for command, fds in self._channel.receive():
                self._do(command, fds)
        except ChannelClosed:
            self._over.set()
        except OSError as error:
            _log.error("a client is lost: %s", error.strerror)

    def _do(self, command: TerminatorCommand, fds: list[int]) -> None:
        if isinstance(command, Terminate):
            self._begin(command, fds)
        elif isinstance(command, Cut):
            relay = self._relays.get(command.id)
            if relay is not None:
                relay.cut = True
        elif isinstance(command, ReopenLogs):
            self._logs.adopt(fds)
        elif isinstance(command, Drain):
            self._draining = True
            self._end_if_done()

    def _begin(self, order: Terminate, fds: list[int]) -> None:
        client, inside = (socket.socket(fileno=fd) for fd in fds)
        client.setblocking(False)
        inside.setblocking(False)
        relay = self._relays[order.id] = Relay(order, client, inside, self._obey)
        task = asyncio.get_running_loop().create_task(self._run(order.id, relay))
        # The loop itself holds tasks only weakly.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, id: int, relay: Relay) -> None:
        try:
            await relay.run(self._context, self._handshake_seconds)
        except Exception:  # noqa: BLE001  an error of ours costs one connection
            _log.exception("error in the terminator")
        finally:
            del self._relays[id]
            self._end_if_done()

    def _end_if_done(self) -> None:
        if self._draining and not self._relays:
            self._over.set()
