"""What the master is told of loans that are no more: together, at the end of a turn of the loop."""

from __future__ import annotations

from collections.abc import Callable

from gevent.libev.corecext import loop as Loop  # noqa: N812

from prefork.wire.messages import Closed, Released, Report, Returned

# So many ids at most are reported in one packet.
_REPORT_SIZE = 2000


class Reports:
    """The reports that are due.

    Args:
        loop: at the end of whose turns they are sent.
        report: sends a message to the master.
        flushed: called when it knows all.
    """

    def __init__(
        self, loop: Loop, report: Callable[[Report], None], flushed: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._report = report
        self._flushed = flushed
        self._closed: list[int] = []
        self._released: list[int] = []
        self._flush_due = False

    def closed(self, loan: int) -> None:
        """A connection is at its end."""
        self._closed.append(loan)
        self.flush_later()

    def released(self, loans: list[int]) -> None:
        """These have been dropped, as the master has recalled them."""
        self._released += loans
        self.flush_later()

    def returned(self, loans: list[int]) -> None:
        """These are given back. Reported at once: until then they wait for nobody."""
        self._report_loans(Returned, loans)
        self.flush_later()

    def flush_later(self) -> None:
        """At the end of this turn of the loop, once."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.run_callback(self.flush)

    def flush(self) -> None:
        """Report what has ended since the last time."""
        self._flush_due = False
        closed, self._closed = self._closed, []
        released, self._released = self._released, []
        self._report_loans(Closed, closed)
        self._report_loans(Released, released)
        self._flushed()

    def _report_loans(
        self, report: type[Closed] | type[Returned] | type[Released], loans: list[int]
    ) -> None:
        for start in range(0, len(loans), _REPORT_SIZE):
            self._report(report(loans[start : start + _REPORT_SIZE]))
