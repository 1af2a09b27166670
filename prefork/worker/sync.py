"""The kind `sync`: the app is called in the loop, one request at a time.

While it runs, the loop stands still: what other clients send waits in the kernel, and the master
may take their connections back, as the worker lets go of its gate for that time. Requests are
received whole before, and the end of a response is sent by the loop after, so a slow client costs
a buffer, not the worker; only a response larger than that buffer makes the app wait for it.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from prefork.worker.outbound import unacknowledged
from prefork.worker.turnstile import Turnstile
from prefork.wsgi import App, Exchange

MULTITHREAD = False


def executor(app: App, turnstile: Turnstile) -> Callable[[Exchange], None]:
    """What calls the app for an exchange, and returns when it has given its whole response."""
    leave, come_back = turnstile.leave, turnstile.come_back

    def execute(exchange: Exchange) -> None:
        leave()
        try:
            exchange.run(app)
        finally:
            come_back()

    return execute


def wait_writable(sock: socket.socket, seconds: float) -> None:
    """Wait until the client has taken enough for more to be sent.

    Raises:
        TimeoutError: it has taken nothing within this time.
    """
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    before = unacknowledged(sock)
    while not poll.poll(seconds * 1000):
        queued = unacknowledged(sock)
        if queued >= before:
            raise TimeoutError
        before = queued
