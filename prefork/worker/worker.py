"""A worker: the channel to the master, and the lifecycle that is driven by what comes over it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
from collections.abc import Callable
from functools import partial
from time import monotonic

from prefork import process, readiness, signals
from prefork.errors import BootError, PreforkError
from prefork.http.body import SPOOL_SIZE
from prefork.wire import messages
from prefork.wire.assignment import Assignment
from prefork.wire.board import ALONE, RETIRING
from prefork.wire.channel import ChannelClosed
from prefork.worker.accepting import Accepting
from prefork.worker.engine import Engine
from prefork.worker.kind import Kind
from prefork.worker.lifecycle import Action, Event, Lifecycle
from prefork.worker.probe import Probe, unready_in_time
from prefork.worker.recycling import INTERVAL, Recycling
from prefork.worker.service import service
from prefork.worker.transport import READ, WRITE
from prefork.wsgi import App

# Idle connections that nobody can take over are ended after this part of kill_timeout, so that
# there is time left for what has arrived on them.
_LAST_CALL = 0.9
# At a stop clients hear of the end with an answer if they ask within so many seconds: a request
# that crosses the end of its connection, of which nobody has told the client, is lost.
_FAREWELL = 0.1
# A process that dies closes its fds first, and then its children get another parent: so many
# seconds after the end of the channel it is known whether the master is dead.
_MOURNING = 0.1

_log = logging.getLogger("prefork.worker")


class Worker:
    """The worker's side of the channel.

    It listens from before the app is had: what comes meanwhile is handled after.

    Args:
        assignment: its place.
        kind: how the app is called.
    """

    def __init__(self, assignment: Assignment, kind: Kind) -> None:
        self._assignment = assignment
        self._channel = assignment.channel
        self._lifecycle = Lifecycle(assignment.settings.wait_ready)
        self._kind = kind
        loop = kind.loop
        self._inbox = loop.io(self._channel.fileno(), READ)
        self._outbox = loop.io(self._channel.fileno(), WRITE)
        # The app may call ready() from any thread: only an async watcher can be woken from one.
        self._announcement = loop.async_()
        # Connections that can't be given back stay until their next request, or this.
        self._end_pinned = loop.timer(_LAST_CALL * assignment.settings.kill_timeout)
        # At a stop, those that go on asking are told with an answer; all others after this.
        self._end_idle = loop.timer(_FAREWELL)
        self._mourning = loop.timer(_MOURNING)
        self._recycling = Recycling(assignment.settings)
        self._recycling_timer = loop.timer(INTERVAL, INTERVAL)
        self._failure: BootError | None = None
        self._why = ""  # it asks to be replaced
        self._signals = signals.SignalPipe({signal.SIGTERM})
        self._terminations = loop.io(self._signals.fileno(), READ)
        self._inbox.start(self._receive)
        self._announcement.start(self._apply, Event.APP_READY)
        self._terminations.start(self._terminated)
        readiness.on_ready(self._announcement.send)
        os.register_at_fork(after_in_child=self._leave_to_parent)

    def serve(self, load: Callable[[], App]) -> int:
        """Serve until the master drains this worker, or is gone.

        Args:
            load: gives the app.

        Returns:
            The exit status.

        Raises:
            BootError: the app can't be had, or says that it can't serve.
        """
        app = load()
        _look_for_temporary_directory()
        self._begin(app)
        self._kind.run()
        if self._failure is not None:
            raise self._failure
        self._engine.flush()
        if self._service.statsd is not None:
            self._service.statsd.flush()
        return PreforkError.exit_code if self._engine.failed else 0

    def _begin(self, app: App) -> None:
        """From now on there is an engine, which serves as soon as it is given connections."""
        settings = self._assignment.settings
        surroundings = self._assignment.surroundings
        if settings.ready_path:
            app = unready_in_time(app, settings.ready_path, self._assignment.row.flags)
        self._service = service(self._assignment, self._kind)
        self._engine = Engine(
            self._service,
            surroundings.board,
            self._assignment.row,
            self._assignment.gate,
            alone=lambda: self._channel.abandoned,
            report=self._report,
            on_empty=lambda: self._apply(Event.EMPTY),
            leave=self._leave,
        )
        self._kind.begin(self._engine, app)
        self._accepting = Accepting(
            self._engine, surroundings.sockets, process.most_connections(settings)
        )
        self._apply(Event.IMPORTED)
        if self._recycling.wanted:
            self._recycling_timer.start(self._recycle)
        os.register_at_fork(after_in_child=self._engine.disown)
        os.register_at_fork(after_in_child=self._accepting.disown)

    def _apply(self, event: Event) -> None:
        action = self._lifecycle.apply(event)
        if action is Action.PROBE:
            # In the loop, in which the app may have to wait.
            self._kind.loop.run_callback(self._probe)
        elif action is Action.REPORT_READY:
            self._accepting.begin()
            self._report(messages.Ready())
        elif action is Action.REPORT_LEAVING:
            self._recycling_timer.stop()
            self._report(messages.Leaving(self._why))
        elif action is Action.RETURN_IDLE:
            self._accepting.end(all_that_waits=False)
            self._engine.idle.return_all()
            self._end_pinned.start(self._engine.idle.end_all)
            self._exit_if_empty()
        elif action is Action.END_IDLE:
            flags = self._assignment.row.flags
            flags[RETIRING] = flags[ALONE] = 1
            self._accepting.end(all_that_waits=True)
            if not self._end_idle.active:
                self._end_idle.start(self._engine.idle.end_all)
            self._exit_if_empty()
        elif action is Action.EXIT:
            self._kind.stop()

    def _probe(self) -> None:
        """Ask the app whether it can serve, if there is a way to."""
        path = self._assignment.settings.ready_path
        if not path:
            self._apply(Event.PROBED)
            return
        probe = Probe(path, self._service.entrances[0])
        self._kind.execute_beside(probe.exchange, partial(self._probed, probe))

    def _probed(self, probe: Probe) -> None:
        try:
            probe.check()
        except BootError as error:
            self._failure = error
            self._kind.stop()
        else:
            self._apply(Event.PROBED)

    def _leave_to_parent(self) -> None:
        """In a child that the app has forked: with a hub of its own, which goes on with the
        worker's loop, it would be a second worker."""
        signals.leave_to_parent()
        for watcher in (
            self._inbox,
            self._outbox,
            self._announcement,
            self._end_pinned,
            self._end_idle,
            self._mourning,
            self._recycling_timer,
            self._terminations,
        ):
            watcher.stop()
        self._channel.close()

    def _exit_if_empty(self) -> None:
        if self._engine.empty:
            self._apply(Event.EMPTY)

    def _terminated(self) -> None:
        # The handlers that do nothing write to the pipe too.
        if signal.SIGTERM in self._signals.receive():
            self._leave("received SIGTERM")

    def _leave(self, why: str) -> None:
        """Ask to be replaced."""
        self._why = why
        self._apply(Event.LEAVE)

    def _recycle(self) -> None:
        """Leave if a limit is reached."""
        why = self._recycling.due(self._assignment.row.counters[0], monotonic())
        if why:
            self._leave(why)

    # The channel.

    def _receive(self) -> None:
        try:
            for command, fds in self._channel.receive():
                self._obey(command, fds)
        except ChannelClosed:
            self._inbox.stop()
            self._mourning.start(self._bereaved)

    def _bereaved(self) -> None:
        """The channel has come to its end: with the master, or by what the app has done to it. Then
        the connections are the master's as before, which needs only this process to end."""
        surroundings = self._assignment.surroundings
        if os.getppid() == surroundings.master:
            _log.error("the channel to the master is broken: leaving everything to it")
            self._engine.failed = True
            self._kind.stop()
            return
        # Whoever reads our log may be gone as well.
        surroundings.logs.patient(False)
        _log.warning("the master is gone: finishing what runs")
        self._apply(Event.ORPHANED)

    def _obey(self, command: messages.Command, fds: list[int]) -> None:
        if isinstance(command, messages.Lend):
            for loan, fd in zip(command.loans, fds, strict=True):
                self._engine.borrow(loan, fd)
        elif isinstance(command, messages.Drain):
            self._apply(Event.DRAIN if command.moving else Event.STOP)
        elif isinstance(command, messages.GiveBack):
            self._engine.idle.give_back(command.count)
        elif isinstance(command, messages.ReopenLogs):
            self._assignment.surroundings.logs.adopt(fds)

    def _report(self, report: messages.Report) -> None:
        try:
            self._channel.send(report)
        except ChannelClosed:
            return  # nobody wants to know any more
        if self._channel.backlogged:
            self._outbox.start(self._flush)

    def _flush(self) -> None:
        with contextlib.suppress(ChannelClosed):
            self._channel.flush()
        if not self._channel.backlogged:
            self._outbox.stop()


def _look_for_temporary_directory() -> None:
    """Say it now if there is none, as it may be long until somebody needs it."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        _log.warning(
            "no directory for temporary files (is everything read-only? TMPDIR may name one): "
            "bodies above %d MiB are answered with 503",
            SPOOL_SIZE >> 20,
        )
