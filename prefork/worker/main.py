"""A worker from its birth to its exit: who it is, the app, the engine, the master's word."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from time import monotonic

from prefork import process, readiness, signals
from prefork.accesslog import AccessLogger
from prefork.errors import BootError, PreforkError
from prefork.http.request import Limits
from prefork.settings import (
    Settings,
    home,
    idle_timeout,
    request_timeout,
    standstill_timeout,
    worker_kind,
)
from prefork.wire import messages
from prefork.wire.assignment import Assignment
from prefork.wire.board import ALONE, RETIRING
from prefork.wire.channel import ChannelClosed
from prefork.worker.accepting import Accepting
from prefork.worker.app import load_app
from prefork.worker.engine import Engine
from prefork.worker.greenlets import Greenlets
from prefork.worker.kind import Kind
from prefork.worker.lifecycle import Action, Event, Lifecycle
from prefork.worker.probe import Probe, unready_in_time
from prefork.worker.recycling import INTERVAL, Recycling
from prefork.worker.service import Entrance, Service
from prefork.worker.sync import Sync
from prefork.worker.threads import Threads
from prefork.worker.transport import READ, WRITE, Waiting
from prefork.wsgi import environ_template

KINDS: dict[str, Callable[[Assignment], Kind]] = {
    "sync": lambda assignment: Sync(),
    "threads": lambda assignment: Threads(assignment.settings.threads),
    "gevent": lambda assignment: Greenlets(assignment.stacks),
}

# Idle connections that nobody can take over are ended after this part of kill_timeout, so that
# there is time left for what has arrived on them.
_LAST_CALL = 0.9

_log = logging.getLogger("prefork.worker")


def main(assignment: Assignment) -> int:
    """Be a worker.

    Returns:
        The exit status.
    """
    settings = assignment.settings
    assignment.logs.introduce(str(assignment.id))
    assignment.logs.patient(True)
    _close_what_is_not_ours(assignment)
    process.title(settings, f"worker {assignment.id.slot} gen {assignment.id.generation}")
    try:
        enter(settings)
        return Worker(assignment).serve()
    except PreforkError as error:
        _log.error("%s", error)
        return error.exit_code
    except Exception:  # noqa: BLE001  the last place to say it
        _log.exception("error in the worker")
        return PreforkError.exit_code
    finally:
        signals.ignore()


def enter(settings: Settings) -> None:
    """Make the process what the settings want the app to find: directory, module path,
    environment, user.

    Raises:
        PreforkError: it can't be done.
    """
    if settings.umask is not None:
        os.umask(settings.umask)
    directory = home(settings)
    try:
        os.chdir(directory)
    except OSError as error:
        raise BootError(f"chdir = {directory}: {error.strerror}") from None
    paths = [os.path.join(directory, path) for path in settings.pythonpath]
    sys.path[:0] = [directory, *paths]
    os.environ.update(settings.env)
    try:
        process.become(*process.user_and_group(settings))
    except PermissionError:
        raise BootError(
            f"user = {settings.user}, group = {settings.group}: not permitted"
        ) from None


class Worker:
    """The worker's side of the channel, and the lifecycle that is driven by what comes over it.

    It listens from before the app is imported: what comes meanwhile is handled after.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._channel = assignment.channel
        self._lifecycle = Lifecycle(assignment.settings.wait_ready)
        self._kind = KINDS[worker_kind(assignment.settings)](assignment)
        loop = self._kind.loop
        self._inbox = loop.io(self._channel.fileno(), READ)
        self._outbox = loop.io(self._channel.fileno(), WRITE)
        # The app may call ready() from any thread: only an async watcher can be woken from one.
        self._announcement = loop.async_()
        # Connections that can't be given back stay until their next request, or this.
        self._end_pinned = loop.timer(_LAST_CALL * assignment.settings.kill_timeout)
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

    def serve(self) -> int:
        """Import the app and serve until the master drains this worker, or is gone.

        Returns:
            The exit status.

        Raises:
            BootError: the app can't be had, or says that it can't serve.
        """
        settings = self._assignment.settings
        app = load_app(settings.app)
        if settings.ready_path:
            app = unready_in_time(app, settings.ready_path, self._assignment.row.flags)
        self._service = _service(self._assignment, self._kind)
        self._engine = Engine(
            self._service,
            self._assignment.board,
            self._assignment.row,
            self._assignment.gate,
            alone=lambda: self._channel.abandoned,
            report=self._report,
            on_empty=lambda: self._apply(Event.EMPTY),
            leave=self._leave,
        )
        self._kind.begin(self._engine, app)
        self._accepting = Accepting(
            self._engine, self._assignment.sockets, process.most_connections(settings)
        )
        self._apply(Event.IMPORTED)
        if self._recycling.wanted:
            self._recycling_timer.start(self._recycle)
        os.register_at_fork(after_in_child=self._engine.disown)
        os.register_at_fork(after_in_child=self._accepting.disown)
        self._kind.run()
        if self._failure is not None:
            raise self._failure
        self._engine.flush()
        return PreforkError.exit_code if self._engine.failed else 0

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
            self._engine.return_idle()
            self._end_pinned.start(self._engine.end_idle)
            self._exit_if_empty()
        elif action is Action.END_IDLE:
            flags = self._assignment.row.flags
            flags[RETIRING] = flags[ALONE] = 1
            self._accepting.end(all_that_waits=True)
            self._engine.end_idle()
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
            # Whoever reads our log may be gone as well.
            self._assignment.logs.patient(False)
            _log.warning("the master is gone: finishing what runs")
            self._apply(Event.ORPHANED)

    def _obey(self, command: messages.Command, fds: list[int]) -> None:
        if isinstance(command, messages.Lend):
            for loan, fd in zip(command.loans, fds, strict=True):
                self._engine.borrow(loan, fd)
        elif isinstance(command, messages.Drain):
            self._apply(Event.DRAIN if command.moving else Event.STOP)
        elif isinstance(command, messages.GiveBack):
            self._engine.give_back(command.count)
        else:
            logs = self._assignment.logs
            files = [logs.error.file, logs.access]
            for file, fd in zip(files, fds, strict=False):
                assert file is not None
                file.adopt(fd)

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


