"""The succession of an upgrade: the whole master, as one has it to hand over and another to take.

What is in a `Handover` is said in `handover`; how it comes from one program to the other, in
`upgrade`.
"""

from __future__ import annotations

from time import monotonic

import msgspec

from prefork.log import LogFile
from prefork.master import handover
from prefork.master.fleet import Goal
from prefork.master.handover import Handover
from prefork.master.parts import Parts


def hand_over(parts: Parts, control: handover.Listener | None) -> Handover:
    """All that the master has, for another to go on with.

    Args:
        parts: the master's.
        control: the control socket, if there is one.
    """
    logs, metrics = parts.logs, parts.observer.listener
    return Handover(
        since=monotonic(),
        first_settings=msgspec.to_builtins(parts.first_settings),
        settings=msgspec.to_builtins(parts.serving()),
        error_log=_log_file(logs.error.file),
        access_log=_log_file(logs.access) if logs.access is not None else None,
        listeners=[listener.hand_over() for listener in parts.listeners],
        board=parts.board.fd,
        fleet=parts.fleet.hand_over(),
        links=parts.workers.hand_over(),
        lending=parts.lending.hand_over(),
        terminators=parts.terminators.hand_over(),
        metrics=metrics.hand_over() if metrics is not None else None,
        counts=parts.counts,
        control=control,
        began=parts.began,
        requests=parts.workers.requests_before,
    )


def take_over(parts: Parts, state: Handover) -> None:
    """Have all that another master had. Nothing is done with it yet.

    Raises:
        HandoverError: its settings can't be used.
    """
    parts.settings.clear()
    parts.settings[state.fleet.generation] = handover.settings_of(state.settings)
    books = parts.workers.take_over(state.links, state.requests)
    parts.fleet.take_over(state.fleet, (link.worker for link in state.links))
    parts.lending.take_over(state.lending, books)
    parts.counts.exits.update(state.counts.exits)
    parts.counts.reloads.update(state.counts.reloads)
    parts.recalled_before = state.counts.recalls
    parts.terminators.take_over(state.terminators, parts.serving())
    parts.began = state.began


def may_upgrade(parts: Parts) -> bool:
    """Whether nothing is half done: no start, no reload, no stop, no child of which is not known
    yet what it is."""
    fleet = parts.fleet
    if fleet.rollout is not None or fleet.goal is not Goal.RUN or fleet.stopping:
        return False
    return not parts.workers.expecting and parts.terminators.settled


def _log_file(file: LogFile) -> handover.LogFile:
    return handover.LogFile(file.path, file.fd)
