"""The master: one wait, and what it does about each thing that ends it.

A turn is: wait; handle what is ready (signals, reports of workers, connections); do what the
fleet's plan says, if something has happened to it or its deadline has passed; send the loans of
the turn. Nothing else in the master waits.
"""

from __future__ import annotations

import logging
import math
import os
import signal
from collections.abc import Callable
from time import monotonic

import msgspec

from prefork import __version__, log, process, signals
from prefork.errors import BootError
from prefork.log import LogFile, Logs
from prefork.master import census, handover
from prefork.master.arrivals import Arrivals
from prefork.master.births import Births
from prefork.master.condition import condition_of
from prefork.master.control import Control
from prefork.master.failures import Failures
from prefork.master.fleet import QUICK_SECONDS, Fleet, Goal
from prefork.master.hooks import Hooks
from prefork.master.lending import Lending
from prefork.master.listeners import Listener
from prefork.master.observer import Observer
from prefork.master.poller import Poller
from prefork.master.reloading import Reloading
from prefork.master.reloads import Reloads
from prefork.master.snapshot import Snapshots
from prefork.master.steering import Steering
from prefork.master.telling import Telling
from prefork.master.upgrade import Upgrade
from prefork.master.watcher import Watcher
from prefork.master.workers import Workers
from prefork.settings import MOST_WORKERS, Settings, idle_timeout, worker_count
from prefork.signals import COMMANDS, Command, SignalPipe
from prefork.systemd import Notifier
from prefork.wire.assignment import Surroundings
from prefork.wire.board import Board
from prefork.wire.control import Status
from prefork.wire.facts import Counts, Facts
from prefork.wire.gate import Gates
from prefork.wire.messages import ReopenLogs

_log = logging.getLogger("prefork.master")


