"""Reloading: a reload that was asked for begins, with the settings of then, or is refused.

What follows is the fleet's plan; who waits for it is told by `Reloads`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from time import monotonic

from prefork import process
from prefork.errors import PreforkError
from prefork.master.census import count
from prefork.master.fleet import Fleet, Goal
from prefork.master.hooks import Hooks
from prefork.master.reloads import Reloads
from prefork.master.terminators import Terminators
from prefork.master.workers import Workers
from prefork.settings import TABLE, Settings, worker_count
from prefork.wire.facts import Counts

_log = logging.getLogger("prefork.master")


class Reloading:
    """The beginning of reloads, one after the other.

    Args:
        fleet, workers, terminators: what is renewed.
        first: the settings that the master was started with.
        settings: by generation, those that serve and those that a reload is to bring.
        load: reads the settings anew; raises UsageError.
        reloads: who waits for them.
        hooks: are told that one begins, and of how many workers there are to be.
        counts: what becomes of them.

    `asked` is when one was wanted last: monotonic seconds.
    """

    def __init__(
        self,
        fleet: Fleet,
        workers: Workers,
        terminators: Terminators,
        first: Settings,
        settings: dict[int, Settings],
        load: Callable[[], Settings],
        reloads: Reloads,
        hooks: Hooks,
        counts: Counts,
    ) -> None:
        self._fleet = fleet
        self._workers = workers
        self._terminators = terminators
        self._first = first
        self._settings = settings
        self._load = load
        self._reloads = reloads
        self._hooks = hooks
        self._counts = counts
        self._wanted = False
        self.asked = -math.inf

    @property
    def pending(self) -> bool:
        """Whether one is wanted, of which the workers have not noticed anything yet."""
        return self._wanted or self._terminators.renewing

    def want(self) -> None:
        """Have one begin as soon as it can."""
        self._wanted = True
        self.asked = monotonic()

    def begin(self, now: float) -> None:
        """Begin the one that is wanted, unless one is under way: then it comes after."""
        fleet = self._fleet
        if not self._wanted or fleet.rollout is not None or fleet.goal is not Goal.RUN:
            return
        if self._terminators.renewing:
            return
        self._wanted = False
        self._reloads.taken_up()
        try:
            settings = self._load()
        except PreforkError as error:
            self._refuse(str(error))
            return
        if not self._terminators.outdated(settings):
            self._roll_out(settings)
        elif settings.tls_certificate:
            # Only if these can be used, the workers' turn comes.
            self._terminators.renew(
                settings, now, partial(self._roll_out, settings), self._not_renewed
            )
        else:
            self._refuse(
                "there is no [tls] certificate any more, but addresses where TLS is spoken"
            )

    def _not_renewed(self, why: str) -> None:
        self._refuse(why)
        self._workers.look()  # another one may be wanted meanwhile

    def _refuse(self, why: str) -> None:
        count(self._counts.reloads, "refused")
        _log.error("reload refused, nothing changes: %s", why)
        self._reloads.refused(why)

    def _roll_out(self, settings: Settings) -> None:
        """Begin to replace the workers."""
        fleet, now = self._fleet, monotonic()
        if fleet.goal is not Goal.RUN:
            return
        current = self._settings[fleet.generation]
        self._tell_of_changes(settings)
        self._hooks.call("on_reload", now)
        before, size = fleet.size, self._size(current, settings)
        fleet.reload(size, now, settings.reload_bake, settings.preload)
        self._settings.clear()
        self._settings.update({fleet.generation: current, fleet.newest: settings})
        self._workers.look()
        _log.info("reload to generation %d begun", fleet.newest)
        self._reloads.begun()
        self._hooks.resized(before, now)

    def _tell_of_changes(self, settings: Settings) -> None:
        """Say which changes need more than a reload."""
        for name, row in TABLE.items():
            if row.option.fixed and getattr(settings, name) != getattr(self._first, name):
                _log.warning("%s has changed: that takes effect at a restart", name)
        if settings.tls_certificate and not self._first.tls_certificate:
            _log.warning("[tls] is new: that takes effect at a restart")

    def _size(self, current: Settings, settings: Settings) -> int:
        """As many slots as before, with what was added by signals, unless the setting says
        something new, or none are left."""
        if settings.workers == current.workers and self._fleet.size:
            return self._fleet.size
        return worker_count(settings, process.usable_cpus)
