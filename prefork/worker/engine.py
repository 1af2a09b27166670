"""The engine of a worker: its loop, its loans, and its patience with clients.

All kinds of worker have this engine; they differ in how the app is called.
"""

from __future__ import annotations

import logging
import os
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from types import ModuleType, TracebackType
from typing import Any

from gevent.libev.corecext import loop as Loop  # noqa: N812

from prefork.accesslog import AccessLogger
from prefork.http.request import Limits, RequestParser
from prefork.wire.board import RETIRING, Board, Row
from prefork.wire.gate import Gate
from prefork.wire.messages import Closed, Loan, Released, Report, Returned, Room
from prefork.wire.recall import is_recalled, to_drop
from prefork.worker.connection import Connection, Waiting
from prefork.worker.turnstile import Turnstile
from prefork.wsgi import App, Exchange

# Clients' patience is checked at least this often, in seconds.
_CHECK_SECONDS = 1.0
# So many ids at most are reported in one packet.
_REPORT_SIZE = 2000

_log = logging.getLogger("prefork.worker")


@dataclass(frozen=True)
class Service:
    """What is served, and how: `templates` are the environs to begin with, by listener, and
    `patience` the seconds that each wait for a client may take."""

    app: App
    kind: ModuleType
    templates: tuple[dict[str, Any], ...]
    limits: Limits
    patience: dict[Waiting, float]
    keeps_alive: bool
    access: AccessLogger | None


