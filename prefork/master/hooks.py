"""Hooks of the master, each in a process that is forked for one call."""

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
from prefork.wire.assignment import HookAssignment
from prefork.wire.identity import WorkerId

# A hook may take so many seconds.
_HOOK_SECONDS = 60.0

_log = logging.getLogger("prefork.master")


class Hooks:
    """The hooks that are being called.

    Args:
        settings: says which are to be called now.
        size: how many workers there should be.
        listeners: the addresses, for the functions to see.
        logs: where the processes log to.
        disown: closes, in a forked child, what only the master may have.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        size: Callable[[], int],
        listeners: tuple[str, ...],
        logs: Logs,
        disown: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._size = size
        self._listeners = listeners
        self._logs = logs
        self._disown = disown
        # By pid: the name of the hook, and until when it has to be done.
        self._running: dict[int, tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def call(
        self,
        name: str,
        now: float,
        *,
        worker: WorkerId | None = None,
        numbers: tuple[int, ...] = (),
    ) -> None:
        """Have a hook called, if there is a function for it.

        Args:
            name: of the hook.
            now: monotonic seconds.
            worker: whom it is about.
            numbers: what else it is told.
        """
        settings = self._settings()
        function = settings.hooks.get(name)
        if function is None:
            return
        assignment = HookAssignment(
            name, settings, self._logs, os.getpid(), self._listeners, self._size(), worker, numbers
        )
        try:
            pid = fork(None, self._disown, lambda: assignment)
        except OSError as error:
            _log.error("hooks.%s: no process for it: %s", name, error.strerror)
        else:
            self._running[pid] = (name, now + _HOOK_SECONDS)

    def resized(self, before: int, now: float) -> None:
        """There may be another number of workers wanted than before: if so, have it told."""
        if self._size() != before:
            self.call("nworkers_changed", now, numbers=(self._size(), before))

    def exited(self, pid: int, status: int) -> None:
        """A child has exited; note it if it was one of these."""
        name, _ = self._running.pop(pid, ("", 0.0))
        if name and status:
            _log.error("hooks.%s %s", name, describe_exit(status))

    def expire(self, now: float) -> None:
        """Kill those that are overdue."""
        for pid, (name, deadline) in self._running.items():
            if deadline <= now:
                _log.error("hooks.%s takes more than %g s: killed", name, _HOOK_SECONDS)
                self._running[pid] = (name, math.inf)
                os.kill(pid, signal.SIGKILL)

    @property
    def deadline(self) -> float:
        """When `expire` is to be called next."""
        return min((deadline for _, deadline in self._running.values()), default=math.inf)
