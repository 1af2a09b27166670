"""The idle connections of a worker, and how it parts with them: given back, or ended."""

from __future__ import annotations

from itertools import islice
from os import close as close_fd
from typing import TYPE_CHECKING

from prefork.worker.connection import Connection
from prefork.worker.lingering import has_data, shut_down_if_quiet
from prefork.worker.reports import Reports

if TYPE_CHECKING:
    from prefork.worker.engine import Engine


class Idle:
    """Those of the engine's connections that are idle.

    Args:
        engine: whose connections they are.
        connections: all there are, by fd.
        reports: tells the master of those that are given back.
    """

    def __init__(
        self, engine: Engine, connections: dict[int, Connection], reports: Reports
    ) -> None:
        self._engine = engine
        self._connections = connections
        self._reports = reports

    def return_all(self) -> None:
        """From now on, give back the loans that are idle."""
        self._engine.on_idle = self._leave
        self.give_back_all()

    def give_back_all(self) -> None:
        """Give back the loans that are idle now."""
        self._give_back([each for each in self._idle() if not each.pinned])

    def give_back(self, count: int) -> None:
        """Give so many idle loans back, or as many as there are; not one whose request is here."""
        quiet = (each for each in self._idle() if not each.pinned and not has_data(each.fd))
        self._give_back(list(islice(quiet, count)))

    def end_all(self) -> None:
        """End the idle connections, as there is nobody to give them to; but serve what has
        arrived on them. One after the other: what is looked at long before it is closed may get a
        request in between, which would be lost."""
        self._engine.on_idle = self._end
        for connection in self._idle():
            if connection.fd >= 0:
                self._end(connection)

    def end_longest(self, count: int) -> None:
        """End so many of those that this worker has accepted, to make room for others."""
        idle = [each for each in self._idle() if each.pinned]
        for connection in sorted(idle, key=lambda each: each.since)[:count]:
            if connection.fd >= 0:
                self._end(connection)

    def _leave(self, connection: Connection) -> None:
        if not connection.pinned:
            self._give_back([connection])

    def _end(self, connection: Connection) -> None:
        """Close the connection, unless a request has arrived on it."""
        # Now, not when the master hears of it: a request that came until then would be lost.
        if shut_down_if_quiet(connection.fd):
            connection.close()
        else:
            connection.readable()

    def _give_back(self, connections: list[Connection]) -> None:
        for connection in connections:
            del self._connections[connection.fd]
            close_fd(connection.give_back())
        self._reports.returned([connection.key for connection in connections])

    def _idle(self) -> list[Connection]:
        return [connection for connection in self._connections.values() if connection.idle]
