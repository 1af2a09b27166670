"""Terminators: the processes that speak TLS with clients.

New certificates are for new terminators: when all of them are ready they get the clients that come
from then on, and the old ones end when their last connection does.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec

from prefork.log import Logs
from prefork.master import handover
from prefork.master.backoff import Backoffs
from prefork.master.connection import Connection
from prefork.master.link import describe_exit
from prefork.master.poller import READ, WRITE, Poller
from prefork.master.renewal import Renewal, fingerprint
from prefork.master.terminator import Terminator, spawn
from prefork.settings import Settings
from prefork.wire.channel import ChannelClosed
from prefork.wire.messages import Cut, Drain, Ready, Terminate, TerminatorCommand

# At a stop they have so many seconds for what clients have not taken yet.
_LAST_SECONDS = 2.0

# They all back off together.
_PLACE = 0

_log = logging.getLogger("prefork.master")


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
        self._all: dict[int, Terminator] = {}  # by pid
        # Those that get new clients, in turn; how many there should be; and of what settings.
        self._ring: deque[Terminator] = deque()
        self._wanted = 0
        self._settings = Settings()
        self._fingerprint: object = None
        self._renewal: Renewal | None = None
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
        self._fingerprint = fingerprint(settings)
        self._fill(now)

    def outdated(self, settings: Settings) -> bool:
        """Whether other settings, or files that have changed, want new ones."""
        return self._needed and fingerprint(settings) != self._fingerprint

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
        self._renewal = renewal = Renewal(settings, done, failed, fingerprint(settings))
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
        if renewal is not None and gone in renewal.terminators:
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

    def offer(self, order: Terminate, fds: list[int]) -> bool:
        """Give a client to the next one; whether that could be done. The fds may be closed then."""
        if not self._ring:
            return False
        terminator = self._ring[0]
        self._ring.rotate(-1)
        with contextlib.suppress(ChannelClosed):
            return terminator.channel.offer(order, fds)
        return False

    def cut(self, connection: Connection) -> None:
        """The end of the connection, which is about to come, must not look as if all was said."""
        if connection.termination:
            self.tell(Cut(connection.termination))

    def tell(self, command: TerminatorCommand, fds: list[int] | None = None) -> None:
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
                each.kill()
        self._fill(now)

    @property
    def deadline(self) -> float:
        """When `expire` is to be called next."""
        times = [each.deadline for each in self._all.values()]
        if self._wanted > self._having():
            times.append(self._backoffs.due(_PLACE))
        return min(times, default=math.inf)

    # Handing over.

    def hand_over(self) -> list[handover.Terminator]:
        """All of them, for another to go on with. Only if they are `settled`."""
        return [each.hand_over() for each in self._all.values()]

    def take_over(self, state: list[handover.Terminator], settings: Settings) -> None:
        """Go on with those that another had; whether files have changed is not known."""
        self._settings = settings
        self._wanted = settings.tls_processes if self._needed else 0
        for each in state:
            terminator = Terminator.taken_over(each)
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
        new = self._renewal.terminators if self._renewal else set()
        return sum(not each.draining for each in self._all.values()) - len(new)

    def _fill(self, now: float) -> None:
        """Have as many as are wanted."""
        while self._having() < self._wanted and self._backoffs.due(_PLACE) <= now:
            try:
                self._spawn(self._settings, now)
            except OSError as error:
                _log.error("no process for TLS can be forked: %s", error.strerror)
                self._backoffs.failed(_PLACE, now)

    def _spawn(self, settings: Settings, now: float) -> Terminator:
        terminator = spawn(settings, self._logs, self._disown, now)
        self._add(terminator)
        return terminator

    def _add(self, terminator: Terminator) -> None:
        self._all[terminator.pid] = terminator
        events = READ | WRITE if terminator.channel.backlogged else READ
        self._poller.watch(
            terminator.channel.fileno(), partial(self._on_channel, terminator), events
        )

    def _forget(self, gone: Terminator) -> None:
        if gone in self._ring:
            self._ring.remove(gone)
        if gone.channel.fileno() >= 0:
            self._poller.forget(gone.channel.fileno())
            gone.channel.close()

    def _on_channel(self, terminator: Terminator, events: int) -> None:
        try:
            if events & WRITE:
                terminator.channel.flush()
                if not terminator.channel.backlogged:
                    self._poller.change(terminator.channel.fileno(), READ)
            for report in terminator.reports():
                if isinstance(report, Ready):
                    self._ready(terminator)
        except ChannelClosed:
            self._forget(terminator)
        except msgspec.DecodeError as error:
            _log.error("%s wrote nonsense on its channel (%r): it is killed", terminator, error)
            terminator.kill()

    def _ready(self, terminator: Terminator) -> None:
        terminator.deadline = math.inf
        _log.info("%s ready", terminator)
        renewal = self._renewal
        if renewal is None or terminator not in renewal.booting:
            self._backoffs.clear()
            self._ring.append(terminator)
            return
        renewal.booted(terminator)
        if not renewal.booting:
            self._finish_renewal(renewal)

    def _finish_renewal(self, renewal: Renewal) -> None:
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
        for each in renewal.terminators:
            self._drain(each)
            each.deadline = 0.0
        renewal.failed(why)

    def _drain(self, terminator: Terminator) -> None:
        """It gets no more clients, and ends when its last one has."""
        if terminator.draining:
            return
        terminator.draining = True
        if terminator in self._ring:
            self._ring.remove(terminator)
        self._send(terminator, Drain(moving=True), [])

    def _send(self, terminator: Terminator, command: TerminatorCommand, fds: list[int]) -> None:
        """Send a command; if the process is dead, its exit is noticed."""
        fd = terminator.channel.fileno()
        if fd < 0:
            return
        with contextlib.suppress(ChannelClosed):
            terminator.channel.send(command, fds)
            if terminator.channel.backlogged:
                self._poller.change(fd, READ | WRITE)
