"""The probe: before a worker is used, it asks its own app for `ready_path`.

The request is parsed and run like any other, but it came over no connection, and the response goes
nowhere. It also warms the app: what is imported or connected by the first request is there before
the first client comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from prefork import __version__
from prefork.errors import BootError
from prefork.http.files import Extent
from prefork.wire.board import UNREADY
from prefork.worker.service import Entrance
from prefork.wsgi import App, Exchange

# In the environ of the probe's request.
KEY = "prefork.probe"

# So much of the response is kept, to be shown if it is no good one.
_KEPT_SIZE = 4096
_SHOWN_LINES = 5

_PEER = ("127.0.0.1", "0")
_LEAVING = b"the service is about to stop\n"


class Probe:
    """A request to the app that no client has sent, and where its response goes.

    Args:
        path: what is asked for.
        entrance: as which listener's request it is parsed.
    """

    retiring = False

    def __init__(self, path: str, entrance: Entrance) -> None:
        self._path = path
        parser = entrance.parser(_PEER)
        parser.feed(
            f"GET {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: prefork/{__version__}\r\n"
            "Accept: */*\r\n\r\n".encode()
        )
        request = parser.requests.popleft()
        parser.close()
        request.environ[KEY] = True
        self.exchange = Exchange(request, self)
        self._response = b""

    def send(self, data: bytes, more: bytes = b"") -> None:
        """Take a part of the response."""
        if len(self._response) < _KEPT_SIZE:
            self._response += data + more

    def send_file(self, head: bytes, extent: Extent) -> None:
        """Take the head: that the app has a file is enough to know."""
        self.send(head)

    def check(self) -> None:
        """The app is done.

        Raises:
            BootError: it did not answer with a status below 400.
        """
        exchange = self.exchange
        status = exchange.status.partition(" ")[0]
        if exchange.complete and int(status) < HTTPStatus.BAD_REQUEST:
            return
        what = f"answered {exchange.status}" if exchange.complete else "did not answer"
        _, _, body = self._response[:_KEPT_SIZE].partition(b"\r\n\r\n")
        lines = body.decode("utf-8", "backslashreplace").splitlines()[:_SHOWN_LINES]
        said = "".join(f"\n    {line}" for line in lines if line.strip())
        raise BootError(f"ready_path = {self._path}: the app {what}{':' if said else ''}{said}")


def unready_in_time(app: App, path: str, flags: memoryview) -> App:
    """The app, but for what it answers to load balancers that ask for `path` when the service is
    about to stop: 503.

    Args:
        app: the app.
        path: `ready_path`; its query does not count.
        flags: of the worker's row.
    """
    path = path.partition("?")[0]

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not flags[UNREADY] or environ["PATH_INFO"] != path or KEY in environ:
            return app(environ, start_response)
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(_LEAVING)))]
        start_response("503 Service Unavailable", headers)
        return [_LEAVING]

    return answer
