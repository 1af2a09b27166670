"""The mold: a process that has imported the app, and from which a generation's workers are forked.

What the app takes in memory they share, as long as nobody writes to it: so all garbage is collected
before, and what is left is put where the collector, which does write, does not come (gc.freeze).

It does nothing by itself. Each worker is forked twice, so that it becomes the master's child.
"""

from __future__ import annotations

import gc
import logging

# By name, before gevent replaces them by some that have to do with its hub.
from os import _exit as exit_at_once
from os import close as close_fd
from os import fork, getpid, waitpid
from select import POLLIN, poll
from socket import socket

import gevent

from prefork.wire import messages
from prefork.wire.assignment import Assignment
from prefork.wire.channel import Channel, ChannelClosed
from prefork.wire.identity import WorkerId
from prefork.worker.fork_safety import warn_of_what_does_not_survive

_log = logging.getLogger("prefork.worker")


class Mold:
    """A process of which workers are copies. The app is imported by now.

    Args:
        assignment: its place.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._channel = assignment.channel

    def serve(self) -> Assignment | None:
        """Fork workers, as the master asks for them.

        Returns:
            In each of them its own assignment; in the mold None, when it is not needed any more.
        """
        warn_of_what_does_not_survive(self._own_fds())
        gc.collect()
        gc.freeze()
        try:
            self._channel.send(messages.Ready())
            return self._await_orders()
        except ChannelClosed:
            return None  # the master is gone

    def _await_orders(self) -> Assignment | None:
        poller = poll()
        poller.register(self._channel.fileno(), POLLIN)
        while True:
            poller.poll()
            for order, fds in self._channel.receive():
                if isinstance(order, messages.Cast):
                    cast = self._cast(order, fds)
                    if cast is not None:
                        return cast
                elif isinstance(order, messages.Drain):
                    return None
                elif isinstance(order, messages.ReopenLogs):
                    self._assignment.surroundings.logs.adopt(fds)

    def _cast(self, order: messages.Cast, fds: list[int]) -> Assignment | None:
        """Fork a worker: its assignment in the worker, None in the mold."""
        try:
            pid = fork()
        except OSError as error:
            _log.error("worker=%d can't be forked: %s", order.slot, error.strerror)
        else:
            if pid == 0:
                return self._become_worker(order, *fds)
            waitpid(pid, 0)
        for fd in fds:
            close_fd(fd)  # if there is no worker, the master sees the end of its channel
        return None

    def _become_worker(self, order: messages.Cast, channel: int, stacks: int) -> Assignment:
        """In the child: fork the worker, and go."""
        try:
            if fork() != 0:
                exit_at_once(0)
        except OSError as error:
            _log.error("worker=%d can't be forked: %s", order.slot, error.strerror)
            exit_at_once(1)
        gevent.reinit()
        old = self._assignment
        old.channel.close()
        close_fd(old.stacks)
        surroundings = old.surroundings
        row = surroundings.board.row(order.row)
        assignment = Assignment(
            id=WorkerId(order.slot, old.id.generation, getpid()),
            settings=old.settings,
            channel=Channel(socket(fileno=channel), messages.decode_command),
            row=row,
            gate=surroundings.gates.get(order.row) if order.gated else None,
            stacks=stacks,
            surroundings=surroundings,
        )
        assignment.channel.send(messages.Born(getpid()))
        return assignment

    def _own_fds(self) -> set[int]:
        """Those that are not the app's."""
        shared = self._assignment.surroundings
        own = {self._channel.fileno(), self._assignment.stacks}
        return own | {sock.fileno() for sock in shared.sockets}
