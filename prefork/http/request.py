"""A request that has arrived, what has arrived of one, and what is accepted of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from prefork.http.body import Body, Stream


class Phase(Enum):
    """What of a request has arrived: nothing yet, a part of its head, or a part of its body."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"


@dataclass(frozen=True)
class Limits:
    """What is accepted of a request: sizes in bytes, `body` 0 for any."""

    line: int
    fields: int
    field_size: int
    body: int

    @property
    def head(self) -> int:
        """The most bytes that a head within the other limits can have."""
        return self.line + self.fields * (self.field_size + 4)


class Request(msgspec.Struct, eq=False):
    """One request that has arrived: whole, or all but the body, if that is a `Stream`.

    `environ` holds its meta-variables, `body` is None where it has none, `persistent` says
    whether the client lets the connection live on (RFC 9112, section 9.3). Where it asks for
    another protocol (RFC 9110, section 7.8), `behind` is what has arrived together with it, behind
    its head.
    """

    environ: dict[str, Any]
    body: Body | Stream | None
    http11: bool
    persistent: bool
    behind: memoryview | None = None
