"""The account: what has become of each request, by what the clients saw and the app noted. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from benchmarks.chaos.clients import Tally

# So many requests at most is a worker in the middle of, whose connections have to be cut.
AT_ONCE = 4


@dataclass
class Outcome:
    """What it has cost: of `requests` so many were `lost`, or not run exactly once (`twice`);
    `in_killed` failed in a worker that was killed, of which `behind` were not begun: they came
    behind a response that the worker had not noted to be out. Of `connections` so many were
    `dropped` while idle, others `cut` behind such a response with nothing asked. `wrong` is what
    else was not as it should be, `reasons` are those of the losses."""

    requests: int = 0
    lost: int = 0
    in_killed: int = 0
    behind: int = 0
    twice: int = 0
    connections: int = 0
    cut: int = 0
    dropped: int = 0
    wrong: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def spotless(self) -> bool:
        """Whether nothing was lost but what was executed by workers that were killed."""
        return not (self.lost or self.twice or self.dropped or self.wrong)


def account(tally: Tally, executed: Mapping[bytes, Sequence[int]], killed: Set[int]) -> Outcome:
    """The account of some clients.

    Args:
        tally: what they saw.
        executed: the pids that have executed each request, by its id.
        killed: the pids of workers that were killed.
    """
    outcome = Outcome(tally.sent, connections=tally.connections)
    bad = {**tally.lost, **{name: f"status {status}" for name, status in tally.failed.items()}}
    unnoted = Counter[int]()
    for name, why in bad.items():
        if _excused(name, tally, executed, killed, unnoted):
            outcome.in_killed += 1
            outcome.behind += name in tally.behind and name not in executed
        else:
            outcome.lost += 1
            outcome.reasons.append(why)
    for pid in tally.dropped:
        if _not_noted(pid, killed, unnoted):
            outcome.cut += 1
        else:
            outcome.dropped += 1
    for name, pid in tally.answered.items():
        outcome.twice += list(executed.get(name, ())) != [pid]
    outcome.twice += sum(len(executed.get(name, ())) > 1 for name in bad)
    return outcome


def _excused(
    name: bytes,
    tally: Tally,
    executed: Mapping[bytes, Sequence[int]],
    killed: Set[int],
    unnoted: Counter[int],
) -> bool:
    """Whether a worker that was killed was in the middle of the request."""
    if name in executed:
        return bool(killed & set(executed[name]))
    if name in tally.failed:
        # Read by a worker that was killed before it began with it.
        return bool(killed)
    return _not_noted(tally.behind.get(name, 0), killed, unnoted)


def _not_noted(pid: int, killed: Set[int], unnoted: Counter[int]) -> bool:
    """Whether a connection may have ended behind the last response of a worker that was killed
    before it had noted that this is out."""
    unnoted[pid] += 1
    return pid in killed and unnoted[pid] <= AT_ONCE
