"""What a forked child of the master is: a worker, or a mold."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import traceback
from collections.abc import Callable
from functools import partial

from prefork import logconfig, process, signals, systemd
from prefork.errors import BootError, PreforkError
from prefork.settings import Settings, home, worker_kind
from prefork.signals import DUMP_STACKS
from prefork.wire import messages
from prefork.wire.assignment import Assignment
from prefork.wire.channel import ChannelClosed
from prefork.worker.app import load_app
from prefork.worker.broken_app import load_or_show
from prefork.worker.greenlets import Greenlets
from prefork.worker.hooks import Hooks
from prefork.worker.kind import Kind
from prefork.worker.mold import Mold
from prefork.worker.patch import patch
from prefork.worker.stacks import dump_more, requests
from prefork.worker.sync import Sync
from prefork.worker.threads import Threads
from prefork.worker.worker import Worker
from prefork.wsgi import App


def _sync(assignment: Assignment) -> Kind:
    dump_more(assignment.stacks, requests)
    return Sync()


def _threads(assignment: Assignment) -> Kind:
    dump_more(assignment.stacks, requests)
    return Threads(assignment.settings.threads)


def _gevent(assignment: Assignment) -> Kind:
    return Greenlets(assignment.stacks)


KINDS: dict[str, Callable[[Assignment], Kind]] = {
    "sync": _sync,
    "threads": _threads,
    "gevent": _gevent,
}

# A packet has room for so many characters, whatever they are.
_LONGEST_FAILURE = 12000

_log = logging.getLogger("prefork.worker")


def main(assignment: Assignment) -> int:
    """Be a worker, or a mold, and a worker in each process that it forks.

    Returns:
        The exit status.
    """
    settings = assignment.settings
    _introduce(assignment)
    assignment.surroundings.logs.patient(True)
    _close_what_is_not_ours(assignment)
    try:
        enter(settings)
        if not assignment.id.is_mold:
            return _be_worker(assignment, partial(_load, settings))
        cast, app = _be_mold(assignment)
        if cast is None:
            return 0
        # From here on this is a worker, which the mold has forked.
        assignment = cast
        faulthandler.register(DUMP_STACKS, file=cast.stacks, all_threads=True)
        _introduce(cast)
        return _be_worker(cast, lambda: app)
    except PreforkError as error:
        _log.error("%s", error)
        _report_failure(assignment, str(error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001  the last place to say it
        _log.exception("error in the worker")
        _report_failure(assignment, "".join(traceback.format_exception(error)))
        return PreforkError.exit_code
    finally:
        signals.ignore()


def enter(settings: Settings) -> None:
    """Make the process what the settings want the app to find: directory, module path,
    environment, user, gevent's patches, and the app's logging.

    Raises:
        PreforkError: it can't be done.
    """
    if settings.umask is not None:
        os.umask(settings.umask)
    directory = home(settings)
    try:
        os.chdir(directory)
    except OSError as error:
        raise BootError(f"chdir = {directory}: {error.strerror}") from None
    paths = [os.path.join(directory, path) for path in settings.pythonpath]
    sys.path[:0] = [directory, *paths]
    systemd.hide(os.environ)
    os.environ.update(settings.env)
    try:
        process.become(*process.user_and_group(settings))
    except PermissionError:
        raise BootError(
            f"user = {settings.user}, group = {settings.group}: not permitted"
        ) from None
    if worker_kind(settings) == "gevent":
        patch()
    logconfig.apply(settings.log)


def _be_worker(assignment: Assignment, load: Callable[[], App]) -> int:
    hooks = Hooks(assignment)
    hooks.forked()
    kind = KINDS[worker_kind(assignment.settings)](assignment)
    try:
        return Worker(assignment, kind).serve(lambda: hooks.initialized(load()))
    finally:
        hooks.exiting()


def _load(settings: Settings) -> App:
    return load_or_show(settings.app) if settings.reload else load_app(settings.app)


def _be_mold(assignment: Assignment) -> tuple[Assignment | None, App]:
    """Be a mold: in a worker that it has forked, that one's assignment, and the app."""
    app = _load(assignment.settings)
    return Mold(assignment).serve(), app


def _report_failure(assignment: Assignment, why: str) -> None:
    """Tell the master, for those who wait for this worker."""
    # What an app raises may not be Unicode throughout.
    text = why[-_LONGEST_FAILURE:].encode("utf-8", "replace").decode()
    with contextlib.suppress(ChannelClosed):
        assignment.channel.send(messages.Failed(text))


def _introduce(assignment: Assignment) -> None:
    """Say who this process is, to those who read the log or look at ps(1)."""
    id = assignment.id
    assignment.surroundings.logs.introduce(str(id), assignment.settings.log_format)
    who = "mold" if id.is_mold else f"worker {id.slot}"
    process.title(assignment.settings, f"{who} gen {id.generation}")


def _close_what_is_not_ours(assignment: Assignment) -> None:
    """Every other fd is a client's connection that the master has lent to somebody."""
    surroundings = assignment.surroundings
    logs = surroundings.logs
    keep = {assignment.channel.fileno(), surroundings.board.fd, assignment.stacks}
    keep.add(logs.error.file.fd)
    keep.update(sock.fileno() for sock in surroundings.sockets)
    if logs.access is not None:
        keep.add(logs.access.fd)
    process.close_all_fds_but(keep)
