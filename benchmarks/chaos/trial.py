"""A trial: one scenario with one server, and the account of what it has cost the clients."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.account import Outcome, account
from benchmarks.chaos.clients import Shape, Swarm, Tally, plain
from benchmarks.chaos.journal import executions
from benchmarks.chaos.target import Subject, Target, alive, eventually, running


@dataclass(frozen=True)
class Scale:
    """How much of everything is done."""

    clients: int = 200
    requests: int = 300_000
    reloads: int = 50
    trials: int = 10_000
    seconds: float = 15.0
    storm: int = 100
    upgrades: int = 20
    many_reloads: int = 500
    idle: int = 5_000


WHOLE = Scale()
# For peers, of which many reloads and broken deploys take long, and tell enough.
PEERS = Scale(50, 10_000, 5, 500, 5.0, 100, 0, 0, 1_000)
SHORT = Scale(20, 2_000, 4, 200, 2.0, 20, 2, 10, 200)


class Trial:
    """One scenario with one server.

    Args:
        subject: the server.
        directory: where it runs.
        scale: how much is done.
    """

    def __init__(self, subject: Subject, directory: Path, scale: Scale) -> None:
        self.subject = subject
        self.directory = directory
        self.scale = scale
        self.outcome = Outcome()
        self._killed: set[int] = set()

    @contextmanager
    def target(self, workers: int = 2, settings: dict[str, str] | None = None) -> Iterator[Target]:
        """A server that serves; the settings are prefork's, as TOML."""
        with running(self.subject, self.directory, workers, settings or {}) as target:
            yield target

    @contextmanager
    def clients(
        self,
        target: Target,
        count: int = 0,
        shapes: Sequence[Shape] = (plain,),
        close: bool = False,
        eager: bool = True,
        pause: float = 0.0,
    ) -> Iterator[Swarm]:
        """Clients of it, whose losses are counted when the block ends."""
        swarm = Swarm(target.port, count or self.scale.clients, shapes, close, eager, pause)
        with swarm:
            yield swarm
        unasked = swarm.tally.unasked
        self.check(not unasked, f"{unasked} connections with an answer to nothing")
        self._account(swarm.tally, executions(target.journal))

    def reload(self, target: Target, refused: bool = False) -> None:
        """Replace all workers, and wait until that is done, or is `refused` as it should be."""
        since, before = target.mark(), set(target.family())
        target.send(signal.SIGHUP)
        if target.ours:
            self.check(target.wait_for(f"{_DONE}|{_REFUSED}", since), "a reload did not end")
            as_wanted = re.search(_REFUSED if refused else _DONE, target.log[since:])
            self.check(bool(as_wanted), f"a reload was {'not ' if refused else ''}refused")
        else:
            eventually(lambda: not before & _living(target), 15.0)
            # It is not said when the new ones serve.
            time.sleep(0.3)

    def kill(self, pid: int) -> None:
        """Kill a worker; what it was executing is no loss."""
        self._killed.add(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def crashed(self, pids: Sequence[int]) -> None:
        """These workers have ended by themselves, in the middle of what they were executing."""
        self._killed.update(pids)

    def check(self, holds: bool, otherwise: str) -> None:
        """Note what is wrong if it does not hold."""
        if not holds:
            self.outcome.wrong.append(otherwise)

    def _account(self, tally: Tally, executed: dict[bytes, list[int]]) -> None:
        more, sum_ = account(tally, executed, self._killed), self.outcome
        sum_.requests += more.requests
        sum_.lost += more.lost
        sum_.in_killed += more.in_killed
        sum_.behind += more.behind
        sum_.twice += more.twice
        sum_.connections += more.connections
        sum_.cut += more.cut
        sum_.dropped += more.dropped
        sum_.reasons += more.reasons


_DONE = r"reload to generation \d+ done"
_REFUSED = r"reload to generation \d+ aborted|reload refused"


def _living(target: Target) -> set[int]:
    return {pid for pid in target.family() if alive(pid)}
