"""What is checked before anything begins, and before a reload, beyond the types of the settings.

What the master has no use for itself, or would not dare, a child tries.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable
from typing import NoReturn

from prefork import hooks, logconfig, process, statsd, syslog
from prefork.accesslog import compile_line
from prefork.errors import BootError, UsageError
from prefork.finding import LOOKED_FOR
from prefork.master.addresses import parse_address
from prefork.master.observer import check_metrics
from prefork.networks import Networks
from prefork.settings import Settings, home


def check(settings: Settings) -> None:
    """Check what the types of the settings do not tell.

    Raises:
        UsageError: they can't be used.
    """
    if not settings.app:
        raise UsageError(
            "no app given: prefork MODULE:ATTR, or app = '...' in the TOML file; nor is there one "
            f"in {home(settings)}, where these were looked for: {LOOKED_FOR}"
        )
    if settings.reload and importlib.util.find_spec("watchfiles") is None:
        raise UsageError("reload needs watchfiles: pip install 'prefork[dev]'", "reload")
    for text in settings.bind:
        parse_address(text)
    check_metrics(settings)
    if settings.statsd_host:
        statsd.check(settings.statsd_host)
    Networks(settings.proxy_allow_ips, "proxy_allow_ips")
    Networks(settings.forwarded_allow_ips, "forwarded_allow_ips")
    for setting in ("tls_certificate", "proxy_protocol"):
        if settings.dispatch == "shared" and getattr(settings, setting):
            raise UsageError(
                f'dispatch = "shared" does not go with {setting}: the workers accept there, and '
                "what comes before the first request is the master's affair",
                "dispatch",
            )
    hooks.check(settings.hooks)
    process.user_and_group(settings)
    compile_line(settings.access_log_format)
    for name in ("error_log", "access_log"):
        if syslog.is_syslog(log := getattr(settings, name)):
            syslog.parse(log, name)
    logconfig.check(settings.log)


def check_in_children(settings: Settings) -> None:
    """Have children try what the master has no use for, or would not dare.

    Raises:
        UsageError: it can't be used.
    """
    if settings.tls_certificate:
        _try(settings, _use_certificates)
    if settings.log:
        _try(settings, _enter)


def _try(settings: Settings, use: Callable[[Settings], None]) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _use_in_child(settings, use, write)
    os.close(write)
    with open(read, "rb") as file:
        setting, _, why = file.read().decode().partition("\n")
    _, status = os.waitpid(pid, 0)
    if status:
        raise UsageError(why or "the settings could not be tried", setting)


def _use_in_child(settings: Settings, use: Callable[[Settings], None], output: int) -> NoReturn:
    """In the child: write down which setting is wrong, and why, and be gone, whatever happens."""
    try:
        use(settings)
        os._exit(0)
    except UsageError as error:
        os.write(output, f"{error.setting}\n{error}".encode())
    finally:
        os._exit(1)


def _use_certificates(settings: Settings) -> None:
    from prefork.tls.contexts import context

    context(settings)


def _enter(settings: Settings) -> None:
    """Be what a worker is, but for what else it would fail by: that says the worker itself."""
    from prefork.worker.main import enter

    with contextlib.suppress(BootError):
        enter(settings)


def check_app(settings: Settings) -> None:
    """Import the app, in this process, which then is good for nothing else.

    Raises:
        BootError: it can't be had.
    """
    from prefork.worker.app import load_app
    from prefork.worker.main import enter

    enter(settings)
    load_app(settings.app)
