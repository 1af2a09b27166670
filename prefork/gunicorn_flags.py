"""Coming from gunicorn: its flags that are none of ours, on our command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from prefork.errors import Untranslatable, UsageError
from prefork.gunicorn import EQUALS, FLAGS, TRANSLATED, Equal, Flag, Loss
from prefork.gunicorn_logs import SYSLOG, redirected, syslog_logs
from prefork.settings import TABLE

_SYSLOG = SYSLOG["syslog"]


def add(parser: argparse.ArgumentParser) -> None:
    """Have a parser take them: what there is to say of them becomes `ignored`, the values of those
    that are translated have gunicorn's names."""
    parser.set_defaults(ignored=[])
    for flag in FLAGS:
        _add_foreign(parser, flag)
    for translated in TRANSLATED:
        parser.add_argument(
            translated.flag,
            dest=translated.name,
            action="store" if translated.valued else "store_true",
            help=argparse.SUPPRESS,
        )


def translated(given: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Settings of ours, with their values and the flags that they come of.

    Args:
        given: the values of all flags, by their names.

    Raises:
        UsageError: one has no equal.
    """
    for theirs, equal in _equals(given):
        try:
            yield equal.name, equal.translate(given[theirs]), equal.flag
        except Untranslatable as reason:
            raise UsageError(f"{equal.flag} {given[theirs]}: {reason}") from None
    try:
        logs = syslog_logs(given)
    except Untranslatable as reason:
        raise UsageError(f"{_SYSLOG}: {reason}") from None
    for name, where in logs.items():
        yield name, where, _SYSLOG


def remarks(given: Mapping[str, Any]) -> list[str]:
    """What is to be said of those that are translated."""
    twice = [TABLE[name].flags[0] for name in redirected(given) if name in given]
    return [
        *(f"{equal.flag} {equal.remark}" for _, equal in _equals(given)),
        *(f"{flag} is left out beside {_SYSLOG}: a log goes to one place" for flag in twice),
    ]


def _equals(given: Mapping[str, Any]) -> Iterator[tuple[str, Equal]]:
    """Those that each have an equal of their own."""
    for flag in TRANSLATED:
        if flag.name in EQUALS and flag.name in given:
            yield flag.name, EQUALS[flag.name]


def _add_foreign(parser: argparse.ArgumentParser, flag: Flag) -> None:
    """A flag of gunicorn's that is none here is accepted where nothing is lost without it."""

    class Foreign(argparse.Action):
        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: Any,
            option_string: str | None = None,
        ) -> None:
            if values in flag.needless:
                return
            remark = f"{option_string} {flag.loss.value}: {flag.why}"
            if flag.loss is Loss.BEHAVIOUR:
                parser.error(remark)
            namespace.ignored = [*namespace.ignored, remark]

    parser.add_argument(
        *flag.spelled,
        action=Foreign,
        nargs=None if flag.valued else 0,
        dest="ignored",
        help=argparse.SUPPRESS,
    )
