"""The command `prefork` as a shell or a supervisor starts it: any arguments, any surroundings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import PATIENCE, ROOT, Server

# What would decide for the tests if the machine that runs them has it set.
_OF_THE_PLATFORM = ("PORT", "WEB_CONCURRENCY", "PWD")


def _open_to_all(path: Path) -> bool:
    return all(directory.stat().st_mode & 0o001 for directory in (path, *path.parents))


# For servers that are started as another user.
as_nobody = pytest.mark.skipif(
    os.getuid() != 0
    or not all(_open_to_all(Path(path)) for path in (ROOT, sys.prefix, sys.base_prefix)),
    reason="only root may start a server as another user, who must be able to read it",
)


def run(
    directory: Path,
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    user: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, in a directory, maybe as another user."""
    return subprocess.run(
        _words(arguments),
        cwd=directory,
        env=_environ(environ),
        user=user,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


class Command(Server):
    """A prefork that was started by a command line. See `launched`."""

    def __init__(
        self,
        directory: Path,
        arguments: tuple[str, ...],
        environ: Mapping[str, str] | None,
        surroundings: Mapping[str, Any],
        under: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.config = directory / "conf.toml"
        self._log_path = directory / "error.log"
        with open(self._log_path, "ab") as log:
            given = {"cwd": directory, "stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.process = subprocess.Popen(
                [*under, *_words(arguments)],
                env=_environ(environ),
                start_new_session=True,
                **{**given, **surroundings},
            )


@contextmanager
def launched(
    directory: Path,
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    under: Sequence[str] = (),
    **surroundings: Any,
) -> Iterator[Command]:
    """A server for the length of the block; its log is shown if the test fails.

    Args:
        directory: where it runs, and where its output goes, to error.log.
        arguments: those of its command line.
        environ: environment variables besides the test's own.
        under: the command that executes it, if not the test.
        surroundings: what subprocess.Popen is to do otherwise.
    """
    server = Command(directory, arguments, environ, surroundings, under)
    try:
        yield server
    finally:
        print(f"----- the server's log -----\n{server.log}")
        server.kill()


def _words(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "prefork", *arguments]


def _environ(environ: Mapping[str, str] | None) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in _OF_THE_PLATFORM}
    own = {name: value for name, value in own.items() if not name.startswith("PREFORK_")}
    return {**own, "PYTHONPATH": str(ROOT), **(environ or {})}
