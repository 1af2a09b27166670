"""The parts of a master, and how they know each other."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from time import monotonic

from prefork import log, process
from prefork.log import Logs
from prefork.master import census
from prefork.master.arrivals import Arrivals
from prefork.master.births import Births
from prefork.master.failures import Failures
from prefork.master.fleet import Fleet
from prefork.master.hooks import Hooks
from prefork.master.lending import Lending
from prefork.master.listeners import Listener
from prefork.master.observer import Observer
from prefork.master.poller import Poller
from prefork.master.reloading import Reloading
from prefork.master.reloads import Reloads
from prefork.master.snapshot import Snapshots
from prefork.master.telling import Telling
from prefork.master.upgrade import Upgrade
from prefork.master.watcher import Watcher
from prefork.master.workers import Workers
from prefork.settings import Settings, idle_timeout, worker_count
from prefork.systemd import Notifier
from prefork.wire.assignment import Surroundings
from prefork.wire.board import Board
from prefork.wire.facts import Counts, Facts
from prefork.wire.gate import Gates

_log = logging.getLogger("prefork.master")


class Parts:
    """Makes them, each of those before it.

    Args:
        settings: those of the first generation.
        load: reads the settings anew, for a reload; raises UsageError.
        listeners: bound and listening.
        board: where the workers will write.
        logs: where lines go.
        metrics: where these are to be served, bound and listening.
        disown: called in a forked child: closes what only the master may have.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        listeners: list[Listener],
        board: Board,
        logs: Logs,
        metrics: Listener | None,
        disown: Callable[[], None],
    ) -> None:
        self.first_settings = settings
        # By generation: the one that serves, and the one that a reload is to bring.
        self.settings = {1: settings}
        self.listeners = listeners
        self.board = board
        self.logs = logs
        # Monotonic seconds.
        self.began = monotonic()
        self.counts = Counts()
        # By those that were the master before an upgrade.
        self.recalled_before = 0
        self.poller = poller = Poller()
        self.fleet = fleet = Fleet(worker_count(settings, process.usable_cpus), settings.preload)
        self.notifier = Notifier.of(os.environ)
        self.telling = Telling(settings, fleet)
        self.watcher = Watcher(logs, disown)
        self.upgrade = Upgrade()

        # Connections.
        by_workers = settings.dispatch == "shared"
        arrivals = Arrivals(settings, poller, listeners, logs, disown)
        self.terminators = arrivals.terminators
        limit = process.limit_connections(settings)
        keepalive = idle_timeout(settings)
        self.lending = Lending(poller, board, listeners, by_workers, keepalive, limit, arrivals)

        # Workers.
        addresses = tuple(map(str, listeners))
        infos = tuple(listener.info for listener in listeners)
        sockets = tuple(listener.sock for listener in listeners) if by_workers else ()
        surroundings = Surroundings(os.getpid(), board, Gates(), infos, sockets, logs)
        births = Births(fleet, poller, surroundings, disown)
        failures = Failures()
        self.reloads = Reloads(fleet, failures)
        self.hooks = Hooks(self.serving, lambda: fleet.size, addresses, logs, disown)
        self.workers = Workers(
            fleet,
            self.lending,
            poller,
            self.settings,
            births,
            failures,
            self.reloads,
            self.hooks,
            self.adopt,
            self.counts,
        )
        self.reloading = Reloading(
            fleet,
            self.workers,
            self.terminators,
            settings,
            self.settings,
            load,
            self.reloads,
            self.hooks,
            self.counts,
        )

        # Those who look.
        self.observer = Observer(metrics, settings, board, logs, self.facts, disown)
        self.snapshots = Snapshots(
            fleet, self.workers, self.lending, failures, addresses, by_workers
        )

    def serving(self) -> Settings:
        """The settings of the generation that serves."""
        return self.settings[self.fleet.generation]

    def adopt(self, settings: Settings) -> None:
        """A reload has been done: what its settings say of the master holds from now on."""
        self.lending.set_keepalive(idle_timeout(settings))
        self.lending.limit = process.limit_connections(settings)
        tell_limits(settings)
        log.set_level(settings.log_level)
        self.logs.introduce(f"master pid={os.getpid()}", settings.log_format)
        process.title(settings, "master")
        self.watcher.adopt(settings, monotonic())

    def facts(self, now: float) -> Facts:
        """What there is and what has happened: `now` is in monotonic seconds."""
        self.counts.recalls = self.recalled_before + self.lending.recalls
        return census.take(now, self.fleet, self.workers, self.lending, self.listeners, self.counts)

    def disown(self) -> None:
        """In a forked child: close all that Python objects here would close later on, when their
        numbers may mean something else."""
        self.poller.close()
        self.lending.disown()
        self.workers.disown()
        self.terminators.disown()
        self.notifier.disown()
        self.observer.disown()
        self.telling.disown()


def tell_limits(settings: Settings) -> None:
    """Log which limits the kernel leaves no room for."""
    for name in process.beyond_file_limit(settings):
        _log.warning(
            "%s = %d, but with RLIMIT_NOFILE at %d there can be %d: raise its hard limit",
            name,
            getattr(settings, name),
            process.file_limit(),
            process.file_limit() // 2,
        )
