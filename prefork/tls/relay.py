"""One connection of the terminator: what the client sends in TLS goes on in the clear, and back.

It has two ends. The *outer* one is the client's socket, with TLS; the *inner* one is half of a
socketpair, of which the master has the other, and lends it to workers like any connection. asyncio
does what there is to do: handshakes, encryption, the end of TLS, and holding one end back while the
other one takes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any

from prefork.tls.contexts import ServerName
from prefork.wire.introduction import Introduction, Secure, encode
from prefork.wire.messages import Terminate

# After the last byte for the client, it has so many seconds to take what it has not taken yet, and
# to end the connection too.
_LAST_SECONDS = 30.0
# A name in a certificate may have any length.
_LONGEST_NAME = 256
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: socket(7)

_log = logging.getLogger("prefork.tls")


class _End(asyncio.Protocol):
    """One end of a relay: what comes in goes out at the other, and no faster than that takes it."""

    transport: asyncio.Transport
    other: _End

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.transport.resume_reading()


class _Outer(_End):
    """The client's end, from the end of the handshake on."""

    def __init__(self, introduce: Callable[[asyncio.Transport], bytes]) -> None:
        self.over = asyncio.Event()
        self._introduce = introduce

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.other.transport.write(self._introduce(self.transport))

    def connection_lost(self, error: Exception | None) -> None:
        self.other.transport.close()
        self.over.set()


class _Inner(_End):
    """The end of whoever serves the connection."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended

    def eof_received(self) -> bool:
        self._ended()
        # Open until the client's end is: for so long the master lingers.
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._ended()


class Relay:
    """A connection.

    Args:
        order: what the master has said of it.
        client: its socket.
        inside: the end that leads to the master.
        catch_up: obeys what the master has sent: before it closes its end it says whether the
            response was cut there.
    """

    def __init__(
        self,
        order: Terminate,
        client: socket.socket,
        inside: socket.socket,
        catch_up: Callable[[], None],
    ) -> None:
        self.cut = False
        self._order = order
        self._client = client
        self._inside = inside
        # What is in the middle of a handshake.
        self._handshake: asyncio.Task[Any] | None = None
        # What ends a client that takes too long for the end.
        self._last_call: asyncio.TimerHandle | None = None
        self._catch_up = catch_up
        self._outer = _Outer(self._introduce)
        self._inner = _Inner(self._ended)
        self._outer.other, self._inner.other = self._inner, self._outer

    async def run(self, context: ssl.SSLContext, seconds: float) -> None:
        """Be between the two until one of them ends it.

        Args:
            context: for the handshake.
            seconds: that it may take.
        """
        loop = asyncio.get_running_loop()
        inner, outer = self._inner, self._outer
        self._handshake = asyncio.current_task()
        # First, as the client's first bytes may come with the last ones of its handshake.
        await loop.connect_accepted_socket(lambda: inner, self._inside)
        try:
            await loop.connect_accepted_socket(
                lambda: outer, self._client, ssl=context, ssl_handshake_timeout=seconds
            )
        except (OSError, asyncio.CancelledError) as error:  # those of TLS are OSErrors
            _log.debug("no TLS with %s: %s", self._order.host or "a local client", error)
            inner.transport.abort()
            return
        self._handshake = None
        await outer.over.wait()
        if self._last_call is not None:
            self._last_call.cancel()  # it would keep all of this for as long

    def _introduce(self, transport: asyncio.Transport) -> bytes:
        """The first bytes on the inner end: who the client is, and what TLS knows of it."""
        order = self._order
        secure = _secure(transport.get_extra_info("ssl_object"))
        return encode(
            Introduction(order.host, order.port, order.server_host, order.server_port, secure)
        )

    def _ended(self) -> None:
        """Whoever serves the connection has ended it."""
        if self._handshake is not None:
            self._handshake.cancel()
            return
        self._catch_up()
        transport = self._outer.transport
        if self.cut:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()
        else:
            transport.close()
            if self._last_call is None:
                loop = asyncio.get_running_loop()
                self._last_call = loop.call_later(_LAST_SECONDS, transport.abort)


def _secure(connection: ServerName) -> Secure:
    cipher, subject = connection.cipher(), _subject(connection)
    return Secure(
        protocol=connection.version() or "",
        cipher=cipher[0] if cipher is not None else "",
        server_name=connection.name,
        client_name=subject.get("commonName", "")[:_LONGEST_NAME],
        verified=bool(subject),
        client_certificate=connection.getpeercert(binary_form=True) or b"",
    )


def _subject(connection: ServerName) -> dict[str, str]:
    """The parts of the name in the client's certificate, if it has shown one that is valid."""
    parts: Any = (connection.getpeercert() or {}).get("subject", ())
    return {key: value for part in parts for key, value in part}
