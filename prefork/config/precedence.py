"""The settings, of all that was given: which value wins, and where it came from."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from prefork.config.conversion import convert
from prefork.config.sources import from_command_line, from_environment, from_platform
from prefork.config.toml import key_toml, value_toml
from prefork.config.toml_file import from_toml
from prefork.errors import PreforkError, UsageError
from prefork.finding import find_app
from prefork.settings import TABLE, Settings, home


@dataclass(frozen=True)
class Config:
    """The settings, and for each one where its value came from."""

    settings: Settings
    origins: Mapping[str, str]

    def located(self, error: PreforkError) -> PreforkError:
        """The error, with the origin of the setting that is at fault in front."""
        setting = error.setting if isinstance(error, UsageError) else ""
        origin = self.origins.get(setting)
        return UsageError(f"{origin}: {error}") if origin else error

    def as_toml(self) -> str:
        """All settings as a TOML file, each with its origin in a comment."""
        plain, tables = [], []
        for row in TABLE.values():
            value = getattr(self.settings, row.name)
            origin = self.origins.get(row.name, "default")
            if isinstance(value, dict):
                tables += [f"\n[{row.name}]  # {origin}"]
                tables += [f"{key_toml(key)} = {value_toml(item)}" for key, item in value.items()]
            elif value is None:
                plain.append(f"# {row.name} is not set  # {origin}")
            else:
                plain.append(f"{row.name} = {value_toml(value)}  # {origin}")
        return "\n".join(plain + tables) + "\n"


def load(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    """The settings, from all their sources.

    Args:
        arguments: what `parse` has given.
        environ: the environment.

    Raises:
        UsageError: a value, or the configuration file, can't be used.
    """
    sources = [from_platform(environ)]
    if arguments.config:
        sources.append(from_toml(arguments.config))
    sources += [from_environment(environ), from_command_line(arguments)]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source in sources:
        for given in source:
            values[given.name] = convert(given)
            origins[given.name] = given.origin
    settings = Settings(**values)
    if not settings.app and (found := find_app(home(settings))):
        settings = msgspec.structs.replace(settings, app=found)
        origins["app"] = f"found in {home(settings)}"
    return Config(settings, origins)
