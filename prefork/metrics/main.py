"""What the observer is: a forked child of the master that serves metrics until the master ends it,
or is gone."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from select import POLLIN, poll
from threading import Thread

from prefork import child, process
from prefork.metrics.exposition import Exposition
from prefork.metrics.server import Server
from prefork.wire.assignment import ObserverAssignment
from prefork.wire.channel import ChannelClosed
from prefork.wire.messages import ReopenLogs

_log = logging.getLogger("prefork.metrics")


def main(assignment: ObserverAssignment) -> int:
    """Be the observer.

    Returns:
        The exit status.
    """
    kept = assignment.channel.fileno(), assignment.board.fd, assignment.sock.fileno()
    child.begin("metrics", assignment.settings, assignment.logs, *kept)
    assignment.logs.patient(True)
    return child.end(partial(_serve, assignment), "observer", _log)


def _serve(assignment: ObserverAssignment) -> None:
    process.become(*process.user_and_group(assignment.settings))
    server = Server(assignment.sock, Exposition(assignment.board))
    Thread(target=_obey, args=(assignment, server), daemon=True).start()
    server.serve_forever()


def _obey(assignment: ObserverAssignment, server: Server) -> None:
    """Do what the master sends, until it is gone."""
    channel = assignment.channel
    poller = poll()
    poller.register(channel.fileno(), POLLIN)
    with contextlib.suppress(ChannelClosed):
        while True:
            poller.poll()
            for command, fds in channel.receive():
                if isinstance(command, ReopenLogs):
                    assignment.logs.adopt(fds)
    server.shutdown()
