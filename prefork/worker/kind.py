"""What the engine needs to know of a kind of worker: how the app is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from prefork.wsgi import App, Exchange

if TYPE_CHECKING:
    from prefork.worker.connection import Connection
    from prefork.worker.engine import Engine


# Of a callback of the loop: the watcher, and what sys.exc_info() says.
ErrorHandler = Callable[
    [object, type[BaseException] | None, BaseException | None, TracebackType | None], None
]


class Kind(Protocol):
    """A kind of worker. Its loop is where everything but the app happens."""

    # Whether the app may be called while it runs: `wsgi.multithread`.
    multithread: bool
    # Whether it is called as soon as the head of a request has arrived.
    streams: bool
    # Whether the loop stands still while the app runs.
    stands_still: bool
    loop: Any

    @property
    def connection(self) -> type[Connection]:
        """The kind of connection that goes with it."""

    @property
    def full(self) -> bool:
        """Whether no other request can be executed now."""

    def begin(self, engine: Engine, app: App) -> None:
        """From now on requests are executed."""

    def execute(self, exchange: Exchange) -> bool:
        """Have the app called; whether it is done. If not, the connection's `executed` will be
        called in the loop."""

    def execute_beside(self, exchange: Exchange, done: Callable[[], None]) -> None:
        """Call the app for a request that is none of a client's; then `done`, in the loop."""

    def watch_errors(self, handler: ErrorHandler) -> None:
        """Whom to tell of an error of ours in a callback of the loop."""

    def give_up(self, connections: Iterable[Connection], now: float) -> None:
        """Give up the requests that have taken longer than `request_timeout`, where the loop goes
        on beside them: answer 504, or cut the response.

        Args:
            connections: all there are.
            now: monotonic seconds.
        """

    def run(self) -> None:
        """Turn the loop until `stop`."""

    def stop(self) -> None:
        """Have `run` return."""
