"""What a child of the master is given when it is forked."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from prefork.log import Logs
from prefork.settings import Settings
from prefork.wire.board import Board, Row
from prefork.wire.channel import TerminatorChannel, WorkerChannel
from prefork.wire.gate import Gate, Gates
from prefork.wire.identity import WorkerId


@dataclass(frozen=True)
class ListenerInfo:
    """A listener as the apps behind it see it: SERVER_NAME and SERVER_PORT."""

    name: str
    port: str


@dataclass(frozen=True)
class Surroundings:
    """What all workers share.

    `master` is the pid of their parent. `sockets` are the listeners if the workers are to accept
    for themselves, in the order of `listeners`, else none.
    """

    master: int
    board: Board
    gates: Gates
    listeners: tuple[ListenerInfo, ...]
    sockets: tuple[socket.socket, ...]
    logs: Logs


@dataclass(frozen=True)
class Assignment:
    """A new worker's place: who it is, whom it talks to, and where it writes its facts.

    `gate` is held for it, and None where there are no semaphores. `stacks` is the fd of a memfd
    that the stacks of its threads are dumped to on demand.
    """

    id: WorkerId
    settings: Settings
    channel: WorkerChannel
    row: Row
    gate: Gate | None
    stacks: int
    surroundings: Surroundings


@dataclass(frozen=True)
class TerminatorAssignment:
    """A new terminator's place: whom it talks to, and what to speak."""

    settings: Settings
    channel: TerminatorChannel
    logs: Logs


@dataclass(frozen=True)
class ObserverAssignment:
    """The place of the process that serves metrics: who ends it by an end of the channel, what it
    reads, and the listening socket."""

    settings: Settings
    channel: TerminatorChannel
    board: Board
    sock: socket.socket
    logs: Logs


@dataclass(frozen=True)
class HookAssignment:
    """A hook that is to be called: its name, and what its function is told: the pid of the master,
    the addresses, how many workers there should be, and what it is about."""

    name: str
    settings: Settings
    logs: Logs
    master: int
    addresses: tuple[str, ...]
    size: int
    worker: WorkerId | None = None
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class WatcherAssignment:
    """The watcher's place: the pid of the master, and what to watch."""

    settings: Settings
    logs: Logs
    master: int


# What a child of the master may be.
Task = Assignment | TerminatorAssignment | HookAssignment | ObserverAssignment | WatcherAssignment


class Forked(BaseException):
    """Raised in a new child of the master: it unwinds the master's stack, which is not the child's.

    Not an `Exception`, so that nothing between the fork and the command line stops it.
    """

    def __init__(self, assignment: Task) -> None:
        super().__init__()
        self.assignment = assignment
