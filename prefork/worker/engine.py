"""The engine of a worker: its connections, lent or accepted, and its patience with clients.

All kinds of worker have this engine; they differ in how the app is called.
"""

from __future__ import annotations

import contextlib
import logging
import math
from _socket import SHUT_WR
from collections.abc import Callable
from os import close as close_fd
from select import epoll
from time import monotonic
from types import TracebackType

from prefork.crowding import TURNED_AWAY
from prefork.wire.board import COUNTED, RETIRING, WANTED, Board, LoanState, Row
from prefork.wire.gate import Gate
from prefork.wire.messages import Loan, Report, Room
from prefork.wire.recall import is_recalled, to_drop
from prefork.worker.connection import Connection
from prefork.worker.idle import Idle
from prefork.worker.lingering import Lingering, reset_on_close, shut_down
from prefork.worker.reports import Reports
from prefork.worker.service import Service
from prefork.worker.transport import SocketTransport, Waiting

# Clients' patience is checked at least this often, in seconds.
_CHECK_SECONDS = 1.0

_CLOSED, _RESPONDING = int(LoanState.CLOSED), int(LoanState.RESPONDING)

_log = logging.getLogger("prefork.worker")


class Engine:
    """The connections of this worker.

    Args:
        service: what is served.
        board, row: where the worker's facts are written.
        gate: of the worker, held; None where there are no semaphores.
        alone: whether the master is dead.
        report: sends a message to the master.
        on_empty: called when the worker drains and its last connection has gone.
        leave: asks for the worker to be replaced, and says why.
    """

    def __init__(
        self,
        service: Service,
        board: Board,
        row: Row,
        gate: Gate | None,
        alone: Callable[[], bool],
        report: Callable[[Report], None],
        on_empty: Callable[[], None],
        leave: Callable[[str], None],
    ) -> None:
        self.kind = service.kind
        # Has the app serve an exchange: false if that goes on, and ends with `executed`.
        self.execute = service.kind.execute
        self.loop = service.kind.loop
        self.counters = row.counters
        self.flags = row.flags
        self.gate = gate
        self.alone = alone
        self.keeps_alive = service.keeps_alive
        self.access = service.access
        # Where exchanges are counted, while anybody wants to know; and whether it has to be known
        # when requests began.
        self.tally = row.tally if service.counted else None
        self.timed = service.timed
        self.statsd = service.statsd
        self.request_timeout = service.request_timeout
        self.leave = leave
        # Monotonic seconds, as of the last request or check: good enough for patience.
        self.clock = monotonic()
        # What becomes of a connection that becomes idle, once this worker drains.
        self.on_idle: Callable[[Connection], None] | None = None
        # Called once when there is room for another connection.
        self.on_room: Callable[[], None] | None = None
        # An error of ours, after which the worker can't go on.
        self.failed = False
        # Whether this is a forked child, and its connections the parent's.
        self._disowned = False
        self._entrances = service.entrances
        self._patience = service.patience
        self._quota = service.quota
        self._service = service
        self._states = board.loans
        self._row = row
        self._report = report
        self._on_empty = on_empty
        self._connections: dict[int, Connection] = {}  # by fd
        self._reports = Reports(self.loop, report, self._reported)
        # How to part with those that are idle.
        self.idle = Idle(self, self._connections, self._reports)
        self._lingering = Lingering(self.loop, self._reports.flush_later)
        service.kind.watch_errors(self._on_error)
        self._epoll = epoll.fromfd(self.loop.fileno())
        waits = [seconds / 4 for seconds in (*service.patience.values(), service.request_timeout)]
        interval = min(_CHECK_SECONDS, service.pulse, *waits)
        self._checks = self.loop.timer(interval, interval)
        self._checks.start(self._check)

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def empty(self) -> bool:
        """Whether no connection is left."""
        return not self._connections and not len(self._lingering)

    def borrow(self, loan: Loan, fd: int) -> None:
        """Serve a connection that was lent, unless it was recalled on its way here."""
        if self._disowned:
            close_fd(fd)
            return
        if is_recalled(self._states, loan.id):
            close_fd(fd)
            self._reports.released([loan.id])
            return
        entrance = self._entrances[loan.listener]
        if loan.secure is not None:
            entrance = entrance.secured(loan.secure)
        peer = (loan.host, str(loan.port))
        self._begin(self.kind.connection(self, self._states, loan.id, fd, entrance, peer))

    def adopt(self, fd: int, listener: int, host: str, port: int) -> None:
        """Serve a connection that this worker has accepted: nobody else has it."""
        entrance = self._entrances[listener]
        peer = (host, str(port))
        self._begin(self.kind.connection(self, bytearray(1), 0, fd, entrance, peer))

    def turn_away(self, fd: int) -> None:
        """Tell a client that there is no room for it."""
        self._lingering.begin(fd, TURNED_AWAY)

    def flush(self) -> None:
        """Report what has ended since the last time."""
        self._reports.flush()

    def disown(self) -> None:
        """In a forked child: close the connections, which would not end as long as it had them too.
        To requests that were copied with it they are closed as well."""
        self._disowned = True
        self._checks.stop()
        for connection in self._connections.values():
            close_fd(connection.disown())
        self._connections.clear()
        self._lingering.disown()

    # What connections ask for.

    def patience(self, waiting: Waiting) -> float:
        """Seconds that such a wait may take."""
        return self._patience[waiting]

    def quota(self, waiting: Waiting) -> float:
        """Bytes that the client has to send, or to take, within that time: at least 1."""
        return self._quota[waiting]

    def unwatch(self, fd: int) -> None:
        """Have the loop's epoll instance forget an fd whose watcher is stopped.

        libev leaves that to the close, which is none here, as the master has the connection too.
        At an event of an fd that it does not know any more it makes a new instance of all.
        """
        with contextlib.suppress(OSError):  # the watcher was new, or its events are forgotten
            self._epoll.unregister(fd)

    def closed(self, connection: SocketTransport) -> None:
        """The connection is at its end, as its state says."""
        if connection.fd < 0:
            return  # it was the parent's
        del self._connections[connection.fd]
        fd = connection.release()
        if connection.pinned:
            self._end_pinned(fd, connection.state)
        else:
            if self.kind.stands_still and connection.state != _RESPONDING:
                # Not when the master hears of it: that may be a request later.
                shut_down(fd, SHUT_WR)
            close_fd(fd)
            self._reports.closed(connection.key)
        if self.on_room is not None:
            self.made_room()

    def made_room(self) -> None:
        """There is room for more."""
        if self.on_room is not None:
            on_room, self.on_room = self.on_room, None
            on_room()

    # What a kind of worker asks for.

    def obey_recall(self) -> None:
        """Drop what the master has taken back while the app ran, without a word to the clients."""
        lent = {each.key: each for each in self._connections.values() if not each.pinned}
        loans = to_drop(self.flags, self._states, lent)
        for loan in loans:
            connection = lent[loan]
            del self._connections[connection.fd]
            close_fd(connection.release())
        self._reports.released(loans)

    def report_room(self) -> None:
        """Tell the master, which has asked for it, that a request can be begun."""
        self.flags[WANTED] = 0
        self._report(Room())

    # The parts.

    def _begin(self, connection: Connection) -> None:
        self._connections[connection.fd] = connection
        # Most clients have sent their request by now.
        connection.readable()

    def _end_pinned(self, fd: int, state: int) -> None:
        """Do as the master does with the others."""
        if state == _CLOSED:
            self._lingering.begin(fd)
        else:
            if state == _RESPONDING:
                reset_on_close(fd)
            close_fd(fd)
        if self.flags[RETIRING]:
            self._reports.flush_later()

    def _reported(self) -> None:
        """The master knows of all that has ended."""
        if self.flags[RETIRING] and self.empty:
            self._on_empty()

    def _check(self) -> None:
        self.clock = now = monotonic()
        self._row.heartbeat[0] = now
        patience = self._patience
        for connection in list(self._connections.values()):
            overdue = now - connection.since > patience[connection.waiting]
            # While the app runs for one of them, others may be recalled.
            if overdue and connection.fd >= 0:
                connection.expire()
        self._lingering.expire(now)
        self._count_if_wanted()
        if self.statsd is not None:
            self.statsd.flush()
        if self.request_timeout != math.inf:
            self.kind.give_up(self._connections.values(), now)

    def _count_if_wanted(self) -> None:
        counted = self._service.counted or bool(self.flags[COUNTED])
        self.tally = self._row.tally if counted else None
        self.timed = self._service.timed or counted

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
        owner = None if trace is None else trace.tb_frame.f_locals.get("self")
        _log.error("error in the worker", exc_info=error)
        if isinstance(owner, Connection):
            owner.close()
        else:
            self.failed = True
            self.kind.stop()
