"""The HTTP of the observer: `/metrics`, `/live` and `/ready`.

Each client has a thread, and so many seconds for all it does; when there are many, the one that has
been there longest is dropped for the next. So nobody can keep others from being served.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer, ThreadingMixIn
from time import monotonic
from typing import Any

from prefork.metrics.exposition import CONTENT_TYPE, Exposition

# Seconds for all that a client wants, and how many clients there may be.
PATIENCE = 10.0
MOST_CLIENTS = 16

_TEXT = "text/plain; charset=utf-8"

_log = logging.getLogger("prefork.metrics")


class Server(ThreadingMixIn, BaseServer):
    """Serves at a listening socket.

    Args:
        sock: the socket.
        exposition: what is served.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, sock: socket.socket, exposition: Exposition) -> None:
        super().__init__(sock.getsockname(), _Handler)
        self.exposition = exposition
        self._sock = sock
        # Since when each is there: monotonic seconds, the oldest first.
        self._clients: dict[socket.socket, float] = {}

    def fileno(self) -> int:
        """What is waited for."""
        return self._sock.fileno()

    def get_request(self) -> tuple[Any, Any]:
        """Accept a client."""
        client, address = self._sock.accept()
        client.settimeout(PATIENCE)
        clients = list(self._clients)  # which their threads take themselves off
        if len(clients) >= MOST_CLIENTS:
            _drop(clients[0])
        self._clients[client] = monotonic()
        return client, address

    def service_actions(self) -> None:
        """Now and then: drop those who have had their time."""
        now = monotonic()
        for client, since in list(self._clients.items()):
            if now - since > PATIENCE:
                _drop(client)

    def shutdown_request(self, request: Any) -> None:
        """A client has got what it wanted, or not."""
        self._clients.pop(request, None)
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
        request.close()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a client, in its thread."""
        _Handler(request, client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client is lost, or there is an error of ours."""
        _log.info("a client of the metrics got no answer", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        """Answer it."""
        exposition = self.server.exposition
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(HTTPStatus.OK, CONTENT_TYPE, exposition.text())
        elif path == "/live":
            self._tell(exposition.live)
        elif path == "/ready":
            self._tell(exposition.ready)
        else:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"/metrics, /live and /ready are here\n")

    do_HEAD = do_GET  # noqa: N815

    def address_string(self) -> str:
        """Nobody asks the DNS."""
        return "-"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged of a client."""

    def _tell(self, good: bool) -> None:
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        self._answer(status, _TEXT, b"yes\n" if good else b"no\n")

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _drop(client: socket.socket) -> None:
    """Wake its thread, which finds that nobody is there."""
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
