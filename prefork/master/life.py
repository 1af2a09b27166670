"""A worker's life as the master sees it, and a mold's: a table, total. Pure.

    BOOTING --ready--> SERVING --retire----------> DRAINING --> exits
       |                  | `--leave--> LEAVING --retire--^ |
       |                  `--hang----.  |                   |
       `--deadline---------> DUMPING <--hang----deadline----'
                                `--deadline--> DYING --> exits

Only `BOOTING`, `DRAINING` and `DUMPING` have deadlines. Whatever the phase, the process may end:
what that means is the fleet's to say. A mold that is `SERVING` has workers forked from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from prefork.wire.identity import WorkerId

# A worker that is about to be killed gets this long to write down its stacks.
DUMP_SECONDS = 0.3


class Phase(Enum):
    """Where in its life a worker is."""

    BOOTING = "booting"  # forked, not ready
    SERVING = "serving"
    LEAVING = "leaving"  # serves, but has asked to be replaced
    DRAINING = "draining"  # out of the ring, finishing its requests
    DUMPING = "dumping"  # too late: writing its stacks down
    DYING = "dying"  # killed, not reaped yet


class Event(Enum):
    """What can happen to a worker short of its exit."""

    READY = "ready"
    LEAVE = "leave"
    HANG = "hang"
    RETIRE = "retire"
    DEADLINE = "deadline"
    DISCARD = "discard"


class Verdict(Enum):
    """Instead of a next phase: the event changes nothing, or can't happen."""

    IGNORE = "ignore"
    IMPOSSIBLE = "impossible"


_IGNORE, _IMPOSSIBLE = Verdict.IGNORE, Verdict.IMPOSSIBLE

TRANSITIONS: dict[Phase, dict[Event, Phase | Verdict]] = {
    Phase.BOOTING: {
        Event.READY: Phase.SERVING,
        # It has nothing to leave yet.
        Event.LEAVE: _IGNORE,
        Event.HANG: _IGNORE,
        Event.RETIRE: Phase.DYING,
        Event.DEADLINE: Phase.DUMPING,
        Event.DISCARD: Phase.DYING,
    },
    Phase.SERVING: {
        Event.READY: _IGNORE,
        Event.LEAVE: Phase.LEAVING,
        Event.HANG: Phase.DUMPING,
        Event.RETIRE: Phase.DRAINING,
        Event.DEADLINE: _IMPOSSIBLE,
        Event.DISCARD: Phase.DYING,
    },
    Phase.LEAVING: {
        Event.READY: _IGNORE,
        Event.LEAVE: _IGNORE,
        Event.HANG: Phase.DUMPING,
        Event.RETIRE: Phase.DRAINING,
        Event.DEADLINE: _IMPOSSIBLE,
        Event.DISCARD: Phase.DYING,
    },
    Phase.DRAINING: {
        Event.READY: _IGNORE,
        Event.LEAVE: _IGNORE,
        Event.HANG: _IGNORE,
        Event.RETIRE: _IGNORE,
        Event.DEADLINE: Phase.DUMPING,
        Event.DISCARD: Phase.DYING,
    },
    Phase.DUMPING: {
        Event.READY: _IGNORE,
        Event.LEAVE: _IGNORE,
        Event.HANG: _IGNORE,
        Event.RETIRE: _IGNORE,
        Event.DEADLINE: Phase.DYING,
        Event.DISCARD: Phase.DYING,
    },
    Phase.DYING: {
        Event.READY: _IGNORE,
        Event.LEAVE: _IGNORE,
        Event.HANG: _IGNORE,
        Event.RETIRE: _IGNORE,
        Event.DEADLINE: _IMPOSSIBLE,
        Event.DISCARD: _IGNORE,
    },
}

IN_THE_RING = frozenset({Phase.SERVING, Phase.LEAVING})
FILLS_ITS_SLOT = frozenset({Phase.BOOTING, Phase.SERVING, Phase.LEAVING})


@dataclass(eq=False)
class Worker:
    """A worker. `since` is when it was forked, and then when it became ready; `deadline` is
    math.inf in a phase without one, `kill_timeout` in seconds."""

    id: WorkerId
    kill_timeout: float
    since: float
    deadline: float
    phase: Phase = Phase.BOOTING

    @property
    def slot(self) -> int:
        """Its slot."""
        return self.id.slot

    def apply(self, event: Event, now: float) -> bool:
        """Move the worker on as the table says; False if it stays where it is."""
        outcome = TRANSITIONS[self.phase][event]
        assert outcome is not Verdict.IMPOSSIBLE, f"{event} in {self.phase}"
        if isinstance(outcome, Verdict):
            return False
        self.phase = outcome
        self.deadline = math.inf
        if outcome is Phase.SERVING:
            self.since = now
        elif outcome is Phase.DRAINING:
            self.deadline = now + self.kill_timeout
        elif outcome is Phase.DUMPING:
            self.deadline = now + DUMP_SECONDS
        return True

    def __str__(self) -> str:
        return str(self.id)
