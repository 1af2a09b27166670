"""The master's side of the watcher, which asks for a reload when the code has changed."""

from __future__ import annotations

import logging
import math
import os
import signal
from collections.abc import Callable

from prefork.log import Logs
from prefork.master.forking import fork
from prefork.master.link import describe_exit
from prefork.settings import Settings
from prefork.wire.assignment import WatcherAssignment

# After one that has failed, the next comes after so many seconds.
_PAUSE = 5.0

_log = logging.getLogger("prefork.master")


class Watcher:
    """The process that watches, if `reload` is set: one, or none for the moment.

    Args:
        logs: where it logs to.
        disown: closes, in a forked child, what only the master may have.
    """

    def __init__(self, logs: Logs, disown: Callable[[], None]) -> None:
        self._logs = logs
        self._disown = disown
        self._settings: Settings | None = None
        self._pid = 0
        # When `expire` is to be called next: monotonic seconds.
        self.deadline = math.inf

    def adopt(self, settings: Settings, now: float) -> None:
        """Watch what these settings say, from now on."""
        wanted = settings if settings.reload else None
        if _concerns(wanted) != _concerns(self._settings):
            self.stop()
            self._settings = wanted
        if wanted is not None and not self._pid:
            self.deadline = now

    def expire(self, now: float) -> None:
        """Fork it, if that is due."""
        if self.deadline > now or self._settings is None:
            return
        self.deadline = math.inf
        assignment = WatcherAssignment(self._settings, self._logs, os.getpid())
        try:
            self._pid = fork(None, self._disown, lambda: assignment)
        except OSError as error:
            _log.error("no process to watch files: %s", error.strerror)
            self.deadline = now + _PAUSE

    def exited(self, pid: int, status: int, now: float) -> None:
        """A child has exited; if it was this one, another comes."""
        if pid != self._pid:
            return
        self._pid = 0
        _log.error("watcher pid=%d %s", pid, describe_exit(status))
        self.deadline = now + _PAUSE

    def stop(self) -> None:
        """End it. It has nothing to finish."""
        self.deadline = math.inf
        self._settings = None
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._pid = 0


def _concerns(settings: Settings | None) -> object:
    """What of the settings the watcher goes by."""
    if settings is None:
        return None
    return (
        settings.chdir,
        settings.pythonpath,
        settings.reload_extra_files,
        settings.reload_engine,
        settings.log_level,
    )