class Engine:
    """The connections that are lent to this worker.

    Args:
        loop: where everything here happens.
        service: what is served.
        board, row: where the worker's facts are written.
        gate: of the worker, held; None where there are no semaphores.
        alone: whether the master is dead.
        report: sends a message to the master.
        on_empty: called when the worker drains and its last connection has gone.
    """

    def __init__(
        self,
        loop: Loop,
        service: Service,
        board: Board,
        row: Row,
        gate: Gate | None,
        alone: Callable[[], bool],
        report: Callable[[Report], None],
        on_empty: Callable[[], None],
    ) -> None:
        self.loop = loop
        loop.error_handler = self._on_error
        self.board = board
        self.counters = row.counters
        self.flags = row.flags
        self.keeps_alive = service.keeps_alive
        # Monotonic seconds, as of the last request or check: good enough for patience.
        self.clock = monotonic()
        self._service = service
        # Has the app serve an exchange.
        turnstile = Turnstile(row, gate, alone, self._obey_recall, lambda: report(Room()))
        self.execute = service.kind.executor(service.app, turnstile)
        if service.access is not None:
            self.execute = _logged(self.execute, service.access)
        self._report = report
        self._on_empty = on_empty
        self._connections: dict[int, Connection] = {}  # by loan
        # What becomes of a connection that becomes idle, once this worker drains.
        self.on_idle: Callable[[Connection], None] | None = None
        # An error of ours, after which the worker can't go on.
        self.failed = False
        self._flush_due = False
        self._closed: list[int] = []
        self._released: list[int] = []
        interval = min(_CHECK_SECONDS, *(seconds / 4 for seconds in service.patience.values()))
        self._checks = self.loop.timer(interval, interval)
        self._checks.start(self._check_patience)

    @property
    def empty(self) -> bool:
        """Whether no connection is left."""
        return not self._connections

    def borrow(self, loan: Loan, fd: int) -> None:
        """Serve a connection that was lent, unless it was recalled on its way here."""
        if is_recalled(self.board.loans, loan.id):
            os.close(fd)
            self._flush_later()
            self._released.append(loan.id)
            return
        service = self._service
        # The family matters to addresses only, and none is asked for: it need not be looked up.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fd)
        template = service.templates[loan.listener].copy()
        template["REMOTE_ADDR"] = loan.host
        template["REMOTE_PORT"] = str(loan.port)
        parser = RequestParser(template, service.limits)
        self._connections[loan.id] = Connection(self, loan.id, sock, parser)

    def return_idle(self) -> None:
        """Give the idle loans back."""
        self.on_idle = lambda connection: self._give_back([connection])
        self._give_back(self._idle())

    def give_back(self, count: int) -> None:
        """Give so many idle loans back, or as many as there are; not one whose request is here."""
        idle = (connection for connection in self._idle() if not _has_data(connection.sock))
        self._give_back(list(islice(idle, count)))

    def end_idle(self) -> None:
        """End the idle connections, as there is nobody to give them to; but serve what has
        arrived on them. One after the other: what is looked at long before it is closed may get a
        request in between, which would be lost."""
        self.on_idle = self._end
        for connection in self._idle():
            if self._holds(connection):
                self._end(connection)

    def flush(self) -> None:
        """Report what has ended since the last time."""
        self._flush_due = False
        closed, self._closed = self._closed, []
        released, self._released = self._released, []
        self._report_loans(Closed, closed)
        self._report_loans(Released, released)
        if self.empty and self.flags[RETIRING]:
            self._on_empty()

    # What connections ask for.

    def wait_writable(self, sock: socket.socket) -> None:
        """Hold the app up until its client takes more of the response.

        Raises:
            TimeoutError: it took nothing for too long.
        """
        self._service.kind.wait_writable(sock, self._service.patience[Waiting.CLIENT])

    def closed(self, connection: Connection) -> None:
        """The connection is at its end."""
        del self._connections[connection.loan]
        self._flush_later()
        self._closed.append(connection.loan)

    # The parts.

    def _end(self, connection: Connection) -> None:
        if _has_data(connection.sock):
            connection.readable()
        else:
            connection.close()

    def _give_back(self, connections: list[Connection]) -> None:
        """Reported at once: until then they wait for nobody."""
        for connection in connections:
            connection.give_back()
            del self._connections[connection.loan]
        self._report_loans(Returned, [connection.loan for connection in connections])
        self._flush_later()

    def _obey_recall(self) -> None:
        """Drop what the master has taken back while the app ran."""
        self._flush_later()
        for loan in to_drop(self.flags, self.board.loans, self._connections):
            self._connections.pop(loan).drop()
            self._released.append(loan)

    def _holds(self, connection: Connection) -> bool:
        """Whether it is still ours: the app was called, and meanwhile it may have been recalled."""
        return self._connections.get(connection.loan) is connection

    def _report_loans(
        self, report: type[Closed] | type[Returned] | type[Released], loans: list[int]
    ) -> None:
        for start in range(0, len(loans), _REPORT_SIZE):
            self._report(report(loans[start : start + _REPORT_SIZE]))

    def _flush_later(self) -> None:
        """At the end of this turn of the loop, once."""
        if not self._flush_due:
            self._flush_due = True
            self.loop.run_callback(self.flush)

    def _idle(self) -> list[Connection]:
        return [connection for connection in self._connections.values() if connection.idle]

    def _check_patience(self) -> None:
        self.clock = now = monotonic()
        patience = self._service.patience
        for connection in list(self._connections.values()):
            overdue = now - connection.since > patience[connection.waiting]
            if overdue and self._holds(connection):
                connection.expire()

    def _on_error(
        self,
        context: object,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """An error of ours in a callback of the loop: it costs one connection; or, where it was
        not about one, the worker, whose idle connections are safe with the master. (The loop has
        stopped the watcher: if it was that of the channel, the worker would be deaf.)"""
        _log.error("error in the worker", exc_info=error)
        owner = getattr(getattr(context, "callback", None), "__self__", None)
        if isinstance(owner, Connection):
            owner.close()
        else:
            self.failed = True
            self.loop.break_()


def _has_data(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _logged(
    execute: Callable[[Exchange], None], access: AccessLogger
) -> Callable[[Exchange], None]:
    def execute_and_log(exchange: Exchange) -> None:
        began = monotonic()
        execute(exchange)
        access.log(exchange, monotonic() - began)

    return execute_and_log
