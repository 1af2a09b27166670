"""What two looks at a master tell that one does not: rates, and how long requests run. Pure."""

from __future__ import annotations

from prefork.wire.control import Status


class Rates:
    """What has changed from look to look.

    `per_second` is the rate of all requests, `by_pid` that of each worker. `running` has the
    seconds for which a worker, by slot, has been seen in requests without beginning another one:
    so long the oldest of them has taken at least.
    """

    def __init__(self) -> None:
        self.per_second = 0.0
        self.by_pid: dict[int, float] = {}
        self.running: dict[int, float] = {}
        self._at: float | None = None
        self._requests = 0
        self._begun: dict[int, int] = {}
        # By pid: since when nothing has been begun, while something runs.
        self._since: dict[int, float] = {}

    def look(self, status: Status, now: float) -> None:
        """Note what there is now, monotonic seconds."""
        seconds = now - self._at if self._at is not None else 0.0
        if seconds > 0:
            self.per_second = (status.requests - self._requests) / seconds
            self.by_pid = {
                worker.pid: (worker.requests - self._begun.get(worker.pid, 0)) / seconds
                for worker in status.workers
                if worker.pid
            }
        self._note_running(status, now)
        self._at, self._requests = now, status.requests
        self._begun = {worker.pid: worker.requests for worker in status.workers}

    def _note_running(self, status: Status, now: float) -> None:
        since = {}
        self.running = {}
        for worker in status.workers:
            if not worker.in_flight:
                continue
            same = self._begun.get(worker.pid) == worker.requests
            began = self._since.get(worker.pid, self._at) if same else None
            since[worker.pid] = now if began is None else began
            if began is not None:
                self.running[worker.slot] = now - began
        self._since = since
