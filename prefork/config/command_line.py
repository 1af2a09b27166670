"""The command line: a flag for each setting, those of gunicorn's, and the few that are neither."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence

from prefork import __version__, gunicorn_flags
from prefork.config.sources import CONFIG_VARIABLE
from prefork.settings import STARTED_IN, TABLE, Group, Setting

# Every number that is no whole one is a time.
_METAVARS = {float: "SECONDS", int: "N", str: "NAME"}


def parse(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> argparse.Namespace:
    """Parse the command line; `config` becomes the path of the TOML file, or None.

    The path is made absolute, as a reload reads the file again.
    """
    namespace = parser().parse_args(arguments)
    path = namespace.config or environ.get(CONFIG_VARIABLE)
    namespace.config = os.path.join(STARTED_IN, path) if path else None
    namespace.ignored += gunicorn_flags.remarks(vars(namespace))
    return namespace


def parser() -> argparse.ArgumentParser:
    """The command line: a flag for each setting, and the few that are no settings."""
    result = argparse.ArgumentParser(
        prog="prefork",
        usage="prefork [APP] [-c FILE] [options]",
        description="Serve a WSGI app from pre-forked workers.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Every setting is also a key of the TOML file and a PREFORK_* variable.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    _add_what_is_no_setting(result)
    gunicorn_flags.add(result)
    for group in Group:
        section = result.add_argument_group(group.value)
        for row in TABLE.values():
            if row.option.group is group and row.name != "app":
                _add_flag(section, row)
    return result


def _add_what_is_no_setting(result: argparse.ArgumentParser) -> None:
    result.add_argument("APP", nargs="?", help=TABLE["app"].option.help.replace("%", "%%"))
    result.add_argument("-c", "--config", metavar="FILE", default=None, help="TOML file to read.")
    result.add_argument(
        "--check-config",
        action="store_true",
        default=False,
        help="Check the settings, import the app, and exit.",
    )
    result.add_argument(
        "--print-config",
        action="store_true",
        default=False,
        help="Print the settings in effect as TOML, with their origins, and exit.",
    )
    result.add_argument("--version", action="version", version=f"prefork {__version__}")
    result.add_argument(
        "--import-gunicorn",
        metavar="FILE",
        default=None,
        help="Print a configuration of gunicorn, which is executed, as TOML, and exit.",
    )


def _add_flag(section: argparse._ArgumentGroup, row: Setting) -> None:
    text = row.option.help.replace("%", "%%")
    if row.bare is bool:
        section.add_argument(
            *row.flags, dest=row.name, help=text, action=argparse.BooleanOptionalAction
        )
        return
    section.add_argument(
        *row.flags,
        dest=row.name,
        help=text + _default_note(row),
        action="append" if row.holds_several else "store",
        metavar=row.option.metavar or "|".join(row.choices) or _METAVARS[row.bare],
    )


def _default_note(row: Setting) -> str:
    if row.default in ("", None, [], {}):
        return ""
    shown = ", ".join(row.default) if isinstance(row.default, list) else row.default
    return f" [{shown}]".replace("%", "%%")
