"""The command `preforkctl`, as people and scripts run it."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.server import PATIENCE, ROOT

_CODE = "from prefork.ctl.main import main; {}raise SystemExit(main())"
WORDS = [sys.executable, "-c", _CODE.format("")]
# Who may not be able to read what it consists of: it is all imported before.
_BECOME_NOBODY = (
    "import os; from prefork.ctl.main import parser; parser().format_help(); os.setuid(65534); "
)
AS_NOBODY = [sys.executable, "-c", _CODE.format(_BECOME_NOBODY)]


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A directory for control sockets, with a path that is short enough for them."""
    directory = Path(tempfile.mkdtemp(prefix="ctl-"))
    yield directory
    shutil.rmtree(directory)


def environ(runtime: Path) -> dict[str, str]:
    """The environment of whoever has this runtime directory."""
    return {"XDG_RUNTIME_DIR": str(runtime)}


def begin(runtime: Path, *arguments: str, words: list[str] = WORDS) -> subprocess.Popen[str]:
    """Start the command."""
    return subprocess.Popen(
        [*words, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ(runtime)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def on_a_terminal(runtime: Path, *arguments: str, first: str = "") -> str:
    """What the command shows on a terminal, with its escape sequences; `first` is Python code."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE.format(first), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environ(runtime)},
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while data := os.read(ours, 65536):
            shown += data
    os.close(ours)
    assert process.wait(PATIENCE) == 0
    return shown.decode()


class Outcome(msgspec.Struct):
    """How the command has ended, and what it has said."""

    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        """What it has said as JSON."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]


def end(process: subprocess.Popen[str]) -> Outcome:
    """Wait until the command has ended."""
    out, err = process.communicate(timeout=PATIENCE)
    return Outcome(process.returncode, out, err)


def ctl(runtime: Path, *arguments: str, words: list[str] = WORDS) -> Outcome:
    """Run the command to its end."""
    return end(begin(runtime, *arguments, words=words))
