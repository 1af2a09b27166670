"""The vacancy: the one slot that is to get a worker next. Pure."""

from __future__ import annotations

from prefork.master.backoff import Backoffs
from prefork.master.rollout import Rollout
from prefork.master.roster import Roster


def vacancy(
    size: int, roster: Roster, rollout: Rollout | None, backoffs: Backoffs, now: float
) -> int | None:
    """The slot that is to get a worker now: an empty one, else one to be replaced; None if there is
    none, or it has to wait.

    Args:
        size: how many slots there are to be.
        roster: who there is.
        rollout: the reload that is under way, if one is.
        backoffs: the slots that have to wait because workers of theirs have failed.
        now: monotonic seconds.
    """
    crowded = len(roster.workers) > size and roster.in_the_ring()
    if crowded or (rollout is not None and roster.booting):
        return None
    due = [slot for slot in range(1, size + 1) if backoffs.due(slot) <= now]
    for slot in due:
        if not roster.filled(slot):
            return slot
    if not roster.settled or (rollout is not None and rollout.baking is not None):
        return None
    return next((slot for slot in due if _outdated(slot, roster, rollout)), None)


def _outdated(slot: int, roster: Roster, rollout: Rollout | None) -> bool:
    """Whether the slot's worker is to be replaced: by a rollout, or as it has asked for it."""
    by_rollout = rollout is not None and slot in rollout.slots
    return by_rollout or roster.leaves(slot)
