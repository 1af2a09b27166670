"""What a forked child of the master becomes. What it needs for that is imported in it only."""

from __future__ import annotations

import faulthandler

from prefork.signals import DUMP_STACKS
from prefork.wire.assignment import (
    Assignment,
    HookAssignment,
    ObserverAssignment,
    Task,
    TerminatorAssignment,
    WatcherAssignment,
)


def become(assignment: Task) -> int:
    """Be what the assignment says.

    Returns:
        The exit status.
    """
    if isinstance(assignment, TerminatorAssignment):
        return _be_terminator(assignment)
    if isinstance(assignment, ObserverAssignment):
        return _be_observer(assignment)
    if isinstance(assignment, HookAssignment):
        return _be_hook(assignment)
    if isinstance(assignment, WatcherAssignment):
        return _be_watcher(assignment)
    return _be_worker(assignment)


def _be_worker(assignment: Assignment) -> int:
    # First: even what hangs in these imports is to be seen.
    faulthandler.register(DUMP_STACKS, file=assignment.stacks, all_threads=True)
    # Here, not above: the master imports neither gevent nor the app, and never an HTTP parser.
    from prefork.worker.main import main as be_worker

    return be_worker(assignment)


def _be_terminator(assignment: TerminatorAssignment) -> int:
    # Here, not above: the master has no use for ssl and asyncio.
    from prefork.tls.main import main as be_terminator

    return be_terminator(assignment)


def _be_observer(assignment: ObserverAssignment) -> int:
    # Here, not above: the master has no use for threads and HTTP.
    from prefork.metrics.main import main as be_observer

    return be_observer(assignment)


def _be_hook(assignment: HookAssignment) -> int:
    # Here, not above: the master never imports what is not its own.
    from prefork.worker.hooks import main as be_hook

    return be_hook(assignment)


def _be_watcher(assignment: WatcherAssignment) -> int:
    # Here, not above: only this process has to do with files that change.
    from prefork.watching import main as be_watcher

    return be_watcher(assignment)
