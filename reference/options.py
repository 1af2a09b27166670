"""The options of a command line, as the items of a list."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from reference.roff import bold, italic, item
from reference.words import sentence


def options(actions: Iterable[argparse.Action]) -> Iterator[str]:
    """What is said of each of them by `--help`."""
    for action in actions:
        if action.option_strings and action.help != argparse.SUPPRESS:
            yield from item(synopsis(action), sentence(action.help or ""))


def synopsis(action: argparse.Action) -> str:
    """How an option is written: its flags and what follows them."""
    if not action.option_strings:
        return italic(action.dest)
    flags = ", ".join(map(bold, action.option_strings))
    return f"{flags} {italic(str(action.metavar))}" if action.metavar else flags


def commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The commands, each with what follows it, and its own options."""
    (found,) = (each for each in parser._actions if each.nargs == argparse.PARSER)
    assert isinstance(found.choices, dict)
    common = {action.dest for action in parser._actions}
    for name, each in found.choices.items():
        own = [action for action in each._actions if action.dest not in common]
        arguments = "".join(f" {_argument(action)}" for action in own if not action.option_strings)
        yield from item(bold(name) + arguments, each.description or "")
        for action in own:
            if action.option_strings:
                yield from (".RS", *options([action]), ".RE")


def _argument(action: argparse.Action) -> str:
    name = italic(str(action.metavar))
    return f"[{name} ...]" if action.nargs == "*" else name
