"""The watcher: a process that sends the master SIGHUP when the code has changed.

It watches directories, not what was imported: a file that could not be imported is noticed when it
is mended.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

from prefork import child
from prefork.settings import Settings, home
from prefork.wire.assignment import WatcherAssignment

# So often extra files are looked at, and whether the master still lives.
_LOOK_MILLISECONDS = 300

_log = logging.getLogger("prefork.watcher")


def main(assignment: WatcherAssignment) -> int:
    """Be the watcher, for as long as the master lives.

    Returns:
        The exit status.
    """
    settings, logs, master = assignment.settings, assignment.logs, assignment.master
    child.begin("watcher", settings, logs)
    try:
        for path in _changes(settings):
            if os.getppid() != master:
                break
            if path:
                _log.info("%s has changed", path)
                os.kill(master, signal.SIGHUP)
    except (OSError, RuntimeError) as error:  # such as of a limit of inotify(7)
        _log.error("files can't be watched: %s", error)
        return 1
    return 0


def _changes(settings: Settings) -> Iterator[str]:
    """A path that has changed, of several at a time one; empty when some time has passed."""
    # Here, not above: an extra that only this process needs.
    from watchfiles import PythonFilter, watch

    directories = _watched(settings)
    extra = _versions(settings)
    begun = False
    for changes in watch(
        *directories,
        watch_filter=PythonFilter(),
        force_polling=True if settings.reload_engine == "poll" else None,
        rust_timeout=_LOOK_MILLISECONDS,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    ):
        if not begun:
            begun = True
            _log.info("watching %s", ", ".join(directories))
        before, extra = extra, _versions(settings)
        files = [path for path in extra if extra[path] != before[path]]
        yield min([*files, *(path for _, path in changes)], default="")


def _watched(settings: Settings) -> list[str]:
    """The directories of the module path that the settings name."""
    directory = home(settings)
    paths = [directory, *(os.path.join(directory, path) for path in settings.pythonpath)]
    return [path for path in paths if os.path.isdir(path)]


def _versions(settings: Settings) -> dict[str, object]:
    """What would be different if an extra file was: it may be missing for now."""
    found: dict[str, object] = {}
    for file in settings.reload_extra_files:
        path = os.path.join(home(settings), file)
        try:
            status = os.stat(path)
        except OSError:
            found[path] = None
        else:
            found[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found
