"""How the service is, for those who have started it. Pure."""

from __future__ import annotations

from prefork.master.fleet import Fleet, Goal
from prefork.systemd import Condition


def condition_of(fleet: Fleet, reload_asked: float, reloading: bool, stopping: bool) -> Condition:
    """The condition of a service.

    Args:
        fleet: its workers.
        reload_asked: when a reload was asked for last, in monotonic seconds.
        reloading: whether there is something to be done for that besides the fleet's rollout.
        stopping: whether it is about to stop, although the fleet has not been told yet.
    """
    stopping = stopping or fleet.goal is Goal.STOP
    return Condition(
        ready=fleet.goal is Goal.RUN or bool(fleet.roster.in_the_ring()),
        reload_asked=reload_asked,
        reloading=reloading or fleet.rollout is not None,
        stopping=stopping,
        status=_status(fleet, stopping),
    )


def _status(fleet: Fleet, stopping: bool) -> str:
    """In words."""
    serving = len(fleet.roster.in_the_ring())
    if fleet.failure:
        return "failed to boot: " + " ".join(fleet.failure.split())
    if stopping:
        return "stopping"
    if fleet.goal is Goal.START:
        return f"starting: {serving} of {fleet.size} workers serve"
    rollout = fleet.rollout
    if rollout is not None:
        what = "going back" if rollout.returning else "reloading"
        return f"{what} to generation {rollout.generation}: {len(rollout.slots)} workers to replace"
    failed = "; the reload after it has failed" if fleet.newest > fleet.generation else ""
    return f"generation {fleet.generation}{failed}: {serving} of {fleet.size} workers serve"
