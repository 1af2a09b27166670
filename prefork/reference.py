"""The man page and the sample configuration, made from the settings table.

    python -m prefork.reference man     what man/prefork.1 is
    python -m prefork.reference conf    what conf/prefork.toml is

The same code makes the same text on every machine and day: the version stands for the date.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import inspect

from prefork import __version__
from prefork.config import parser, value_toml
from prefork.errors import BootError, PreforkError, UsageError
from prefork.settings import TABLE, Group, Setting
from prefork.signals import COMMANDS, Command

EXIT_STATUS = {
    0: "It was told to stop, or has shown or checked what it was asked to, and all was well.",
    PreforkError.exit_code: "It failed for another reason than those below.",
    UsageError.exit_code: "The command line, an environment variable, the configuration file or "
    "an address to listen on can't be used.",
    BootError.exit_code: "The first workers failed to boot: the app can't be imported, raised, "
    "or was not ready in time.",
}

# TOML has no value that means "not set": these lines show another one.
_INSTEAD_OF_NONE = {"umask": "0o022"}

_WIDTH = 78

_DESCRIPTION = """\
Serves a WSGI app (PEP 3333) over HTTP/1.1. A master process listens, accepts the connections and \
keeps them; worker processes, which it forks, run the app. A connection is only lent to a worker, \
so a worker can end at any time, and what waits on its connections is served by another.

SIGHUP replaces the workers one at a time, the new one first. A new worker that fails to boot \
ends the reload and leaves the old ones serving.

It stays in the foreground, and says on standard error what it does.
"""

_CONFIGURATION = """\
The file given by -c, or by PREFORK_CONFIG, is TOML, whose keys are the settings above. A key \
that is no setting, or a value that is not valid, is an error that names the file and the line.

A value on the command line wins over one from a PREFORK_ variable, then comes the file, then PORT \
and WEB_CONCURRENCY, then the default. --print-config shows the outcome, and where each value \
came from.

A reload reads the file again; if it can't be used, nothing changes. What the master opens once, \
the addresses, the pid file and the logs, changes with a restart only.

This prints a commented sample with every setting:
"""

_VARIABLES = {
    "PORT": "Port to listen on, on all IPv4 addresses, where no address is set.",
    "WEB_CONCURRENCY": "Number of workers, or auto, where that is not set.",
    "PREFORK_CONFIG": "The configuration file, where -c is not given.",
    "PREFORK_SETTING": "Any setting by its name in capitals, such as PREFORK_WORKERS. Several "
    "values are separated by commas; PREFORK_ENV has the form KEY=VALUE,KEY=VALUE.",
}

_TO_A_WORKER = "A worker that is sent SIGTERM finishes its requests, exits, and is replaced."

_EXAMPLES = {
    "The demo that comes with prefork, with two workers:": "prefork prefork.demo:app -w 2",
    "An app made by a factory, on a unix socket for a proxy:": (
        "prefork 'mysite:create_app()' -b unix:/run/mysite.sock"
    ),
    "What would be in effect, and whether the app can be imported:": (
        "prefork mysite:app -c mysite.toml --print-config",
        "prefork mysite:app -c mysite.toml --check-config",
    ),
    "Deploy new code:": "kill -HUP $(cat /run/mysite.pid)",
}

_ROFF = str.maketrans(
    {
        "\\": r"\e",
        "-": r"\-",
        "'": r"\(aq",
        '"': r"\(dq",
        "`": r"\(ga",
        "^": r"\(ha",
        "~": r"\(ti",
    }
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the one argument names."""
    texts: dict[str, Callable[[], str]] = {"man": man_page, "conf": sample}
    command = argparse.ArgumentParser(prog="python -m prefork.reference")
    command.add_argument("text", choices=texts)
    print(texts[command.parse_args(arguments).text](), end="")
    return 0


def valid_values(row: Setting) -> str:
    """What a setting may be, in words."""
    if row.choices:
        return " or ".join(value_toml(choice) for choice in row.choices)
    return _values(inspect.type_info(row.type))


# The sample configuration.


