"""How a setting is declared: its heading, its spelling, and the bounds that many of them have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from msgspec import Meta

# At most a year: "endless" is a number that somebody has thought about.
_YEAR = 365 * 86400
Seconds = Annotated[float, Meta(ge=0, le=_YEAR)]
Timeout = Annotated[float, Meta(gt=0, le=_YEAR)]

# The board has rows for twice as many, and more: each may have a replacement beside it.
MOST_WORKERS = 400


class Group(Enum):
    """The headings under which settings are listed."""

    APP = "Application"
    LISTEN = "Listening"
    WORKERS = "Workers"
    RELOAD = "Reloading and stopping"
    CLIENTS = "Clients"
    TLS = "TLS"
    LIMITS = "Limits on requests"
    PROCESS = "Process"
    LOG = "Logging"
    METRICS = "Metrics"


@dataclass(frozen=True)
class Option:
    """How a setting is spelled and explained outside of TOML.

    `flags` are the flags, by default `--name-of-it`; `alias` is another name for the key;
    `parse` turns a string into the value where the type alone does not say how. What is `fixed` is
    bound, opened or written once: a reload can't change it.
    """

    group: Group
    help: str
    flags: tuple[str, ...] = ()
    metavar: str = ""
    alias: str = ""
    parse: Callable[[str], object] | None = None
    fixed: bool = False
