"""What the observer is: a forked child of the master that serves metrics until the master ends it,
or is gone."""

from __future__ import annotations

import contextlib
import logging
import os
from select import POLLIN, poll
from threading import Thread

from prefork import process, signals
from prefork.errors import PreforkError
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
    logs = assignment.logs
    logs.introduce(f"metrics pid={os.getpid()}", assignment.settings.log_format)
    logs.patient(True)
    process.title(assignment.settings, "metrics")
    kept = {assignment.channel.fileno(), assignment.board.fd, assignment.sock.fileno()}
    process.close_all_fds_but(kept | {logs.error.file.fd})
    try:
        process.become(*process.user_and_group(assignment.settings))
        server = Server(assignment.sock, Exposition(assignment.board))
        Thread(target=_obey, args=(assignment, server), daemon=True).start()
        server.serve_forever()
    except PreforkError as error:
        _log.error("%s", error)
        return error.exit_code
    except Exception:  # noqa: BLE001  the last place to say it
        _log.exception("error in the observer")
        return PreforkError.exit_code
    finally:
        signals.ignore()
    return 0


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