def sample() -> str:
    """A TOML file of comments, in which each setting stands at its default value."""
    lines = [
        f"# The settings of prefork {__version__}, at their defaults.",
        "#",
        "# Take away the # before a setting to set it. The command line and PREFORK_ variables",
        "# win over this file; --print-config shows what is in effect, and why.",
    ]
    for group in Group:
        lines += ["", "", f"# ---- {group.value} ----"]
        for row in _rows(group):
            lines += ["", *textwrap.wrap(row.option.help, _WIDTH, **_comment)]
            lines += textwrap.wrap(f"Valid: {valid_values(row)}.", _WIDTH, **_comment)
            lines.append(f"#{row.name} = {_sample_value(row)}")
    return "\n".join(lines) + "\n"


_comment: dict[str, Any] = {
    "initial_indent": "# ",
    "subsequent_indent": "# ",
    "break_on_hyphens": False,
}


def _sample_value(row: Setting) -> str:
    return _INSTEAD_OF_NONE[row.name] if row.default is None else value_toml(row.default)


# The man page, in the man(7) macros.


def man_page() -> str:
    """The man page prefork(1)."""
    lines = [
        r".\" Made by `make docs` from the settings table.",
        f'.TH PREFORK 1 "" "prefork {__version__}" "User Commands"',
        *_section("NAME", [r"prefork \- serve a WSGI app from pre\-forked workers"]),
        *_section("SYNOPSIS", [r"\fBprefork\fR \fIAPP\fR [\fB\-c\fR \fIFILE\fR] [\fIoptions\fR]"]),
        *_section("DESCRIPTION", _paragraphs(_DESCRIPTION)),
        *_section("OPTIONS", _options()),
        *_section("CONFIGURATION FILE", _paragraphs(_CONFIGURATION)),
        *_literally("python -m prefork.reference conf"),
        *_section("ENVIRONMENT", _definitions(_VARIABLES)),
        *_section("SIGNALS", [*_definitions(_signals()), ".PP", *_text(_TO_A_WORKER)]),
        *_section("EXIT STATUS", _definitions({str(n): why for n, why in EXIT_STATUS.items()})),
        *_section("FILES", _definitions(_files())),
        *_section("EXAMPLES", _examples()),
        *_section("SEE ALSO", [r".BR nginx (8), .BR signal (7), .BR unix (7)"]),
    ]
    return "\n".join(lines) + "\n"


def _options() -> Iterator[str]:
    actions = {action.dest: action for action in parser()._actions}
    for dest, action in actions.items():
        if dest not in TABLE and action.option_strings:
            yield from _definition(_flags(action), _sentence(action.help or ""))
    for group in Group:
        yield f".SS {_escape(group.value)}"
        for row in _rows(group):
            yield from _definition(_flags(actions.get(row.name, actions["APP"])), row.option.help)
            yield ".br"
            yield from _text(_facts(row))


def _flags(action: argparse.Action) -> str:
    """The flags with their metavar, in roff."""
    metavar = rf"\fI{_escape(str(action.metavar))}\fR" if action.metavar else ""
    flags = ", ".join(rf"\fB{_escape(flag)}\fR" for flag in action.option_strings)
    return f"{flags} {metavar}".strip()


def _facts(row: Setting) -> str:
    alias = f" (or {row.option.alias})" if row.option.alias else ""
    default = "not set" if row.default is None else value_toml(row.default)
    return f"Key {row.name}{alias}, variable {row.variable}: {valid_values(row)}; {default}."


def _signals() -> dict[str, str]:
    return {
        ", ".join(number.name for number in COMMANDS if COMMANDS[number] is command): _sentence(
            command.value
        )
        for command in Command
    }


def _files() -> dict[str, str]:
    return {
        "conf/prefork.toml, conf/Procfile": "Samples, in the source distribution.",
    }


def _examples() -> Iterator[str]:
    for what, commands in _EXAMPLES.items():
        yield ".PP"
        yield from _text(what)
        yield from _literally(*([commands] if isinstance(commands, str) else commands))


def _section(title: str, lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    yield f".SH {title}"
    yield from lines


def _definitions(entries: dict[str, str]) -> Iterator[str]:
    for term, text in entries.items():
        yield from _definition(rf"\fB{_escape(term)}\fR", text)


def _definition(term: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield term
    yield from _text(text)


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield ".PP"
        yield from _text(paragraph)


def _literally(*commands: str) -> list[str]:
    return [".PP", ".RS 4", ".EX", *map(_escape, commands), ".EE", ".RE"]


def _text(text: str) -> list[str]:
    return [_harmless(line) for line in textwrap.wrap(_escape(text), _WIDTH, **_UNBROKEN)]
