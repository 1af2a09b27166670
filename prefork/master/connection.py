"""A client's connection, as the master has it. Pure."""

from __future__ import annotations

import msgspec

from prefork.wire.introduction import Secure


class Connection(msgspec.Struct, eq=False):
    """A client's connection: the master's copy of its fd, and where it came from.

    `listener` is the index of the listener. `moved` says that it has been lent before.
    `termination` is what it is called in the terminator that speaks TLS with the client, 0 if none
    does; `secure` is what whoever speaks TLS has said of that.
    """

    fd: int
    listener: int
    host: str
    port: int
    moved: bool
    termination: int = 0
    secure: Secure | None = None
