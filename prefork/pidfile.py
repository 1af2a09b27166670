"""The pidfile: where scripts find the master."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from prefork.errors import UsageError


def write(path: str) -> None:
    """Write this process's pid to a file; nothing if path is empty.

    Raises:
        UsageError: another process that lives has its pid there, or it can't be written.
    """
    if path:
        _write(os.path.abspath(path), os.getpid())


@contextlib.contextmanager
def kept(path: str) -> Iterator[None]:
    """Remove the file, which has this process's pid, when the block has run; nothing if path is
    empty."""
    if not path:
        yield
        return
    path = os.path.abspath(path)
    pid = os.getpid()
    try:
        yield
    finally:
        # Workers leave this block too, with pids of their own; and another server may have taken
        # the file over meanwhile.
        if os.getpid() == pid and _read(path) == pid:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _write(path: str, pid: int) -> None:
    other = _read(path)
    if other is not None and other != pid and _lives(other):
        raise UsageError(f"pidfile = {path}: prefork runs already, with pid {other}", "pidfile")
    try:
        # In one step: nobody reads half a number.
        with open(f"{path}.{pid}", "w") as file:
            file.write(f"{pid}\n")
        os.replace(file.name, path)
    except OSError as error:
        raise UsageError(f"pidfile = {path}: {error.strerror}", "pidfile") from None


def _read(path: str) -> int | None:
    """The pid in the file, if it holds one."""
    try:
        with open(path, errors="replace") as file:
            text = file.read(64).strip()
    except OSError:
        return None
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
