"""Reports: what workers and molds say on their channels, and that they say nothing any more."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

import msgspec

from prefork.master.dispatch import UnknownLoan
from prefork.master.fleet import Fleet
from prefork.master.lending import Lending
from prefork.master.link import Link
from prefork.master.links import Links
from prefork.master.poller import READ, WRITE, Poller
from prefork.master.reloads import Reloads
from prefork.wire import messages
from prefork.wire.channel import ChannelClosed

# A worker that has closed its channel is about to exit; if it hasn't by then, it is killed.
_EXIT_SECONDS = 1.0

_Handlers = dict[type[Any], Callable[[Any, Any], None]]

_log = logging.getLogger("prefork.master")


class Reports:
    """Tells the fleet, the lending and the reloads what they are about.

    Args:
        fleet, lending, reloads: are told.
        links: whose workers may borrow, or not.
        poller: the master's one wait.
        changed: called when the fleet may have something to do.
        never_born: called with a link to a worker that a mold was to fork, but nobody has it.
    """

    def __init__(
        self,
        fleet: Fleet,
        lending: Lending,
        reloads: Reloads,
        links: Links,
        poller: Poller,
        changed: Callable[[], None],
        never_born: Callable[[Link], None],
    ) -> None:
        self._fleet = fleet
        self._reloads = reloads
        self._links = links
        self._poller = poller
        self._changed = changed
        self._never_born = never_born
        returns = lending.returns
        self._handlers: _Handlers = {
            messages.Born: self._born,
            messages.Ready: self._ready,
            messages.Failed: self._failed,
            messages.Leaving: self._leaving,
            messages.Closed: lambda link, report: returns.closed(link, report.loans),
            messages.Returned: lambda link, report: returns.returned(link, report.loans),
            messages.Released: lambda link, report: returns.released(link, report.loans),
            messages.Room: lambda link, report: returns.room(link),
        }
        # Of a worker that has died, only what it says of its loans, and of its end, still counts.
        self._last_words = {
            kind: self._handlers[kind]
            for kind in (messages.Closed, messages.Returned, messages.Released, messages.Failed)
        }

    def listen(self, link: Link) -> None:
        """Handle what comes on its channel, from now on."""
        events = READ | WRITE if link.channel.backlogged else READ
        self._poller.watch(link.channel.fileno(), partial(self._on_channel, link), events)

    def catch_up(self, link: Link) -> None:
        """Handle what has come."""
        self._receive(link, self._handlers)

    def end(self, link: Link) -> None:
        """Its process is gone: handle its last words."""
        self._receive(link, self._last_words)
        if not link.closed:
            self._poller.forget(link.channel.fileno())

    def spawned(self, link: Link) -> None:
        """There is a process, and it is known which."""
        _log.info("%s spawned", link.worker)
        self._reloads.befell(link.worker, "spawned")

    def _on_channel(self, link: Link, events: int) -> None:
        if events & WRITE:
            link.flush()
        self._receive(link, self._handlers)

    def _receive(self, link: Link, handlers: _Handlers) -> None:
        """Handle the worker's reports, and survive whatever it writes."""
        worker = link.worker
        try:
            for report, fds in link.channel.receive():
                for fd in fds:
                    os.close(fd)  # nobody has asked for any
                handler = handlers.get(type(report))
                if handler is not None:
                    handler(link, report)
        except ChannelClosed:
            self._channel_closed(link)
        except (msgspec.DecodeError, UnknownLoan) as error:
            _log.error("%s wrote nonsense on its channel (%r): it is killed", worker, error)
            self._links.leave(link)
            self._fleet.discard(worker, monotonic())
            self._changed()

    def _channel_closed(self, link: Link) -> None:
        if link.closed:
            return
        link.exit_due = monotonic() + _EXIT_SECONDS
        self._changed()
        self._poller.forget(link.channel.fileno())
        self._links.leave(link)
        if not link.born and link in self._links:
            self._never_born(link)

    def _born(self, link: Link, report: messages.Born) -> None:
        if not link.born:
            link.bear(report.pid)
            self.spawned(link)

    def _ready(self, link: Link, report: messages.Ready) -> None:
        worker = link.worker
        seconds = monotonic() - worker.since
        if self._fleet.ready(worker, monotonic()):
            _log.info("%s ready after %.2f s", worker, seconds)
            self._reloads.befell(worker, "ready", seconds)
            self._links.join(link)
            self._changed()

    def _failed(self, link: Link, report: messages.Failed) -> None:
        link.trouble = report.why

    def _leaving(self, link: Link, report: messages.Leaving) -> None:
        if not self._fleet.stopping and self._fleet.leave(link.worker, monotonic()):
            _log.info("%s %s: it is replaced first", link.worker, report.why)
            link.leaving = True
            self._changed()
