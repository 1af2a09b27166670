"""The renewal of terminators: what asks for new ones, and those that are to take over."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from prefork.master.terminator import Terminator
from prefork.settings import STARTED_IN, TABLE, Settings

# What terminators go by.
_SETTINGS = [name for name in TABLE if name.startswith("tls_")]
_SETTINGS += ["header_timeout", "user", "group", "log_level", "proc_name"]


@dataclass(eq=False)
class Renewal:
    """New terminators, which are to take the places of all others when the last one is ready."""

    settings: Settings
    done: Callable[[], None]
    failed: Callable[[str], None]
    fingerprint: object
    ready: set[Terminator] = field(default_factory=set)
    booting: set[Terminator] = field(default_factory=set)

    @property
    def terminators(self) -> set[Terminator]:
        """All of them, ready or not."""
        return self.booting | self.ready

    def booted(self, terminator: Terminator) -> None:
        """One of them is ready."""
        self.booting.remove(terminator)
        self.ready.add(terminator)


def fingerprint(settings: Settings) -> object:
    """What terminators depend on: the settings, and the files that these name."""
    values = {name: getattr(settings, name) for name in _SETTINGS}
    files = [settings.tls_certificate, settings.tls_key, settings.tls_ca]
    for pair in settings.tls_hosts.values():
        files += pair.split(":", 1)
    return values, [_version(os.path.join(STARTED_IN, file)) for file in files if file]


def _version(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
