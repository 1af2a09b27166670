"""What a forked child of the master does first, and last."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from prefork import process, signals
from prefork.errors import PreforkError
from prefork.log import Logs
from prefork.settings import Settings


def begin(who: str, settings: Settings, logs: Logs, *fds: int) -> None:
    """Say who this process is, to those who read the log or look at ps(1), and close all that it
    has inherited but these fds and the log: listeners, and connections of clients."""
    logs.introduce(f"{who} pid={os.getpid()}", settings.log_format)
    process.title(settings, who)
    process.close_all_fds_but({logs.error.file.fd, *fds})


def end(serve: Callable[[], None], who: str, log: logging.Logger) -> int:
    """Serve to the end of this process, and have what it fails by logged.

    Returns:
        The exit status.
    """
    try:
        serve()
    except PreforkError as error:
        log.error("%s", error)
        return error.exit_code
    except Exception:  # the last place to say it
        log.exception("error in the %s", who)
        return PreforkError.exit_code
    finally:
        signals.ignore()
    return 0
