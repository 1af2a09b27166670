"""How the service is, for those who have started it, and for those who ask. Pure."""

from __future__ import annotations

from prefork.master.fleet import Fleet, Goal
from prefork.systemd import Condition


def condition_of(fleet: Fleet, reload_asked: float, reloading: bool) -> Condition:
    """The condition of a service.

    Args:
        fleet: its workers.
        reload_asked: when a reload was asked for last, in monotonic seconds.
        reloading: whether there is something to be done for that besides the fleet's rollout.
    """
    return Condition(
        ready=fleet.goal is Goal.RUN or bool(fleet.roster.in_the_ring()),
        reload_asked=reload_asked,
        reloading=reloading or fleet.rollout is not None,
        stopping=fleet.stopping,
        status=_status(fleet),
    )


def state_of(fleet: Fleet, upgrading: bool) -> str:
    """The condition in one word.

    Args:
        fleet: the workers of the service.
        upgrading: whether an upgrade is under way.
    """
    if fleet.stopping:
        return "stopping"
    if fleet.goal is Goal.START:
        return "starting"
    if upgrading:
        return "upgrading"
    return "serving" if fleet.rollout is None else "reloading"


def _status(fleet: Fleet) -> str:
    """In words."""
    serving = len(fleet.roster.in_the_ring())
    if fleet.failure:
        return "failed to boot: " + " ".join(fleet.failure.split())
    if fleet.stopping:
        return "stopping"
    if fleet.goal is Goal.START:
        return f"starting: {serving} of {fleet.size} workers serve"
    rollout = fleet.rollout
    if rollout is not None:
        what = "going back" if rollout.returning else "reloading"
        return f"{what} to generation {rollout.generation}: {len(rollout.slots)} workers to replace"
    failed = "; the reload after it has failed" if fleet.newest > fleet.generation else ""
    return f"generation {fleet.generation}{failed}: {serving} of {fleet.size} workers serve"
