"""One terminator: how it is forked, and what the master keeps of it."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from prefork.log import Logs
from prefork.master import handover
from prefork.master.forking import fork_with_channel
from prefork.settings import Settings
from prefork.wire import messages
from prefork.wire.assignment import TerminatorAssignment
from prefork.wire.channel import Channel, TerminatorMasterChannel

_log = logging.getLogger("prefork.master")


@dataclass(eq=False)
class Terminator:
    """One of the processes. `deadline` is until when it has to be ready, or gone; one that drains
    gets no more clients."""

    pid: int
    channel: TerminatorMasterChannel
    deadline: float = math.inf
    draining: bool = False

    def __str__(self) -> str:
        return f"tls pid={self.pid}"

    @classmethod
    def taken_over(cls, state: handover.Terminator) -> Terminator:
        """One that another has handed over."""
        sock = socket.socket(fileno=state.channel)
        ours: TerminatorMasterChannel = Channel(sock, messages.decode_report)
        ours.take_over(state.unsent)
        return cls(state.pid, ours, draining=state.draining)

    def hand_over(self) -> handover.Terminator:
        """The terminator, for another to go on with."""
        return handover.Terminator(
            self.pid, self.channel.fileno(), self.channel.unsent(), self.draining
        )

    def reports(self) -> Iterator[messages.Report]:
        """What it has said since.

        Raises:
            ChannelClosed: it has closed its end.
            msgspec.DecodeError: it was nonsense.
        """
        for report, fds in self.channel.receive():
            for fd in fds:
                os.close(fd)  # nobody has asked for any
            yield report

    def kill(self) -> None:
        """End it, now."""
        os.kill(self.pid, signal.SIGKILL)


def spawn(settings: Settings, logs: Logs, disown: Callable[[], None], now: float) -> Terminator:
    """Fork one.

    Args:
        settings: what it goes by.
        logs: what it logs to.
        disown: closes, in the child, what only the master may have.
        now: monotonic seconds.

    Raises:
        OSError: there can't be another process.
    """
    pid, ours = fork_with_channel(disown, partial(_assignment, settings, logs))
    deadline = now + settings.listen_timeout
    terminator = Terminator(pid, Channel(ours, messages.decode_report), deadline)
    _log.info("%s spawned", terminator)
    return terminator


def _assignment(settings: Settings, logs: Logs, mine: socket.socket) -> TerminatorAssignment:
    """In the child: what it is to be."""
    return TerminatorAssignment(settings, Channel(mine, messages.decode_terminator_command), logs)
