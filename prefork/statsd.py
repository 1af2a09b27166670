"""StatsD: what gunicorn tells by it, in the same names, with DogStatsD's tags.

    gunicorn.requests                    counter   of each worker, for each request
    gunicorn.request.status.200          counter
    gunicorn.request.duration            timer     in milliseconds
    gunicorn.log.error                   counter   critical, error, exception and warning
    gunicorn.workers                     gauge     of the master, once a second

Lines are gathered, and sent as one datagram when there are many or a second has passed. Nobody
waits for it: what can't be sent is lost.
"""

from __future__ import annotations

import contextlib
import logging

# By name, before gevent replaces it in a worker.
from socket import socket

from prefork.datagram import connected
from prefork.errors import UsageError
from prefork.settings import Settings

# What fits into a packet of Ethernet, with the heads of IPv6 and UDP.
_DATAGRAM = 1432

_UNIX = "unix://"

_log = logging.getLogger("prefork")


def check(text: str) -> tuple[str, int]:
    """The setting `statsd_host`, as a host and a port, or a path and 0.

    Raises:
        UsageError: it is neither.
    """
    if text.startswith(_UNIX) and len(text) > len(_UNIX):
        return text.removeprefix(_UNIX), 0
    host, _, port = text.rpartition(":")
    if host and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        return host.removeprefix("[").removesuffix("]"), int(port)
    raise UsageError(f"statsd_host = {text}: expected HOST:PORT or unix://PATH", "statsd_host")


def statsd(settings: Settings) -> StatsD | None:
    """Where the settings want it told, if anywhere; that it can't be is logged."""
    if not settings.statsd_host:
        return None
    host, port = check(settings.statsd_host)
    try:
        sock = connected(host, port)
    except OSError as error:
        why = error.strerror or error
        _log.warning("statsd_host = %s: %s: nothing is told there", settings.statsd_host, why)
        return None
    sock.setblocking(False)
    return StatsD(sock, settings.statsd_prefix, settings.dogstatsd_tags)


class StatsD:
    """Tells it.

    Args:
        sock: connected, of datagrams, which does not block.
        prefix: what each name begins with, without the dot behind.
        tags: `key:value`s, separated by commas, that go with each.
    """

    def __init__(self, sock: socket, prefix: str, tags: str) -> None:
        self._sock = sock
        self._prefix = f"{prefix.rstrip('.')}." if prefix else ""
        self._tags = f"|#{tags}" if tags else ""
        self._lines: list[str] = []
        self._size = 0
        self._ended_as = f"{self._tags}\n{self._prefix}gunicorn.request.status."
        self._counted = f":1|c{self._tags}"
        self._begun_as = (
            f"{self._prefix}gunicorn.requests{self._counted}\n"
            f"{self._prefix}gunicorn.request.duration:"
        )

    def request(self, status: str, seconds: float) -> None:
        """A request has ended, with this status."""
        code = status[:3] or "0"
        took = f"{seconds * 1000:.3f}|ms"
        self._tell(f"{self._begun_as}{took}{self._ended_as}{code}{self._counted}")

    def count(self, name: str) -> None:
        """Count one more."""
        self._tell(f"{self._prefix}{name}{self._counted}")

    def gauge(self, name: str, value: int) -> None:
        """How many there are now."""
        self._tell(f"{self._prefix}{name}:{value}|g{self._tags}")

    def flush(self) -> None:
        """Send what was gathered."""
        lines, self._lines, self._size = self._lines, [], 0
        if lines:
            with contextlib.suppress(OSError):  # nobody listens, or too slowly
                self._sock.send("\n".join(lines).encode("utf-8", "replace"))

    def close(self) -> None:
        """Let go of the socket."""
        self._sock.close()

    def _tell(self, line: str) -> None:
        size = len(line) + 1
        if self._size + size > _DATAGRAM:
            self.flush()
        self._lines.append(line)
        self._size += size


class LogCount(logging.Handler):
    """The handler of the standard library's logging that counts what is at least a warning."""

    def __init__(self, statsd: StatsD) -> None:
        super().__init__(logging.WARNING)
        self._statsd = statsd

    def emit(self, record: logging.LogRecord) -> None:
        """Count the record."""
        kind = "exception" if record.exc_info else record.levelname.lower()
        self._statsd.count(f"gunicorn.log.{kind}")


def count_logs(statsd: StatsD) -> LogCount:
    """From now on what prefork logs is counted."""
    handler = LogCount(statsd)
    _log.addHandler(handler)
    return handler
