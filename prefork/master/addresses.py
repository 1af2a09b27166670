"""Addresses, as operators write them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from prefork.errors import UsageError

_TCP = re.compile(
    r"(?:(?P<scheme>https?)://)?(?:\[(?P<ipv6>[^]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})\Z"
)
# Of those that systemd takes, the ones that are no numbers.
_NAME = re.compile(r"[A-Za-z][!-9;-~]{0,254}\Z")
# Without a port only what can't be meant as anything else.
_ADDRESS = re.compile(r"(?:https?://)?(?:\[[0-9a-fA-F:.]+\]|[0-9]+(?:\.[0-9]+){3})\Z")
_DEFAULT_PORT = 8000


@dataclass(frozen=True)
class TCPAddress:
    """`host:port` or `[ipv6]:port`, with a scheme in front or none; port 0 lets the kernel
    choose."""

    host: str
    port: int
    text: str
    scheme: str = ""


@dataclass(frozen=True)
class UnixAddress:
    """`unix:path`."""

    path: str
    text: str


@dataclass(frozen=True)
class InheritedAddress:
    """`fd://N`: a listening socket that was inherited."""

    fd: int
    text: str


@dataclass(frozen=True)
class PassedAddress:
    """`fd://NAME`: the sockets that were passed with this name."""

    name: str
    text: str


Address = TCPAddress | UnixAddress | InheritedAddress | PassedAddress


def parse_address(text: str) -> Address:
    """An address of the setting `bind`.

    Raises:
        UsageError: it is none.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if path.startswith("//"):
            path = path[2:]
        if path and "\0" not in path:
            return UnixAddress(os.path.abspath(path), text)
    elif text.startswith("fd://"):
        number = text.removeprefix("fd://")
        if number.isascii() and number.isdigit() and int(number) < 1 << 31:
            return InheritedAddress(int(number), text)
        if _NAME.match(number):
            return PassedAddress(number, text)
    elif match := _TCP.match(f"{text}:{_DEFAULT_PORT}" if _ADDRESS.match(text) else text):
        port = int(match["port"])
        if port < 65536:
            host = match["ipv6"] or match["host"] or "0.0.0.0"
            return TCPAddress(host, port, text, match["scheme"] or "")
    expected = "expected host:port, [ipv6]:port, unix:path, fd://N or fd://NAME"
    raise UsageError(f"bind = {text}: {expected}", "bind")
