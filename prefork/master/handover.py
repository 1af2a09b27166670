"""The handover: all that a master has, as data, for the one that takes its place. Pure.

The process stays, and with it the children, their pids and the fds; the time is the kernel's, so
deadlines stay what they are. What the master knows of them goes as one message, of which this is
the vocabulary. The records of workers, connections and books go as they are.

Not handed over are the gates, which have no names: from a worker whose gate the master has not,
nothing is recalled; the reload that follows an upgrade replaces it. Nor what there is none of when
it is handed over: loans not sent yet, steps not taken yet, a rollout, workers that a mold is
forking.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from prefork import __version__
from prefork.errors import HandoverError
from prefork.master.backoff import Backoff
from prefork.master.connection import Connection
from prefork.master.dispatch import Books
from prefork.master.life import Worker
from prefork.settings import TABLE, Settings
from prefork.wire.facts import Counts

# To be raised with every change to what can be reached from `Handover`, and to all else that the
# workers of one version and the master of another have in common: the messages, the board, recall.
VERSION = 4

# Standard streams are everybody's anyway.
_STANDARD = frozenset({0, 1, 2})


# Connections that wait, and until when: monotonic seconds.
Waits = list[tuple[Connection, float]]


class Listener(msgspec.Struct, frozen=True):
    """A listening socket, with the path that it has removed at its end, and what is there; and
    whether TLS is spoken at it."""

    fd: int
    path: str
    identity: tuple[int, int] | None
    secure: bool = False


class LogFile(msgspec.Struct, frozen=True):
    """An open log file; the path is empty for a standard stream."""

    path: str
    fd: int


class Link(msgspec.Struct, frozen=True):
    """A worker with the fds of its channel and its stacks, the number of its row, and what was not
    sent to it yet; see `link.Link`. Or a mold, which has no books."""

    worker: Worker
    books: Books[Connection] | None
    channel: int
    unsent: list[tuple[bytes, list[int]]]
    row: int
    stacks: int
    timeout: float
    stopped: bool
    exit_due: float


class Terminator(msgspec.Struct, frozen=True):
    """A terminator that serves, or drains, with the fd of its channel and what was not sent yet."""

    pid: int
    channel: int
    unsent: list[tuple[bytes, list[int]]]
    draining: bool


class Arrivals(msgspec.Struct, frozen=True):
    """The connections on their way in: those of which is still to be said whose they are, and those
    that wait for a terminator; how many a terminator has got."""

    unintroduced: Waits
    waiting: list[Connection]
    count: int


class Fleet(msgspec.Struct, frozen=True):
    """What the fleet is to be; its workers and molds are those of the links."""

    size: int
    generation: int
    newest: int
    preloaded: set[int]
    backoffs: dict[int, Backoff]


class Lending(msgspec.Struct, frozen=True):
    """The ring, by pid, with the turns that each has had; and the connections that no worker has:
    some until a time, some until a worker has room for them."""

    turns: list[tuple[int, int]]
    parked: Waits
    lingering: Waits
    waiting: list[Connection]
    arrivals: Arrivals


class Handover(msgspec.Struct, frozen=True):
    """A master. `first_settings` are those that it was started with, `settings` those of the
    generation that serves, `board` is the fd of the board's memory, `control` the control socket,
    `metrics` where these are served; `since` is the monotonic time, and `began` that at which its
    service began. `requests` were begun by workers that are gone; `counts` are what has happened
    so far."""

    since: float
    first_settings: dict[str, Any]
    settings: dict[str, Any]
    error_log: LogFile
    access_log: LogFile | None
    listeners: list[Listener]
    board: int
    fleet: Fleet
    links: list[Link]
    lending: Lending
    terminators: list[Terminator]
    metrics: Listener | None
    counts: Counts
    control: Listener | None
    began: float
    requests: int

    def connections(self) -> Iterator[Connection]:
        """All connections, whoever has them."""
        for link in self.links:
            if link.books is not None:
                yield from link.books.loans.values()
        lending = self.lending
        arrivals = lending.arrivals
        for connection, _ in (*lending.parked, *lending.lingering, *arrivals.unintroduced):
            yield connection
        yield from lending.waiting
        yield from arrivals.waiting

    def fds(self) -> set[int]:
        """The fds that it is about. (Those of what is unsent are of loans, or of logs.)"""
        logs = {log.fd for log in (self.error_log, self.access_log) if log is not None}
        fds = {self.board, *(logs - _STANDARD)}
        fds.update(listener.fd for listener in self.listeners)
        if self.metrics is not None:
            fds.add(self.metrics.fd)
        fds.update(connection.fd for connection in self.connections())
        for link in self.links:
            fds |= {link.channel, link.stacks}
        fds.update(each.channel for each in self.terminators)
        if self.control is not None:
            fds.add(self.control.fd)
        return fds


class _Message(msgspec.Struct, frozen=True, array_like=True):
    version: int
    handover: msgspec.Raw


_decode_message = msgspec.msgpack.Decoder(_Message).decode
_decode_handover = msgspec.msgpack.Decoder(Handover).decode


def encode(handover: Handover) -> bytes:
    """The handover as bytes, with the version of what they say."""
    raw = msgspec.Raw(msgspec.msgpack.encode(handover))
    return msgspec.msgpack.encode(_Message(VERSION, raw))


def decode(data: bytes) -> Handover:
    """What `encode` has made, maybe that of another version of prefork.

    Raises:
        HandoverError: it can't be taken over.
    """
    try:
        message = _decode_message(data)
        if message.version != VERSION:
            raise HandoverError(
                f"prefork {__version__} can't take over from the version that runs (a handover of "
                f"the form {message.version}, and not {VERSION}): this needs a restart"
            )
        return _decode_handover(message.handover)
    except msgspec.DecodeError as error:
        raise HandoverError(f"the handover makes no sense: {error}") from None


def settings_of(values: dict[str, Any]) -> Settings:
    """Settings that were handed over: those that this version knows, and defaults for the rest.

    Raises:
        HandoverError: one is not valid any more.
    """
    known = {name: value for name, value in values.items() if name in TABLE}
    try:
        return msgspec.convert(known, Settings)
    except msgspec.ValidationError as error:
        raise HandoverError(f"the settings that were handed over: {error}") from None
