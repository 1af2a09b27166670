"""Where a syslog daemon is, and how a line looks that it gets: RFC 3164, and syslog(3).

    syslog:                       /dev/log
    syslog+unix:///run/some/log   another unix socket
    syslog+udp://127.0.0.1:514    over the network, 514 being the default

`?facility=local0&tag=shop` behind any of them says under what the lines are filed, by default
`user` and `prefork`.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from logging.handlers import SysLogHandler
from socket import gethostname, socket

from prefork.datagram import connected
from prefork.errors import UsageError

_SCHEME = re.compile(r"syslog(?:\+\w+)?:")
_FORM = re.compile(
    r"syslog(?:\+unix://(?P<path>/[^?]+)|\+udp://(?P<host>\[(?P<bare>[0-9a-fA-F:.]+)\]|[^][:/?]+)"
    r"(?::(?P<port>[0-9]{1,5}))?|:)(?:\?(?P<words>.*))?"
)
_CUSTOMARY = "/dev/log"
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_PORT = 514
_TAG = re.compile(r"[\w.-]{1,32}", re.ASCII)
_FACILITIES = SysLogHandler.facility_names
# What both kinds of socket take, with a header in front.
_LONGEST = 60_000


@dataclass(frozen=True)
class Syslog:
    """A daemon, and under what it files lines: `path` is that of its unix socket, else `host` and
    `port` are for UDP."""

    path: str = ""
    host: str = ""
    port: int = _PORT
    facility: int = _FACILITIES["user"]
    tag: str = "prefork"

    def connected(self) -> socket:
        """A socket to it, of which each write is a message.

        Raises:
            OSError: there is nobody, or the name is not known.
        """
        return connected(self.path, 0) if self.path else connected(self.host, self.port)

    def message(self, line: bytes, severity: int) -> bytes:
        """A line as the daemon wants it. What is longer than 60000 bytes is cut.

        Args:
            line: what is said.
            severity: as in syslog(3), from 0 to 7, the least severe.
        """
        now = time.localtime()
        # English names of months, and the day filled up by a space, whatever the locale is.
        stamp = f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:2} {time.strftime('%H:%M:%S', now)}"
        # The daemon of this machine knows its name.
        where = "" if self.path else f"{gethostname()} "
        head = f"<{self.facility << 3 | severity}>{stamp} {where}{self.tag}[{os.getpid()}]: "
        return head.encode() + line[:_LONGEST]


def is_syslog(text: str) -> bool:
    """Whether a log is meant that goes to syslog, and not the name of a file."""
    return _SCHEME.match(text) is not None


def parse(text: str, setting: str = "") -> Syslog:
    """The daemon that a setting names.

    Raises:
        UsageError: it does not say one.
    """
    match = _FORM.fullmatch(text)
    if match is not None:
        words = dict(word.partition("=")[::2] for word in (match["words"] or "").split("&"))
        facility, tag = words.pop("facility", "user"), words.pop("tag", "prefork")
        port = int(match["port"] or _PORT)
        sound = not any(words) and facility in _FACILITIES and _TAG.fullmatch(tag)
    if match is None or not sound or not 0 < port < 65536:
        raise UsageError(
            f"{text}: expected syslog:, syslog+unix:///PATH or syslog+udp://HOST:PORT, and behind "
            "it nothing or ?facility=NAME&tag=NAME",
            setting,
        )
    path = "" if match["host"] else match["path"] or _CUSTOMARY
    return Syslog(path, match["bare"] or match["host"] or "", port, _FACILITIES[facility], tag)
