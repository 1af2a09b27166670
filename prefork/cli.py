"""The command `prefork`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence

from prefork import __version__, config, log, process
from prefork.accesslog import compile_format
from prefork.errors import PreforkError, UsageError
from prefork.master.link import Forked
from prefork.master.listeners import bind_all
from prefork.master.loop import Master
from prefork.settings import Settings, worker_count
from prefork.wire.assignment import Assignment

_log = logging.getLogger("prefork.master")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: those of the command line, by default sys.argv's.

    Returns:
        The exit status: 0 stopped, 1 error, 2 bad usage or settings, 3 the app failed to boot.
    """
    namespace = config.parse(arguments, os.environ)
    try:
        loaded = config.load(namespace, os.environ)
        if namespace.print_config:
            print(loaded.as_toml(), end="")
            return 0
        check(loaded.settings)
        if namespace.check_config:
            return _check_app(loaded.settings)
        return _serve(namespace, loaded.settings)
    except PreforkError as error:
        print(f"prefork: {error}", file=sys.stderr)
        return error.exit_code


def check(settings: Settings) -> None:
    """Check what only settings together, or this machine, can tell.

    Raises:
        UsageError: they can't be used.
    """
    if not settings.app:
        raise UsageError("no app given: prefork MODULE:ATTR, or app = '...' in the TOML file")
    process.user_and_group(settings)
    compile_format(settings.access_log_format)


def _serve(namespace: argparse.Namespace, settings: Settings) -> int:
    """Be the master, and in a forked child a worker."""
    try:
        return _be_master(namespace, settings)
    except Forked as forked:
        assignment = forked.assignment
    # Out of the handler: the master's stack, which the exception held, is gone.
    return _be_worker(assignment)


def _be_master(namespace: argparse.Namespace, settings: Settings) -> int:
    process.raise_file_limit()
    owner = process.user_and_group(settings)
    logs = log.start(settings.error_log, settings.access_log, settings.log_level)
    logs.introduce(f"master pid={os.getpid()}")
    process.title(settings, "master")
    with _pidfile(settings.pidfile):
        listeners = bind_all(settings.bind, settings.backlog, settings.umask, owner)
        count = worker_count(settings, process.usable_cpus)
        _log.info(
            "prefork %s: %d %s workers for %s",
            __version__,
            count,
            settings.worker_class,
            settings.app,
        )
        for listener in listeners:
            _log.info("listening on %s", listener)

        def load() -> Settings:
            fresh = config.load(namespace, os.environ).settings
            check(fresh)
            return fresh

        return Master(settings, load, listeners, logs).run()


def _be_worker(assignment: Assignment) -> int:
    # Here, not above: the master imports neither gevent nor the app, and never an HTTP parser.
    from prefork.worker.main import main as be_worker

    return be_worker(assignment)


def _check_app(settings: Settings) -> int:
    from prefork.worker.app import load_app
    from prefork.worker.main import enter

    enter(settings)
    load_app(settings.app)
    print(f"prefork: settings and {settings.app} are in order")
    return 0


@contextlib.contextmanager
def _pidfile(path: str) -> Iterator[None]:
    """Keep the master's pid in a file for as long as it lives.

    Raises:
        UsageError: another process that lives has its pid there, or it can't be written.
    """
    if not path:
        yield
        return
    path = os.path.abspath(path)
    pid = os.getpid()
    try:
        other = _living(path)
        if other is not None:
            raise UsageError(f"pidfile = {path}: prefork runs already, with pid {other}")
        with open(f"{path}.{pid}", "w") as file:
            file.write(f"{pid}\n")
        os.replace(file.name, path)
    except OSError as error:
        raise UsageError(f"pidfile = {path}: {error.strerror}") from None
    try:
        yield
    finally:
        # Workers pass here too, with pids of their own.
        if os.getpid() == pid:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _living(path: str) -> int | None:
    """The pid in the file, if a process has it."""
    try:
        with open(path) as file:
            pid = int(file.read())
        os.kill(pid, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    except PermissionError:
        return pid
    return pid if pid != os.getpid() else None