class Master:
    """The parent of the workers.

    Args:
        settings: those of the first generation.
        load: reads the settings anew, for a reload; raises UsageError.
        listeners: bound and listening.
        board: where the workers will write.
        logs: where lines go.
        signals: receives those of `MASTER_SIGNALS`.
        door: where `preforkctl` comes in, if it can.
        metrics: where these are to be served, bound and listening.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        listeners: list[Listener],
        board: Board,
        logs: Logs,
        signals: SignalPipe,
        door: Listener | None = None,
        metrics: Listener | None = None,
    ) -> None:
        self._first_settings = settings
        # By generation: the one that serves, and the one that a reload is to bring.
        self._settings = {1: settings}
        self._listeners = listeners
        self._board = board
        self._logs = logs
        self._poller = Poller()
        self._counts = Counts()
        # By those that were the master before an upgrade.
        self._recalled_before = 0
        self._fleet = Fleet(worker_count(settings, process.usable_cpus), settings.preload)
        by_workers = settings.dispatch == "shared"
        limit = process.limit_connections(settings)
        arrivals = Arrivals(settings, self._poller, listeners, logs, self._disown)
        self._terminators = arrivals.terminators
        self._lending = Lending(
            self._poller, board, listeners, by_workers, idle_timeout(settings), limit, arrivals
        )
        self._addresses = tuple(map(str, listeners))
        infos = tuple(listener.info for listener in listeners)
        sockets = tuple(listener.sock for listener in listeners) if by_workers else ()
        surroundings = Surroundings(os.getpid(), board, Gates(), infos, sockets, logs)
        births = Births(self._fleet, self._poller, surroundings, self._disown)
        failures = Failures()
        self._reloads = Reloads(self._fleet, failures)
        self._hooks = Hooks(
            lambda: self._settings[self._fleet.generation],
            lambda: self._fleet.size,
            self._addresses,
            logs,
            self._disown,
        )
        self._watcher = Watcher(logs, self._disown)
        self._workers = Workers(
            self._fleet,
            self._lending,
            self._poller,
            self._settings,
            births,
            failures,
            self._reloads,
            self._hooks,
            self._adopt,
            self._counts,
        )
        self._observer = Observer(metrics, settings, board, logs, self._facts, self._disown)
        self._telling = Telling(settings, self._fleet)
        self._signals = signals
        self._poller.watch(self._signals.fileno(), lambda _: self._receive_signals())
        self._reloading = Reloading(
            self._fleet,
            self._workers,
            self._terminators,
            settings,
            self._settings,
            load,
            self._reloads,
            self._hooks,
            self._counts,
        )
        self._notifier = Notifier.of(os.environ)
        self._upgrade = Upgrade()
        # When a stop that was put off begins: `drain_delay`.
        self._stop_at = math.inf
        self._commands: dict[Command, Callable[[], None]] = {
            Command.RELOAD: self._want_reload,
            Command.STOP: self._stop_soon,
            Command.QUICK_STOP: lambda: self._stop(QUICK_SECONDS),
            Command.MORE: lambda: self._scale(self._fleet.size + 1),
            Command.FEWER: self._one_fewer,
            Command.RETIRE_ALL: self._retire_all,
            Command.REOPEN_LOGS: self._reopen_logs,
            Command.UPGRADE: self._want_upgrade,
        }
        # Monotonic seconds.
        self._began = monotonic()
        self._snapshots = Snapshots(
            self._fleet, self._workers, self._lending, failures, self._addresses, by_workers
        )
        self._steering = Steering(
            self._fleet, self._workers, self._reloads, self.snapshot, self._act, self._scale
        )
        self._control = Control(self._poller, door, self._steering.handle, self._steering.ended)

    def take_over(self, state: handover.Handover) -> None:
        """Have all that another master had. Nothing is done with it before `go_on`.

        Raises:
            HandoverError: its settings can't be used.
        """
        self._settings.clear()
        self._settings[state.fleet.generation] = handover.settings_of(state.settings)
        books = self._workers.take_over(state.links)
        self._fleet.take_over(state.fleet, (link.worker for link in state.links))
        self._lending.take_over(state.lending, books)
        self._counts.exits.update(state.counts.exits)
        self._counts.reloads.update(state.counts.reloads)
        self._recalled_before = state.counts.recalls
        self._terminators.take_over(state.terminators, self._settings[state.fleet.generation])
        self._began, self._workers.requests_before = state.began, state.requests

    def go_on(self, since: float) -> int:
        """Serve on with what was taken over, and reload; then as `run`.

        Args:
            since: when it was handed over, monotonic seconds.
        """
        self._adopt(self._settings[self._fleet.generation])
        _log.info(
            "taken over by prefork %s after %.2f s: %d workers, %d connections",
            __version__,
            monotonic() - since,
            len(self._fleet.roster.workers),
            self._lending.connections,
        )
        self._workers.reap()
        self._lending.go_on()
        self._want_reload()
        return self._serve()

    def run(self) -> int:
        """Serve until told to stop.

        Returns:
            The exit status, 0.

        Raises:
            BootError: the first generation failed to boot.
            Forked: in each worker, and mold, that is forked.
        """
        self._tell_limits(self._first_settings)
        self._watcher.adopt(self._first_settings, monotonic())
        self._terminators.start(self._first_settings, monotonic())
        return self._serve()

    def _serve(self) -> int:
        while self._fleet.goal is not Goal.STOP or self._workers:
            self._turn()
        self._watcher.stop()
        self._lending.stop()
        self._lending.end_waiting()
        while self._lending.lingering:
            self._turn()
        self._terminators.stop(monotonic())
        self._observer.stop()
        while self._terminators or self._observer:
            self._turn()
        self._control.close()
        self._finish_hooks()
        self._hooks.call("on_exit", monotonic())
        self._finish_hooks()
        signals.ignore()
        if self._fleet.failure:
            raise BootError(self._fleet.failure)
        _log.info("stopped")
        return 0

    def _finish_hooks(self) -> None:
        while self._hooks:
            self._turn()

    def _turn(self) -> None:
        """One wait and what follows. An error of ours is logged: the master goes on."""
        try:
            self._wait_and_act()
        except Exception:  # noqa: BLE001  whatever it was, the service goes on
            _log.exception("error in the master; it goes on")

    def _wait_and_act(self) -> None:
        deadline = min(
            self._workers.deadline,
            self._lending.deadline(),
            self._steering.deadline,
            self._stop_at,
            self._notifier.deadline,
            self._observer.deadline,
            self._telling.deadline,
            self._hooks.deadline,
            self._watcher.deadline,
        )
        self._poller.wait(deadline - monotonic())
        now = monotonic()
        self._lending.expire(now)
        self._hooks.expire(now)
        self._watcher.expire(now)
        if self._stop_at <= now:
            self._stop(math.inf)
        if min(self._workers.deadline, self._notifier.deadline) <= now:
            self._workers.reconcile()
            # An upgrade is followed by a reload anyway, one that is refused, too.
            if not self._upgrade.under_way:
                self._reloading.begin(now)
            self._notify()
            self._observer.expire(now)
        elif self._observer.deadline <= now:
            self._observer.expire(now)
        self._telling.expire(now)
        self._steering.expire(now)
        self._lending.send_loans()
        if self._upgrade.due:
            self._go_on_with_upgrade()

    def _receive_signals(self) -> None:
        received = self._signals.receive()
        self._workers.deadline = 0.0
        # Whatever else goes wrong, no death goes unnoticed.
        for pid, status in self._workers.reap():
            self._upgrade.exited(pid, status)
            self._terminators.exited(pid, status, monotonic())
            self._observer.exited(pid, status, monotonic())
            self._hooks.exited(pid, status)
            self._watcher.exited(pid, status, monotonic())
        for number in received:
            if number in COMMANDS:
                _log.info("%s received", signal.Signals(number).name)
                self._act(COMMANDS[signal.Signals(number)])

    def snapshot(self) -> Status:
        """What there is at the moment."""
        app = self._settings[self._fleet.generation].app
        return self._snapshots.status(monotonic(), self._state, app, self._began)

    @property
    def _state(self) -> str:
        if self._fleet.goal is Goal.STOP or self._stop_at != math.inf:
            return "stopping"
        if self._fleet.goal is Goal.START:
            return "starting"
        if self._upgrade.under_way:
            return "upgrading"
        return "serving" if self._fleet.rollout is None else "reloading"

    # Commands.

    def _act(self, command: Command) -> None:
        self._workers.deadline = 0.0
        self._commands[command]()

    def _want_reload(self) -> None:
        if self._stop_at == math.inf:
            self._reloading.want()
        else:
            _log.warning("no reload: the service is about to stop")

    def _want_upgrade(self) -> None:
        if self._fleet.goal is Goal.RUN and self._stop_at == math.inf:
            self._upgrade.wanted = True
        else:
            _log.warning("no upgrade: the service starts, or is about to stop")

    def _go_on_with_upgrade(self) -> None:
        """Take the next step of an upgrade, unless a reload is under way: then it comes after. At
        the end of a turn nothing is half done."""
        fleet = self._fleet
        if fleet.rollout is not None or fleet.goal is not Goal.RUN or self._stop_at != math.inf:
            return
        if self._workers.expecting or not self._terminators.settled:
            return
        if self._upgrade.wanted:
            seconds = self._settings[fleet.generation].listen_timeout
            self._upgrade.rehearse(self._hand_over(), seconds)
        else:
            # The next program has its own.
            self._watcher.stop()
            self._upgrade.execute(self._hand_over())
            # We are still here: what has waited for it goes on.
            self._watcher.adopt(self._settings[fleet.generation], monotonic())
            self._workers.deadline = 0.0

    def _hand_over(self) -> handover.Handover:
        fleet, logs, metrics = self._fleet, self._logs, self._observer.listener
        return handover.Handover(
            since=monotonic(),
            first_settings=msgspec.to_builtins(self._first_settings),
            settings=msgspec.to_builtins(self._settings[fleet.generation]),
            error_log=_handed_over(logs.error.file),
            access_log=_handed_over(logs.access) if logs.access is not None else None,
            listeners=[listener.hand_over() for listener in self._listeners],
            board=self._board.fd,
            fleet=fleet.hand_over(),
            links=self._workers.hand_over(),
            lending=self._lending.hand_over(),
            terminators=self._terminators.hand_over(),
            metrics=metrics.hand_over() if metrics is not None else None,
            counts=self._counts,
            control=self._control.hand_over(),
            began=self._began,
            requests=self._workers.requests_before,
        )

    def _adopt(self, settings: Settings) -> None:
        """A reload has been done: what its settings say of the master holds from now on."""
        self._lending.set_keepalive(idle_timeout(settings))
        self._lending.limit = process.limit_connections(settings)
        self._tell_limits(settings)
        log.set_level(settings.log_level)
        self._logs.introduce(f"master pid={os.getpid()}", settings.log_format)
        process.title(settings, "master")
        self._watcher.adopt(settings, monotonic())

    def _tell_limits(self, settings: Settings) -> None:
        for name in process.beyond_file_limit(settings):
            _log.warning(
                "%s = %d, but with RLIMIT_NOFILE at %d there can be %d: raise its hard limit",
                name,
                getattr(settings, name),
                process.file_limit(),
                process.file_limit() // 2,
            )

    def _one_fewer(self) -> None:
        size = self._fleet.size
        self._scale(size - 1 if size > 1 else size)

    def _retire_all(self) -> None:
        # A terminal sends SIGWINCH to those in its foreground whenever its window is resized.
        if process.in_the_foreground():
            _log.info("nobody retires: this is the foreground of a terminal")
        else:
            self._scale(0)

    def _scale(self, size: int) -> None:
        self._workers.deadline = 0.0
        before = self._fleet.size
        self._fleet.scale(min(size, MOST_WORKERS))
        _log.info("%d workers wanted", self._fleet.size)
        self._hooks.resized(before, monotonic())

    def _stop_soon(self) -> None:
        """Stop; the first time, not before load balancers have had the time to notice."""
        delay = self._settings[self._fleet.generation].drain_delay
        if delay and self._fleet.goal is Goal.RUN and self._stop_at == math.inf:
            _log.info("the service goes on for %g s; readiness answers 503", delay)
            self._stop_at = monotonic() + delay
            self._workers.announce_end()
        else:
            self._stop(math.inf)

    def _stop(self, seconds: float) -> None:
        self._stop_at = math.inf
        self._workers.deadline = 0.0
        self._upgrade.give_up()
        self._lending.stop()
        self._fleet.stop(monotonic(), seconds)
        self._reloads.stopped()

    def _reopen_logs(self) -> None:
        files = [self._logs.error.file]
        if self._logs.access is not None:
            files.append(self._logs.access)
        for file in files:
            try:
                file.reopen()
            except OSError as error:
                _log.error("%s can't be opened again: %s", file, error.strerror)
        _log.info("logs reopened")
        self._workers.tell(ReopenLogs(), [file.fd for file in files])
        self._terminators.tell(ReopenLogs(), [files[0].fd])
        self._observer.reopen_logs(files[0].fd)

    def _disown(self) -> None:
        """In a forked worker: close all that Python objects here would close later on, when
        their numbers may mean something else."""
        self._poller.close()
        self._lending.disown()
        self._workers.disown()
        self._terminators.disown()
        self._notifier.disown()
        self._observer.disown()
        self._telling.disown()
        self._control.disown()

    def _facts(self, now: float) -> Facts:
        stopping = self._stop_at < math.inf
        self._counts.recalls = self._recalled_before + self._lending.recalls
        return census.take(
            now,
            self._fleet,
            self._workers,
            self._lending,
            self._listeners,
            self._counts,
            stopping,
        )

    def _notify(self) -> None:
        """Tell who has started the service how it is."""
        reloading, stopping = self._reloading, self._stop_at < math.inf
        condition = condition_of(self._fleet, reloading.asked, reloading.pending, stopping)
        self._notifier.tell(condition, monotonic())


def _handed_over(file: LogFile) -> handover.LogFile:
    return handover.LogFile(file.path, file.fd)
