"""What the master can be told to do, by signals and by `preforkctl`."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from time import monotonic

from prefork import process
from prefork.master.fleet import QUICK_SECONDS, Goal
from prefork.master.parts import Parts
from prefork.settings import MOST_WORKERS
from prefork.signals import Command
from prefork.wire.messages import ReopenLogs

_log = logging.getLogger("prefork.master")


class Commands:
    """Has the parts of the master do it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._fleet = parts.fleet
        self._acts: dict[Command, Callable[[], None]] = {
            Command.RELOAD: self._want_reload,
            Command.STOP: self._stop_soon,
            Command.QUICK_STOP: lambda: self._stop(QUICK_SECONDS),
            Command.MORE: lambda: self.scale(self._fleet.size + 1),
            Command.FEWER: self._one_fewer,
            Command.RETIRE_ALL: self._retire_all,
            Command.REOPEN_LOGS: self._reopen_logs,
            Command.UPGRADE: self._want_upgrade,
        }

    def act(self, command: Command) -> None:
        """Do it, or begin to."""
        self._parts.workers.look()
        self._acts[command]()

    def scale(self, size: int) -> None:
        """Have this many workers from now on."""
        self._parts.workers.look()
        before = self._fleet.size
        self._fleet.scale(min(size, MOST_WORKERS))
        _log.info("%d workers wanted", self._fleet.size)
        self._parts.hooks.resized(before, monotonic())

    @property
    def deadline(self) -> float:
        """When `expire` is to be called next."""
        return self._fleet.stop_at

    def expire(self, now: float) -> None:
        """Do what is due by now: a stop that was put off."""
        if self._fleet.stop_at <= now:
            self._stop(math.inf)

    def _want_reload(self) -> None:
        if self._fleet.stopping:
            _log.warning("no reload: the service is about to stop")
        else:
            self._parts.reloading.want()

    def _want_upgrade(self) -> None:
        if self._fleet.goal is Goal.RUN and not self._fleet.stopping:
            self._parts.upgrade.wanted = True
        else:
            _log.warning("no upgrade: the service starts, or is about to stop")

    def _one_fewer(self) -> None:
        size = self._fleet.size
        self.scale(size - 1 if size > 1 else size)

    def _retire_all(self) -> None:
        # A terminal sends SIGWINCH to those in its foreground whenever its window is resized.
        if process.in_the_foreground():
            _log.info("nobody retires: this is the foreground of a terminal")
        else:
            self.scale(0)

    def _stop_soon(self) -> None:
        """Stop; the first time, not before load balancers have had the time to notice."""
        delay = self._parts.serving().drain_delay
        if delay and self._fleet.goal is Goal.RUN and not self._fleet.stopping:
            _log.info("the service goes on for %g s; readiness answers 503", delay)
            self._fleet.stop_at = monotonic() + delay
            self._parts.workers.announce_end()
        else:
            self._stop(math.inf)

    def _stop(self, seconds: float) -> None:
        self._parts.workers.look()
        self._parts.upgrade.give_up()
        self._parts.lending.stop()
        self._fleet.stop(monotonic(), seconds)
        self._parts.reloads.stopped()

    def _reopen_logs(self) -> None:
        logs = self._parts.logs
        files = [logs.error.file]
        if logs.access is not None:
            files.append(logs.access)
        for file in files:
            try:
                file.reopen()
            except OSError as error:
                _log.error("%s can't be opened again: %s", file, error.strerror)
        _log.info("logs reopened")
        self._parts.workers.tell(ReopenLogs(), [file.fd for file in files])
        self._parts.terminators.tell(ReopenLogs(), [files[0].fd])
        self._parts.observer.reopen_logs(files[0].fd)
