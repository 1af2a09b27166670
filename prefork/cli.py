"""The command `prefork`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from prefork import __version__, config, log, pidfile, process, signals
from prefork.checks import check, check_app, check_in_children
from prefork.errors import BootError, PreforkError
from prefork.forked import become
from prefork.log import Logs
from prefork.master.binding import bind_all
from prefork.master.door import open_door
from prefork.master.forking import fork
from prefork.master.handover import Handover, settings_of
from prefork.master.link import describe_exit
from prefork.master.listeners import Listener
from prefork.master.loop import Master
from prefork.master.observer import bind_metrics
from prefork.master.upgrade import Inheritance
from prefork.settings import Settings, worker_count, worker_kind
from prefork.signals import MASTER_SIGNALS, SignalPipe
from prefork.systemd import PassedSocket, passed_sockets
from prefork.wire.assignment import Forked, HookAssignment
from prefork.wire.board import Board

_log = logging.getLogger("prefork.master")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: those of the command line, by default sys.argv's.

    Returns:
        The exit status: 0 stopped, 1 error, 2 bad usage or settings, 3 the app failed to boot.
    """
    process.open_standard_streams()
    try:
        inheritance = Inheritance.of(os.environ)
        namespace = config.parse(arguments, os.environ)
        if inheritance is not None and not inheritance.rehearsal:
            return _serve(partial(_take_over, namespace, inheritance))
        if namespace.import_gunicorn is not None:
            return _import(namespace.import_gunicorn)
        loaded = config.load(namespace, os.environ)
        if namespace.print_config:
            print(loaded.as_toml(), end="")
            return 0
        try:
            return _run(namespace, loaded.settings, inheritance)
        except PreforkError as error:
            raise loaded.located(error) from None
    except PreforkError as error:
        print(f"prefork: {error}", file=sys.stderr)
        return error.exit_code


def _import(location: str) -> int:
    from prefork.gunicorn_import import translate

    print(translate(location).as_toml(), end="")
    return 0


def _run(namespace: argparse.Namespace, settings: Settings, rehearsal: Inheritance | None) -> int:
    """Serve; or only check, or rehearse that."""
    check(settings)
    if namespace.check_config:
        check_in_children(settings)
        check_app(settings)
        print(f"prefork: settings and {settings.app} are in order")
        return 0
    if rehearsal is not None:
        return _rehearse(namespace, rehearsal)
    return _serve(partial(_be_master, namespace, settings))


def _serve(be_master: Callable[[], int]) -> int:
    """Be the master, and in a forked child a worker."""
    try:
        return be_master()
    except Forked as forked:
        assignment = forked.assignment
    # Out of the handler: the master's stack, which the exception held, is gone.
    return become(assignment)


def _reloaded(namespace: argparse.Namespace) -> Settings:
    """The settings as they are now.

    Raises:
        UsageError: they can't be used.
    """
    fresh = config.load(namespace, os.environ)
    try:
        check(fresh.settings)
    except PreforkError as error:
        raise fresh.located(error) from None
    return fresh.settings


def _be_master(namespace: argparse.Namespace, settings: Settings) -> int:
    # First of all: a signal is obeyed as soon as somebody can know our pid.
    received = SignalPipe(MASTER_SIGNALS)
    process.raise_file_limit()
    check_in_children(settings)
    owner = process.user_and_group(settings)
    logs = log.start(settings.error_log, settings.access_log, settings.log_level)
    logs.introduce(f"master pid={os.getpid()}", settings.log_format)
    process.title(settings, "master")
    pidfile.write(settings.pidfile)
    with pidfile.kept(settings.pidfile):
        tls = bool(settings.tls_certificate)
        passed = passed_sockets(os.environ)
        _call_first_hook(settings, logs)
        listeners = bind_all(settings.bind, settings.backlog, settings.umask, owner, tls, passed)
        metrics = bind_metrics(settings)
        count = worker_count(settings, process.usable_cpus)
        workers = "worker" if count == 1 else "workers"
        what = f"{count} {worker_kind(settings)} {workers} for {settings.app}"
        _log.info("prefork %s: %s", __version__, what)
        for remark in namespace.ignored:
            _log.warning("%s", remark)
        for listener in listeners:
            _log.info("listening on %s", listener)
        if metrics is not None:
            _log.info("metrics at %s", metrics)
        _name_unused(passed, listeners)
        load = partial(_reloaded, namespace)
        door = open_door(settings.control_socket)
        return Master(settings, load, listeners, Board(), logs, received, door, metrics).run()


def _name_unused(passed: list[PassedSocket], listeners: list[Listener]) -> None:
    used = {listener.sock.fileno() for listener in listeners}
    for each in passed:
        if each.fd not in used:
            _log.warning("nobody serves at fd://%d (%s): bind does not say so", each.fd, each.name)


def _take_over(namespace: argparse.Namespace, inheritance: Inheritance) -> int:
    """Be the master that this process has been all along."""
    # Again first of all: what was held back until somebody would obey.
    received = SignalPipe(MASTER_SIGNALS)
    signals.unblock()
    process.raise_file_limit()
    state = inheritance.read()
    first = settings_of(state.first_settings)
    logs = _logs(state, first)
    master = _rebuilt(namespace, state, logs, received)
    since = state.since
    # The master has it now, and lets go of what ends.
    del state
    with pidfile.kept(first.pidfile):
        return master.go_on(since)


def _logs(state: Handover, settings: Settings) -> Logs:
    error, access = state.error_log, state.access_log
    logs = log.use(
        log.inherited(error.path, error.fd),
        log.inherited(access.path, access.fd) if access is not None else None,
        settings.log_level,
    )
    logs.introduce(f"master pid={os.getpid()}", settings.log_format)
    return logs


def _rehearse(namespace: argparse.Namespace, inheritance: Inheritance) -> NoReturn:
    """Do what taking over is, up to where it would have consequences."""
    logs = log.start("-", "", "warning")
    _rebuilt(namespace, inheritance.read(), logs, SignalPipe(MASTER_SIGNALS))
    inheritance.rehearsed()


def _rebuilt(
    namespace: argparse.Namespace, state: Handover, logs: Logs, received: SignalPipe
) -> Master:
    first = settings_of(state.first_settings)
    load = partial(_reloaded, namespace)
    listeners = [Listener.taken_over(each) for each in state.listeners]
    door = Listener.taken_over(state.control) if state.control is not None else None
    metrics = Listener.taken_over(state.metrics) if state.metrics is not None else None
    master = Master(first, load, listeners, Board(state.board), logs, received, door, metrics)
    master.take_over(state)
    return master


def _call_first_hook(settings: Settings, logs: Logs) -> None:
    """Call `on_starting`, and wait until it is done: nobody is served yet.

    Raises:
        BootError: it has failed.
    """
    name = "on_starting"
    if name not in settings.hooks:
        return
    count = worker_count(settings, process.usable_cpus)
    task = HookAssignment(name, settings, logs, os.getpid(), tuple(settings.bind), count)
    pid = fork(None, lambda: None, lambda: task)
    _, status = os.waitpid(pid, 0)
    if status:
        raise BootError(f"hooks.{name} {describe_exit(status)}")
