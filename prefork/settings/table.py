"""The settings table: what its parts declare, as the code that reads it sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from prefork.settings.option import Option
from prefork.settings.process import ProcessSettings


class Settings(ProcessSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one generation, valid and complete."""


@dataclass(frozen=True)
class Setting:
    """A row of the table, as the code that reads the table sees it."""

    name: str
    type: Any
    default: Any
    option: Option

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of the command line; the last one is shown in messages."""
        return self.option.flags or ("--" + self.name.replace("_", "-"),)

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "PREFORK_" + self.name.upper()

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it may be, or nothing where it is no such setting."""
        bare = get_args(self.type)[0]
        return get_args(bare) if getattr(bare, "__origin__", None) is Literal else ()


def _table() -> dict[str, Setting]:
    hints = get_type_hints(Settings, include_extras=True)
    defaults = Settings()
    rows = {}
    for name, hint in hints.items():
        (option,) = (note for note in hint.__metadata__ if isinstance(note, Option))
        rows[name] = Setting(name, hint, getattr(defaults, name), option)
    return rows


TABLE = _table()
