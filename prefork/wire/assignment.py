"""What a worker is given when it is forked."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from prefork.log import Logs
from prefork.settings import Settings
from prefork.wire.board import Board, Row
from prefork.wire.channel import WorkerChannel
from prefork.wire.gate import Gate
from prefork.wire.identity import WorkerId


@dataclass(frozen=True)
class ListenerInfo:
    """A listener as the apps behind it see it: SERVER_NAME and SERVER_PORT."""

    name: str
    port: str


@dataclass(frozen=True)
class Assignment:
    """A new worker's place: who it is, whom it talks to, and where it writes its facts.

    `gate` is held for it, and None where there are no semaphores. `stacks` is the fd of a memfd
    that the stacks of its threads are dumped to on demand. `sockets` are the listeners if it is to
    accept for itself, in the order of `listeners`, else none.
    """

    id: WorkerId
    settings: Settings
    channel: WorkerChannel
    board: Board
    row: Row
    gate: Gate | None
    stacks: int
    listeners: tuple[ListenerInfo, ...]
    sockets: tuple[socket.socket, ...]
    logs: Logs
