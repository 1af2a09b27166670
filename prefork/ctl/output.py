"""Where `preforkctl` writes: plain lines, or JSON; with rich, in a terminal, colours and tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from prefork.ctl import text


class Output(Protocol):
    """What the commands want shown. All of it goes to standard output, but for `failure`."""

    def answer(self, answer: msgspec.Struct, words: Sequence[str]) -> None:
        """What the master has said, which is also this in words."""

    def status(self, answer: msgspec.Struct, head: Sequence[str], rows: list[list[str]]) -> None:
        """The master, and its workers as `text.COLUMNS` has them."""

    def failure(self, why: str, status: int, trace: str = "") -> None:
        """What was asked for is not done, and the exit status will be this."""


class Json:
    """For programs: what the master has said, an object a line, as it was."""

    def answer(self, answer: msgspec.Struct, words: Sequence[str]) -> None:
        """The answer."""
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.flush()

    def status(self, answer: msgspec.Struct, head: Sequence[str], rows: list[list[str]]) -> None:
        """The answer."""
        self.answer(answer, ())

    def failure(self, why: str, status: int, trace: str = "") -> None:
        """An object like the answers."""
        said = {"is": "error", "why": why, "exit_status": status}
        sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
        sys.stdout.flush()


class Plain:
    """For people, and for files."""

    def answer(self, answer: msgspec.Struct, words: Sequence[str]) -> None:
        """The words."""
        for line in words:
            print(line, flush=True)

    def status(self, answer: msgspec.Struct, head: Sequence[str], rows: list[list[str]]) -> None:
        """The head, and the table."""
        self.answer(answer, [*head, "", *text.table(text.COLUMNS, rows)])

    def failure(self, why: str, status: int, trace: str = "") -> None:
        """On standard error."""
        if trace:
            print(trace, file=sys.stderr)
        print(f"preforkctl: {why}", file=sys.stderr, flush=True)


class Rich(Plain):
    """For people at a terminal.

    Args:
        console: where to write.
    """

    def __init__(self, console: Any) -> None:
        self._console = console

    def answer(self, answer: msgspec.Struct, words: Sequence[str]) -> None:
        """The words, in a colour if they say something good or bad."""
        for line in words:
            self._console.print(line, style=_style(line), markup=False, highlight=False)

    def status(self, answer: msgspec.Struct, head: Sequence[str], rows: list[list[str]]) -> None:
        """The head, and the table."""
        from prefork.ctl.rich import table

        self.answer(answer, head)
        self._console.print(table(text.COLUMNS, rows))


def _style(line: str) -> str:
    if line.startswith("done in"):
        return "bold green"
    if " is ready " in line:
        return "green"
    return "red" if "aborted" in line else ""


def output(json: bool) -> Output:
    """The output that fits."""
    if json:
        return Json()
    console = rich_console()
    return Plain() if console is None else Rich(console)


def rich_console() -> Any:
    """A console of rich's; None without rich, and where there is no terminal."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console()
