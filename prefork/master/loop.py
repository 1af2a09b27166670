"""The master: one wait, and what it does about each thing that ends it.

A turn is: wait; handle what is ready (signals, reports of workers, connections); do what the
fleet's plan says, if something has happened to it or its deadline has passed; send the loans of
the turn. Nothing else in the master waits.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from time import monotonic

from prefork import __version__, signals
from prefork.errors import BootError
from prefork.log import Logs
from prefork.master import succession
from prefork.master.commands import Commands
from prefork.master.condition import condition_of, state_of
from prefork.master.control import Control
from prefork.master.fleet import Goal
from prefork.master.handover import Handover
from prefork.master.listeners import Listener
from prefork.master.parts import Parts, tell_limits
from prefork.master.steering import Steering
from prefork.settings import Settings
from prefork.signals import COMMANDS, Command, SignalPipe
from prefork.wire.board import Board
from prefork.wire.control import Status

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
        self._parts = parts = Parts(settings, load, listeners, board, logs, metrics, self._disown)
        self._poller = parts.poller
        self._fleet = parts.fleet
        self._workers = parts.workers
        self._lending = parts.lending
        self._terminators = parts.terminators
        self._observer = parts.observer
        self._hooks = parts.hooks
        self._watcher = parts.watcher
        self._upgrade = parts.upgrade
        self._commands = Commands(parts)
        self._steering = Steering(
            parts.fleet, parts.workers, parts.reloads, self._status, self._commands
        )
        self._control = Control(parts.poller, door, self._steering.handle, self._steering.ended)
        self._signals = signals
        parts.poller.watch(signals.fileno(), lambda _: self._receive_signals())

    def take_over(self, state: Handover) -> None:
        """Have all that another master had. Nothing is done with it before `go_on`.

        Raises:
            HandoverError: its settings can't be used.
        """
        succession.take_over(self._parts, state)

    def go_on(self, since: float) -> int:
        """Serve on with what was taken over, and reload; then as `run`.

        Args:
            since: when it was handed over, monotonic seconds.
        """
        self._parts.adopt(self._parts.serving())
        _log.info(
            "taken over by prefork %s after %.2f s: %d workers, %d connections",
            __version__,
            monotonic() - since,
            len(self._fleet.roster.workers),
            self._lending.connections,
        )
        self._workers.reap()
        self._lending.go_on()
        self._commands.act(Command.RELOAD)
        return self._serve()

    def run(self) -> int:
        """Serve until told to stop.

        Returns:
            The exit status, 0.

        Raises:
            BootError: the first generation failed to boot.
            Forked: in each worker, and mold, that is forked.
        """
        settings = self._parts.first_settings
        tell_limits(settings)
        self._watcher.adopt(settings, monotonic())
        self._terminators.start(settings, monotonic())
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
            self._wait()
            self._act()
        except Exception:  # noqa: BLE001  whatever it was, the service goes on
            _log.exception("error in the master; it goes on")

    def _wait(self) -> None:
        """Wait until something happens, and handle that, or until something is due."""
        deadline = min(
            self._workers.deadline,
            self._lending.deadline(),
            self._steering.deadline,
            self._commands.deadline,
            self._parts.notifier.deadline,
            self._observer.deadline,
            self._parts.telling.deadline,
            self._hooks.deadline,
            self._watcher.deadline,
        )
        self._poller.wait(deadline - monotonic())

    def _act(self) -> None:
        """Do what is due; send the loans of the turn."""
        now = monotonic()
        self._lending.expire(now)
        self._hooks.expire(now)
        self._watcher.expire(now)
        self._commands.expire(now)
        if min(self._workers.deadline, self._parts.notifier.deadline) <= now:
            self._reconcile(now)
        elif self._observer.deadline <= now:
            self._observer.expire(now)
        self._parts.telling.expire(now)
        self._steering.expire(now)
        self._lending.send_loans()
        if self._upgrade.due:
            self._go_on_with_upgrade()

    def _reconcile(self, now: float) -> None:
        """Something has happened to the fleet: do what follows, and tell those who want to know."""
        self._workers.reconcile()
        # An upgrade is followed by a reload anyway, one that is refused, too.
        if not self._upgrade.under_way:
            self._parts.reloading.begin(now)
        reloading = self._parts.reloading
        condition = condition_of(self._fleet, reloading.asked, reloading.pending)
        self._parts.notifier.tell(condition, monotonic())
        self._observer.expire(now)

    def _receive_signals(self) -> None:
        received = self._signals.receive()
        self._workers.look()
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
                self._commands.act(COMMANDS[signal.Signals(number)])

    def _go_on_with_upgrade(self) -> None:
        """Take the next step of an upgrade, or wait for the turn at whose end it can be taken."""
        if not succession.may_upgrade(self._parts):
            return
        state = succession.hand_over(self._parts, self._control.hand_over())
        settings = self._parts.serving()
        if self._upgrade.wanted:
            self._upgrade.rehearse(state, settings.listen_timeout)
        else:
            # The next program has its own.
            self._watcher.stop()
            self._upgrade.execute(state)
            # We are still here: what has waited for it goes on.
            self._watcher.adopt(settings, monotonic())
            self._workers.look()

    def _status(self) -> Status:
        """What there is at the moment."""
        state = state_of(self._fleet, self._upgrade.under_way)
        snapshots, app = self._parts.snapshots, self._parts.serving().app
        return snapshots.status(monotonic(), state, app, self._parts.began)

    def _disown(self) -> None:
        """In a forked child: see `Parts.disown`."""
        self._parts.disown()
        self._control.disown()
