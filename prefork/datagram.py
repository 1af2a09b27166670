"""Sockets to those who only listen: StatsD, and syslog."""

from __future__ import annotations

# By name, before gevent replaces them in a worker by some that wait for its hub.
from socket import AF_INET, AF_INET6, AF_UNIX, SOCK_DGRAM, getaddrinfo, socket
from typing import Any


def connected(host: str, port: int) -> socket:
    """A socket of which each write is a datagram: by UDP to a host and a port, or, where the port
    is 0, to the unix socket of that path.

    Raises:
        OSError: there is nobody, or the name is not known.
    """
    family: int = AF_UNIX
    address: Any = host
    if port:
        found = getaddrinfo(host, port, type=SOCK_DGRAM)
        usable = [each for each in found if each[0] in (AF_INET, AF_INET6)]
        family, address = usable[0][0], usable[0][4]
    sock = socket(family, SOCK_DGRAM)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock
