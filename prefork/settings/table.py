"""The settings table: what its parts declare, as the code that reads it sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

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
    def bare(self) -> Any:
        """The type, without what is said about it."""
        return get_args(self.type)[0]

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it may be, or nothing where it is no such setting."""
        return get_args(self.bare) if get_origin(self.bare) is Literal else ()

    @property
    def holds_several(self) -> bool:
        """Whether a flag is repeated, or a string split, to give several values."""
        return get_origin(self.bare) in (list, dict) and self.option.parse is None


def _table() -> dict[str, Setting]:
    hints = get_type_hints(Settings, include_extras=True)
    defaults = Settings()
    rows = {}
    for name, hint in hints.items():
        (option,) = (note for note in hint.__metadata__ if isinstance(note, Option))
        rows[name] = Setting(name, hint, getattr(defaults, name), option)
    return rows


TABLE = _table()
