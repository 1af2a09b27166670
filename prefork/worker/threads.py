"""The kind `threads`: the app runs in native threads, so many requests at once.

The loop's thread receives and sends; the others only run the app. What they want sent, and what
they are done with, they put into a queue, and wake the loop: libev's async watcher is the only one
that may be touched from another thread.

While the app is quick, the loop lends a thread its *helm* for the rest of a turn (helm.py).

A request is not read before a thread is free for it: on the connection of a worker that is full
it still belongs to whoever has room. If no thread becomes free for a while, the connections go
back to the master.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING

from gevent.libev.corecext import loop as Loop  # noqa: N812

from prefork.wire.board import BUSY, WANTED
from prefork.worker.connection import Connection
from prefork.worker.helm import Helm
from prefork.worker.kind import ErrorHandler
from prefork.worker.outbound import FilePart
from prefork.worker.postponed import Postponed
from prefork.worker.relay import Relay, ThreadConnection
from prefork.worker.stacks import stack_of
from prefork.wsgi import App, Exchange

if TYPE_CHECKING:
    from prefork.worker.engine import Engine

# The app is quick while requests take less than this, in seconds: many times what it costs to have
# another thread begin one.
_QUICK_SECONDS = 0.0005

_log = logging.getLogger("prefork.worker")


class Threads:
    """Calls the app in threads.

    Args:
        count: how many there are.
    """

    connection: type[ThreadConnection] = ThreadConnection
    multithread = True
    streams = False
    stands_still = False

    def __init__(self, count: int) -> None:
        self.loop = Loop(default=False)
        self._count = count
        self._running = 0
        # What no thread has taken yet, and the threads that sleep, by what wakes them.
        self._requests: deque[Exchange] = deque()
        self._asleep: list[threading.Lock] = []
        # What the threads have handed over: what is to be sent, and exchanges that are over.
        self._done: deque[Exchange | tuple[Relay, bytes, bytes | FilePart]] = deque()
        self._postponed = Postponed(self.loop)
        # Whether the last request was done soon.
        self._quick = False
        self._helm = Helm()
        self._wake = self.loop.async_()
        self._wake.start(self._take_over)
        self._end_of_turn = self.loop.prepare()
        self._end_of_turn.start(self._set_to_work)

    @property
    def full(self) -> bool:
        """Whether no thread is free."""
        return self._running >= self._count

    @property
    def defers(self) -> bool:
        """Whether what arrives is read at the end of the turn, or when a thread is free."""
        return self._quick or self._running >= self._count

    def begin(self, engine: Engine, app: App) -> None:
        """From now on requests are executed."""
        self._engine = engine
        self._app = app
        self._counters = engine.counters
        self._flags = engine.flags
        self._patience = engine.request_timeout
        self._postponed.begin(engine)
        for number in range(1, self._count + 1):
            threading.Thread(
                target=self._work, args=(app,), name=f"prefork-{number}", daemon=True
            ).start()

    def execute(self, exchange: Exchange) -> bool:
        """Have a thread call the app; False, as it is not done yet."""
        self._counters[0] += 1
        self._running += 1
        if self.full:
            self._flags[BUSY] = 1
        exchange.lock = threading.Lock()
        connection = exchange.transport
        assert isinstance(connection, ThreadConnection)
        exchange.transport = connection.relay = Relay(self, connection)
        self._requests.append(exchange)
        return False

    def execute_beside(self, exchange: Exchange, done: Callable[[], None]) -> None:
        """Call the app for a request that is none of a client's; then `done`, in the loop."""
        finished = self.loop.async_()

        def over() -> None:
            finished.stop()
            done()

        finished.start(over)

        def work() -> None:
            exchange.run(self._app)
            finished.send()

        threading.Thread(target=work, name="prefork-probe", daemon=True).start()

    def watch_errors(self, handler: ErrorHandler) -> None:
        """Whom to tell of an error in a callback."""
        self.loop.error_handler = handler

    def run(self) -> None:
        """Turn the loop until `stop`."""
        self.loop.run()

    def stop(self) -> None:
        """Have `run` return."""
        self.loop.break_()

    def give_up(self, connections: Iterable[Connection], now: float) -> None:
        """Give up the threads that are in a request for too long: nothing can end them, so the
        worker has to be replaced."""
        self._see_to_done()
        for connection in list(connections):
            assert isinstance(connection, ThreadConnection)
            relay = connection.relay
            if relay is None or connection.taken:
                continue
            if now - relay.began > self._patience:
                _log.error(
                    "a request has held thread %d for %.1f s:\n%s",
                    relay.thread,
                    now - relay.began,
                    stack_of(relay.thread),
                )
                connection.abandon()
                self._engine.leave("has lost a thread to a request that takes too long")

    def postpone(self, connection: ThreadConnection) -> None:
        """Keep a request waiting, for a thread of ours or for another worker."""
        self._postponed.connections.append(connection)

    # In the threads.

    def hand_over(self, relay: Relay, data: bytes, more: bytes | FilePart) -> None:
        """Have the loop send this."""
        self._done.append((relay, data, more))
        # In this order: whoever stands for the loop looks again after it has ceased to.
        if self._helm.deputy is None:
            self._wake.send()

    def _work(self, app: App) -> None:
        """The life of a thread."""
        alarm = threading.Lock()
        alarm.acquire()
        while True:
            exchange = self._take()
            if exchange is None:
                self._sleep(alarm)
                if self._helm.deputy is alarm:
                    self._stand_in(alarm, app)
                continue
            if self._requests:
                self._wake_another()
            self._run(exchange, app)
            del exchange  # with the body of its request, for as long as there is no other
            if self._helm.deputy is None:
                self._wake.send()

    def _take(self) -> Exchange | None:
        """A request that no other thread has taken."""
        try:
            return self._requests.popleft()
        except IndexError:
            return None

    def _run(self, exchange: Exchange, app: App) -> None:
        relay = exchange.transport
        assert isinstance(relay, Relay)
        relay.thread = get_ident()
        relay.began = monotonic()
        exchange.run(app)
        self._quick = monotonic() - relay.began < _QUICK_SECONDS
        self._done.append(exchange)

    def _sleep(self, alarm: threading.Lock) -> None:
        """Wait until there may be a request."""
        self._asleep.append(alarm)
        if self._requests:
            # One came just before: nobody may have seen that this thread sleeps.
            try:
                self._asleep.remove(alarm)
            except ValueError:
                pass  # somebody has
            else:
                return
        alarm.acquire()

    def _wake_another(self) -> None:
        with contextlib.suppress(IndexError):  # nobody sleeps
            self._asleep.pop().release()

    def _stand_in(self, me: threading.Lock, app: App) -> None:
        """Have the helm for as long as requests are quick, and the loop does not take it back."""
        while self._helm.take(me):
            try:
                exchange = self._next_request()
            except Exception as error:  # noqa: BLE001  an error of ours is the loop's to handle
                self._helm.failure, exchange = error, None
            if exchange is None:
                self._helm.give_back()
                return
            self._helm.let_go()
            self._run(exchange, app)
            del exchange
        self._wake.send()

    def _next_request(self) -> Exchange | None:
        """At the helm: see to what is done, then to what has arrived, up to the next request."""
        self._see_to_done()
        while self._quick:
            exchange = self._take()
            if exchange is not None or not self._postponed.connections:
                return exchange
            self._postponed.admit()
        return None

    # In the loop.

    def _set_to_work(self) -> None:
        """At the end of each turn: see to it that the requests that have come in are executed."""
        while self._quick and self._asleep and (self._postponed.connections or self._requests):
            self._lend_helm()
        if self._postponed.connections:
            self._take_over()
            self._postponed.hold()
        if self._requests:
            self._wake_another()

    def _lend_helm(self) -> None:
        """Have a thread stand in for the loop for a while."""
        if not self._helm.lend(self._asleep.pop(), self._counters):
            self._quick = False
        self._take_over()
        self._helm.check()

    def _take_over(self) -> None:
        """See to what the threads have handed over, and use the room that there is then."""
        self._see_to_done()
        while self._postponed.connections and not self.full:
            self._postponed.admit()
        if not self.full:
            self._engine.made_room()
            if self._flags[WANTED]:
                self._engine.report_room()

    def _see_to_done(self) -> None:
        done = self._done
        while done:
            item = done.popleft()
            if isinstance(item, Exchange):
                self._executed(item)
            else:
                relay, data, more = item
                relay.pass_on(data, more)

    def _executed(self, exchange: Exchange) -> None:
        self._running -= 1
        self._flags[BUSY] = self.full
        relay = exchange.transport
        assert isinstance(relay, Relay)
        if relay.abandoned:
            return
        connection = relay.connection
        connection.relay = None
        connection.executed(exchange)
