"""Terminators: the processes that speak TLS with clients.

New certificates are for new terminators: when all of them are ready they get the clients that come
from then on, and the old ones end when their last connection does.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import msgspec

from prefork.log import Logs
from prefork.master import handover
from prefork.master.backoff import Backoffs
from prefork.master.connection import Connection
from prefork.master.forking import fork
from prefork.master.link import describe_exit
from prefork.master.poller import READ, WRITE, Poller
from prefork.settings import STARTED_IN, TABLE, Settings
from prefork.wire import channel, messages
from prefork.wire.assignment import TerminatorAssignment
from prefork.wire.channel import Channel, ChannelClosed, TerminatorMasterChannel

# At a stop they have so many seconds for what clients have not taken yet.
_LAST_SECONDS = 2.0

# They all back off together.
_PLACE = 0

_log = logging.getLogger("prefork.master")


@dataclass(eq=False)
class _Terminator:
    """One of the processes. `deadline` is until when it has to be ready, or gone; one that drains
    gets no more clients."""

    pid: int
    channel: TerminatorMasterChannel
    deadline: float = math.inf
    draining: bool = False

    def __str__(self) -> str:
        return f"tls pid={self.pid}"


@dataclass(eq=False)
class _Renewal:
    """New terminators, which are to take the places of all others when the last one is ready."""

    settings: Settings
    done: Callable[[], None]
    failed: Callable[[str], None]
    fingerprint: object
    ready: set[_Terminator] = field(default_factory=set)
    booting: set[_Terminator] = field(default_factory=set)


class Terminators:
    """The terminators there are.

    Args:
        needed: whether TLS is spoken at all; if not, there are none.
        poller: the master's one wait.
        logs: what they log to.
        disown: closes, in a forked child, what only the master may have.
    """

    def __init__(
        self, needed: bool, poller: Poller, logs: Logs, disown: Callable[[], None]
    ) -> None:
        self._needed = needed
        self._poller = poller
        self._logs = logs
        self._disown = disown
        self._all: dict[int, _Terminator] = {}  # by pid
        # Those that get new clients, in turn; how many there should be; and of what settings.
        self._ring: deque[_Terminator] = deque()
        self._wanted = 0
        self._settings = Settings()
        self._fingerprint: object = None
        self._renewal: _Renewal | None = None
        self._backoffs = Backoffs()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def renewing(self) -> bool:
        """Whether there are new ones that are not ready yet."""
        return self._renewal is not None

    @property
    def settled(self) -> bool:
        """Whether each of them serves or drains, and can be talked to."""
        busy = (each.draining or each in self._ring for each in self._all.values())
        return all(busy) and all(each.channel.fileno() >= 0 for each in self._all.values())

    # Which there are.

    def start(self, settings: Settings, now: float) -> None:
        """Begin, if any are needed."""
        if not self._needed:
            return
        self._settings, self._wanted = settings, settings.tls_processes
        self._fingerprint = _fingerprint(settings)
        self._fill(now)

    def outdated(self, settings: Settings) -> bool:
        """Whether other settings, or files that have changed, want new ones."""
        return self._needed and _fingerprint(settings) != self._fingerprint

    def renew(
        self,
        settings: Settings,
        now: float,
        done: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        """Replace all by new ones. Not while that is being done already.

        Args:
            settings: for the new ones.
            now: monotonic seconds.
            done: called when they have taken over.
            failed: called with the reason when they can't: nothing has changed then.
        """
        assert self._renewal is None
        self._renewal = renewal = _Renewal(settings, done, failed, _fingerprint(settings))
        try:
            for _ in range(settings.tls_processes):
                renewal.booting.add(self._spawn(settings, now))
        except OSError as error:
            self._give_up_renewal(f"fork: {error.strerror}")

    def exited(self, pid: int, status: int, now: float) -> None:
        """A child that is no worker has exited, with this wait status."""
        gone = self._all.pop(pid, None)
        if gone is None:
            return
        why = f"{gone} {describe_exit(status)}"
        _log.log(logging.INFO if gone.draining else logging.ERROR, "%s", why)
        self._forget(gone)
        renewal = self._renewal
        if renewal is not None and gone in renewal.booting | renewal.ready:
            self._give_up_renewal(f"{why} before it was ready")
        elif not gone.draining:
            self._backoffs.failed(_PLACE, now)

    def stop(self, now: float) -> None:
        """End all of them: they send what clients have not taken yet, for a while."""
        self._wanted = 0
        if self._renewal is not None:
            self._give_up_renewal("the service stops")
        for each in self._all.values():
            self._drain(each)
            each.deadline = now + _LAST_SECONDS

    # What they are told.

    def offer(self, order: messages.Terminate, fds: list[int]) -> bool:
        """Give a client to the next one; whether that could be done. The fds may be closed then."""
        if not self._ring:
            return False
        terminator = self._ring[0]
        self._ring.rotate(-1)
        try:
            return terminator.channel.offer(order, fds)
        except ChannelClosed:
            return False

    def cut(self, connection: Connection) -> None:
        """The end of the connection, which is about to come, must not look as if all was said."""
        if connection.termination:
            self.tell(messages.Cut(connection.termination))

    def tell(self, command: messages.TerminatorCommand, fds: list[int] | None = None) -> None:
        """Send a command to every one of them: whose connection it is about, it knows."""
        for each in self._all.values():
            self._send(each, command, fds or [])

    # Turns.

    def expire(self, now: float) -> None:
        """Do what is due by now."""
        for each in self._all.values():
            if each.deadline <= now:
                each.deadline = math.inf
                _log.warning("%s is too late: it is killed", each)
                os.kill(each.pid, signal.SIGKILL)
        self._fill(now)

    @property
    def deadline(self) -> float:
        """When `expire` is to be called next."""
        missing = self._wanted > self._having()
        return min(
            self._backoffs.due(_PLACE) if missing else math.inf,
            *(each.deadline for each in self._all.values()),
            math.inf,
        )

    # Handing over.

    def hand_over(self) -> list[handover.Terminator]:
        """All of them, for another to go on with. Only if they are `settled`."""
        return [
            handover.Terminator(
                each.pid, each.channel.fileno(), each.channel.unsent(), each.draining
            )
            for each in self._all.values()
        ]

    def take_over(self, state: list[handover.Terminator], settings: Settings) -> None:
        """Go on with those that another had; whether files have changed is not known."""
        self._settings = settings
        self._wanted = settings.tls_processes if self._needed else 0
        for each in state:
            sock = socket.socket(fileno=each.channel)
            ours: TerminatorMasterChannel = Channel(sock, messages.decode_report)
            ours.take_over(each.unsent)
            terminator = _Terminator(each.pid, ours, draining=each.draining)
            self._add(terminator)
            if not each.draining:
                self._ring.append(terminator)

    def disown(self) -> None:
        """In a forked child: close the channels."""
        for each in self._all.values():
            each.channel.close()

    # The parts.

    def _having(self) -> int:
        """How many serve, or are about to."""
        booting = self._renewal.booting | self._renewal.ready if self._renewal else set()
        return sum(not each.draining for each in self._all.values()) - len(booting)

    def _fill(self, now: float) -> None:
        """Have as many as are wanted."""
        while self._having() < self._wanted and self._backoffs.due(_PLACE) <= now:
            try:
                self._spawn(self._settings, now)
            except OSError as error:
                _log.error("no process for TLS can be forked: %s", error.strerror)
                self._backoffs.failed(_PLACE, now)

    def _spawn(self, settings: Settings, now: float) -> _Terminator:
        ours, theirs = channel.pair()
        try:
            pid = fork(ours, self._disown, lambda: self._assignment(settings, theirs))
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        terminator = _Terminator(
            pid, Channel(ours, messages.decode_report), now + settings.listen_timeout
        )
        self._add(terminator)
        _log.info("%s spawned", terminator)
        return terminator

    def _assignment(self, settings: Settings, theirs: socket.socket) -> TerminatorAssignment:
        """In the child: what it is to be."""
        mine = socket.socket(fileno=theirs.detach())
        return TerminatorAssignment(
            settings, Channel(mine, messages.decode_terminator_command), self._logs
        )

    def _add(self, terminator: _Terminator) -> None:
        self._all[terminator.pid] = terminator
        events = READ | WRITE if terminator.channel.backlogged else READ
        self._poller.watch(
            terminator.channel.fileno(), partial(self._on_channel, terminator), events
        )

    def _forget(self, gone: _Terminator) -> None:
        if gone in self._ring:
            self._ring.remove(gone)
        if gone.channel.fileno() >= 0:
            self._poller.forget(gone.channel.fileno())
            gone.channel.close()

    def _on_channel(self, terminator: _Terminator, events: int) -> None:
        try:
            if events & WRITE:
                terminator.channel.flush()
                if not terminator.channel.backlogged:
                    self._poller.change(terminator.channel.fileno(), READ)
            for report, fds in terminator.channel.receive():
                for fd in fds:
                    os.close(fd)  # nobody has asked for any
                if isinstance(report, messages.Ready):
                    self._ready(terminator)
        except ChannelClosed:
            self._forget(terminator)
        except msgspec.DecodeError as error:
            _log.error("%s wrote nonsense on its channel (%r): it is killed", terminator, error)
            os.kill(terminator.pid, signal.SIGKILL)

    def _ready(self, terminator: _Terminator) -> None:
        terminator.deadline = math.inf
        _log.info("%s ready", terminator)
        renewal = self._renewal
        if renewal is None or terminator not in renewal.booting:
            self._backoffs.clear()
            self._ring.append(terminator)
            return
        renewal.booting.remove(terminator)
        renewal.ready.add(terminator)
        if not renewal.booting:
            self._finish_renewal(renewal)

    def _finish_renewal(self, renewal: _Renewal) -> None:
        for each in self._all.values():
            if each not in renewal.ready:
                self._drain(each)
        self._ring = deque(renewal.ready)
        self._renewal = None
        self._settings, self._wanted = renewal.settings, renewal.settings.tls_processes
        self._fingerprint = renewal.fingerprint
        self._backoffs.clear()
        renewal.done()

    def _give_up_renewal(self, why: str) -> None:
        renewal, self._renewal = self._renewal, None
        assert renewal is not None
        for each in renewal.booting | renewal.ready:
            self._drain(each)
            each.deadline = 0.0
        renewal.failed(why)

    def _drain(self, terminator: _Terminator) -> None:
        """It gets no more clients, and ends when its last one has."""
        if terminator.draining:
            return
        terminator.draining = True
        if terminator in self._ring:
            self._ring.remove(terminator)
        self._send(terminator, messages.Drain(moving=True), [])

    def _send(
        self, terminator: _Terminator, command: messages.TerminatorCommand, fds: list[int]
    ) -> None:
        """Send a command; if the process is dead, its exit is noticed."""
        fd = terminator.channel.fileno()
        if fd < 0:
            return
        with contextlib.suppress(ChannelClosed):
            terminator.channel.send(command, fds)
            if terminator.channel.backlogged:
                self._poller.change(fd, READ | WRITE)


def _fingerprint(settings: Settings) -> object:
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


_SETTINGS = [name for name in TABLE if name.startswith("tls_")]
_SETTINGS += ["header_timeout", "user", "group", "log_level", "proc_name"]
