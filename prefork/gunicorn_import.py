"""Coming from gunicorn: a configuration of its is made one of ours.

    prefork --import-gunicorn gunicorn.conf.py >prefork.toml

It is a Python program, which is executed; what it leaves behind is translated. What can't be, or
need not be, stands in comments, with the reason.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from msgspec import convert

from prefork.config import key_toml, value_toml
from prefork.errors import Untranslatable, UsageError
from prefork.gunicorn import EQUALS, NEEDLESS, WITHOUT, Loss
from prefork.gunicorn_logs import syslog_logs
from prefork.hooks import HOOKS, IMPOSSIBLE
from prefork.settings import TABLE

_MODULE = "python:"
_FILE = "file:"


@dataclass
class Translation:
    """A configuration of gunicorn, translated: `settings` and `hooks` by their names here, and what
    was left out, in `remarks`: what, whether it is missed, and why."""

    origin: str
    settings: dict[str, Any] = field(default_factory=dict)
    hooks: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def as_toml(self) -> str:
        """The TOML file, with the remarks as comments."""
        lines = [f"# Made of {self.origin} by prefork --import-gunicorn."]
        lines += [f"#\n# {remark}" for remark in self.remarks]
        tables = {name: value for name, value in self.settings.items() if isinstance(value, dict)}
        lines += ["", *_assignments(self.settings, but=tables)]
        if self.hooks:
            tables["hooks"] = self.hooks
        for name, table in tables.items():
            lines += ["", f"[{name}]", *_assignments(table)]
        return "\n".join(lines) + "\n"


def translate(location: str) -> Translation:
    """Translate a configuration of gunicorn, which is executed for that.

    Args:
        location: a path, or `python:module`, as gunicorn takes it.

    Raises:
        UsageError: it can't be executed.
    """
    names = _execute(location)
    path = location.removeprefix(_MODULE).removeprefix(_FILE)
    translation = Translation(path)
    for name, value in names.items():
        if name in HOOKS:
            translation.hooks[name] = f"{path}:{name}"
        elif name in IMPOSSIBLE:
            translation.remarks.append(f"{name} {Loss.BEHAVIOUR.value}: {IMPOSSIBLE[name]}.")
        elif name in WITHOUT and value and value not in NEEDLESS.get(name, ()):
            loss, why = WITHOUT[name]
            translation.remarks.append(f"{name} {loss.value}: {why}.")
        elif name in EQUALS:
            _translate(translation, name, value)
    _send_to_syslog(translation, names)
    if "workers" in names and {"multiprocessing", "cpu_count"} & set(names):
        translation.remarks.append('workers was computed: "auto" counts the CPUs that may be used.')
    return translation


def _execute(location: str) -> Mapping[str, Any]:
    # As gunicorn has it: what the program imports is found beside it.
    sys.path.insert(0, "")
    try:
        if location.startswith(_MODULE):
            return vars(import_module(location.removeprefix(_MODULE)))
        return runpy.run_path(location.removeprefix(_FILE), run_name="__config__")
    except OSError as error:
        raise UsageError(f"{location}: {error.strerror}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever it was, it is told
        raise UsageError(f"{location}: {type(error).__name__}: {error}") from None


def _translate(translation: Translation, name: str, value: Any) -> None:
    equal = EQUALS[name]
    if value is None:
        return
    try:
        # As lenient as gunicorn is: what comes of an environment variable may be text.
        translated = convert(equal.translate(value), TABLE[equal.name].type, strict=False)
    except Untranslatable as reason:
        translation.remarks.append(f"{name} = {value!r} {Loss.BEHAVIOUR.value}: {reason}.")
        return
    except Exception:  # noqa: BLE001  gunicorn would not take it either
        translation.remarks.append(f"{name} = {value!r} makes no sense.")
        return
    translation.settings[equal.name] = translated
    if value and equal.remark:
        translation.remarks.append(f"{name} {equal.remark}.")


def _send_to_syslog(translation: Translation, names: Mapping[str, Any]) -> None:
    try:
        logs = syslog_logs(names)
    except Untranslatable as reason:
        translation.remarks.append(f"syslog {Loss.BEHAVIOUR.value}: {reason}.")
        return
    for name, daemon in logs.items():
        given = translation.settings.get(name)
        if given:
            translation.remarks.append(f"{name} = {given!r} is left out: a log goes to one place.")
        translation.settings[name] = daemon


def _assignments(table: Mapping[str, Any], but: Mapping[str, Any] | None = None) -> Iterator[str]:
    for key, value in table.items():
        if but is None or key not in but:
            yield f"{key_toml(key)} = {value_toml(value)}"