def _service(assignment: Assignment, kind: Kind) -> Service:
    """What the settings say of how the app is to be served."""
    settings = assignment.settings
    access = None
    if assignment.logs.access is not None:
        access = AccessLogger(settings.access_log_format, assignment.logs.access)
    return Service(
        kind=kind,
        entrances=_entrances(assignment, kind),
        patience={
            Waiting.NEXT_REQUEST: idle_timeout(settings),
            Waiting.HEAD: settings.header_timeout,
            Waiting.BODY: settings.body_timeout,
            Waiting.CLIENT: settings.send_timeout,
            Waiting.APP: math.inf,
        },
        pulse=standstill_timeout(settings) / 4,
        request_timeout=request_timeout(settings),
        timed=access is not None or settings.request_timeout > 0,
        keeps_alive=settings.keepalive > 0,
        access=access,
    )


def _entrances(assignment: Assignment, kind: Kind) -> tuple[Entrance, ...]:
    settings = assignment.settings
    limits = Limits(
        line=settings.limit_request_line,
        fields=settings.limit_request_fields,
        field_size=settings.limit_request_field_size,
        body=settings.limit_request_body,
    )
    errors = assignment.logs.stream()
    templates = (
        environ_template(
            scheme="http",
            errors=errors,
            multithread=kind.multithread,
            server=(listener.name, listener.port),
            worker=assignment.id,
        )
        for listener in assignment.listeners
    )
    return tuple(Entrance(template, limits, kind.streams) for template in templates)


def _close_what_is_not_ours(assignment: Assignment) -> None:
    """Every other fd is a client's connection that the master has lent to somebody."""
    logs = assignment.logs
    keep = {assignment.channel.fileno(), assignment.board.fd, assignment.stacks}
    keep.add(logs.error.file.fd)
    keep.update(sock.fileno() for sock in assignment.sockets)
    if logs.access is not None:
        keep.add(logs.access.fd)
    process.close_all_fds_but(keep)
