"""What a worker is given when it is forked."""

from __future__ import annotations

from dataclasses import dataclass

from prefork.log import Logs
from prefork.settings import Settings
from prefork.wire.board import Board, Row
from prefork.wire.channel import WorkerChannel
from prefork.wire.identity import WorkerId


@dataclass(frozen=True)
class ListenerInfo:
    """A listener as the apps behind it see it: SERVER_NAME and SERVER_PORT."""

    name: str
    port: str


@dataclass(frozen=True)
class Assignment:
    """A new worker's place: who it is, whom it talks to, and where it writes its facts.

    `stacks` is the fd of a memfd that the stacks of its threads are dumped to on demand.
    """

    id: WorkerId
    settings: Settings
    channel: WorkerChannel
    board: Board
    row: Row
    stacks: int
    listeners: tuple[ListenerInfo, ...]
    logs: Logs
