"""From addresses to listeners: sockets are bound, or found among those that were inherited."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Sequence

from prefork.errors import UsageError
from prefork.master.addresses import (
    Address,
    InheritedAddress,
    PassedAddress,
    TCPAddress,
    UnixAddress,
    parse_address,
)
from prefork.master.listeners import Listener, identity
from prefork.systemd import PassedSocket

# The kernel keeps a client that connects and says nothing from us for so many seconds at first.
_SILENT_SECONDS = 1


def bind_all(
    texts: list[str],
    backlog: int,
    umask: int | None,
    owner: tuple[int | None, int | None],
    tls: bool = False,
    passed: Sequence[PassedSocket] = (),
) -> list[Listener]:
    """Bind all addresses, or none.

    Args:
        texts: the setting `bind`.
        backlog: for listen(2).
        umask: for the modes of unix sockets; None for the process's own.
        owner: user and group id for unix sockets; None for the process's own.
        tls: whether there is a certificate.
        passed: the sockets that were passed to this process.

    Raises:
        UsageError: an address is malformed, taken, or not to be had.
    """
    addresses = [each for text in texts for each in _found(parse_address(text), passed)]
    _refuse_https(addresses, tls)
    _refuse_twins(texts, addresses)
    bound: list[Listener] = []
    try:
        for address in addresses:
            listener = _bind(address, addresses, backlog, umask, owner)
            bound.append(listener)
            plain = isinstance(address, TCPAddress) and address.scheme == "http"
            listener.secure = tls and not plain and listener.sock.family != socket.AF_UNIX
    except BaseException:
        for listener in bound:
            listener.close()
        raise
    return bound


def _refuse_https(addresses: list[Address], tls: bool) -> None:
    for address in addresses:
        if isinstance(address, TCPAddress) and address.scheme == "https" and not tls:
            raise UsageError(f"bind = {address.text}: there is no [tls] certificate", "bind")


def _refuse_twins(texts: list[str], addresses: list[Address]) -> None:
    for text in texts:
        if texts.count(text) > 1 and not text.endswith(":0"):
            raise UsageError(f"bind = {text}: given twice", "bind")
    fds = [address.fd for address in addresses if isinstance(address, InheritedAddress)]
    for fd in fds:
        if fds.count(fd) > 1:
            raise UsageError(f"bind = fd://{fd}: given twice, by name too", "bind")


def _found(address: Address, passed: Sequence[PassedSocket]) -> list[Address]:
    """The address, or the numbers of the passed sockets that it means.

    Raises:
        UsageError: none of them has this name.
    """
    if not isinstance(address, PassedAddress):
        return [address]
    found: list[Address] = [
        InheritedAddress(each.fd, address.text) for each in passed if each.name == address.name
    ]
    if not found:
        raise UsageError(f"bind = {address.text}: no socket of that name was passed", "bind")
    return found


def _bind(
    address: Address,
    beside: list[Address],
    backlog: int,
    umask: int | None,
    owner: tuple[int | None, int | None],
) -> Listener:
    try:
        if isinstance(address, TCPAddress):
            listener = _bind_tcp(address, beside)
        elif isinstance(address, UnixAddress):
            listener = _bind_unix(address, umask, owner)
        else:
            assert isinstance(address, InheritedAddress)
            listener = _adopt(address)
        listener.sock.listen(backlog)
        listener.sock.setblocking(False)
    except (OSError, UnicodeError) as error:
        # The socket module's own messages have no strerror; a name that can't be one of the DNS is
        # a UnicodeError.
        why = error.strerror or error if isinstance(error, OSError) else "not a host name"
        raise UsageError(f"bind = {address.text}: {why}", "bind") from None
    return listener


def _bind_tcp(address: TCPAddress, beside: list[Address]) -> Listener:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, name = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it from the listener: tcp(7).
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _SILENT_SECONDS)
        if family == socket.AF_INET6 and _needs_v6_only(address, beside):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(name)
    except BaseException:
        sock.close()
        raise
    return Listener(sock)


def _needs_v6_only(address: TCPAddress, beside: list[Address]) -> bool:
    """Whether an IPv4 address is asked for with the same port, which [::] would take too."""
    return any(
        isinstance(other, TCPAddress) and other.port == address.port and ":" not in other.host
        for other in beside
    )


def _bind_unix(
    address: UnixAddress, umask: int | None, owner: tuple[int | None, int | None]
) -> Listener:
    _remove_stale(address)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(umask) if umask is not None else None
    try:
        sock.bind(address.path)
    except BaseException:
        sock.close()
        raise
    finally:
        if before is not None:
            os.umask(before)
    user, group = owner
    if user is not None or group is not None:
        os.chown(address.path, -1 if user is None else user, -1 if group is None else group)
    return Listener(sock, address.path, identity(address.path))


def _remove_stale(address: UnixAddress) -> None:
    """Remove the socket that a server which was killed has left behind.

    Raises:
        UsageError: the path is something else, or a server still listens there.
    """
    try:
        mode = os.lstat(address.path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"bind = {address.text}: exists and is not a socket", "bind")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        outcome = probe.connect_ex(address.path)
    if outcome == errno.ECONNREFUSED:
        os.unlink(address.path)
    else:
        raise UsageError(f"bind = {address.text}: {os.strerror(errno.EADDRINUSE)}", "bind")


def _adopt(address: InheritedAddress) -> Listener:
    sock = socket.socket(fileno=address.fd)
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(
        socket.SOL_SOCKET, socket.SO_ACCEPTCONN
    ):
        sock.detach()
        raise UsageError(f"bind = {address.text}: not a listening stream socket", "bind")
    sock.set_inheritable(False)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Listener(sock)
