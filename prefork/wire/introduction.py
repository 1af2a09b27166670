"""What a proxy says of a client before the first request: the PROXY protocol. Pure.

By HAProxy's proxy-protocol.txt, section 2: version 1 is a line of text, version 2 is binary, and
can say what TLS has found out. Both are read, version 2 is written. The checksum that a header
may have is not looked at: TCP has its own.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec

_LONGEST_LINE = 107  # section 2.1, with its CRLF
_LONGEST_REST = 8192  # ours: room for addresses and a certificate

_LINE = b"PROXY "
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21  # the version, 2, and the command
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_IPV4 = struct.Struct("!4s4sHH")
_IPV6 = struct.Struct("!16s16sHH")
_PATHS = struct.Struct("!108s108s")

# Types of what may follow the addresses, and of what is in that of TLS (section 2.2).
_TLV = struct.Struct("!BH")
_AUTHORITY, _SSL = 0x02, 0x20
_VERSION, _COMMON_NAME, _CIPHER, _CERTIFICATE = 0x21, 0x22, 0x23, 0x28
_STATE = struct.Struct("!BI")  # who has spoken TLS, and 0 for a certificate that is valid
_BY_TLS, _WITH_CERTIFICATE = 0x01, 0x02 | 0x04

_PORT = rb"(0|[1-9][0-9]{0,4})"
_TOLD = re.compile(rb"PROXY TCP([46]) ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) " + _PORT + b" " + _PORT)
_UNKNOWN = re.compile(rb"PROXY UNKNOWN( .*)?", re.DOTALL)


class Secure(msgspec.Struct, frozen=True, array_like=True):
    """What TLS knows of a client: empty is what it does not know.

    `protocol` is "TLSv1.3", say, `server_name` the name that the client has asked for (SNI).
    `client_name` is the common name in its certificate, and `client_certificate` that as DER;
    `verified` says whether there was one, and it was valid.
    """

    protocol: str
    cipher: str
    server_name: str
    client_name: str
    verified: bool
    client_certificate: bytes


class Introduction(msgspec.Struct, frozen=True, array_like=True):
    """Where a client is, and to where it has connected; `host` is empty for a unix socket, and
    `server_host` then the path. `secure` is None if it spoke no TLS."""

    host: str
    port: int
    server_host: str
    server_port: int
    secure: Secure | None


def parse(data: bytes) -> tuple[Introduction | None, int] | None:
    """Read the header at the beginning of a connection.

    Returns:
        What it says, and its length in bytes; None if more bytes are needed. It may say nothing:
        then the connection is the proxy's own, or it does not know.

    Raises:
        ValueError: this is no header, or a malformed or too long one.
    """
    if data.startswith(_SIGNATURE):
        return _parse_binary(data)
    if data.startswith(_LINE):
        return _parse_line(data)
    if _SIGNATURE.startswith(data) or _LINE.startswith(data):
        return None
    raise ValueError("no PROXY header")


def encode(introduction: Introduction) -> bytes:
    """The header of version 2 that says this.

    Addresses of two families, or a server's that is none, are said as well as can be; a
    certificate for which there is no room is left out.

    Raises:
        ValueError: the client's address is none, or there is too much to say.
    """
    family, addresses = _addresses(introduction)
    rest = addresses + _pack_secure(introduction.secure, certificate=True)
    if len(rest) > _LONGEST_REST:
        rest = addresses + _pack_secure(introduction.secure, certificate=False)
    if len(rest) > _LONGEST_REST:
        raise ValueError("an introduction that is too long")
    return _FIXED.pack(_SIGNATURE, _PROXY, family, len(rest)) + rest


def _parse_line(data: bytes) -> tuple[Introduction | None, int] | None:
    end = data.find(b"\r\n", 0, _LONGEST_LINE)
    if end < 0:
        if len(data) >= _LONGEST_LINE:
            raise ValueError("a PROXY line that is too long")
        return None
    line = data[:end]
    if _UNKNOWN.fullmatch(line):
        return None, end + 2
    told = _TOLD.fullmatch(line)
    if told is None:
        raise ValueError("a malformed PROXY line")
    version, host, server_host, port, server_port = (part.decode("ascii") for part in told.groups())
    address = IPv4Address if version == "4" else IPv6Address
    return _introduction(
        address(host), _port(port), address(server_host), _port(server_port), None
    ), end + 2


def _port(text: str) -> int:
    port = int(text)
    if port > 65535:
        raise ValueError("a port that is none")
    return port


def _parse_binary(data: bytes) -> tuple[Introduction | None, int] | None:
    if len(data) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(data)
    if command not in (_LOCAL, _PROXY):
        raise ValueError("a version or command of PROXY that there is not")
    if length > _LONGEST_REST:
        raise ValueError("a PROXY header that is too long")
    end = _FIXED.size + length
    if len(data) < end:
        return None
    if command == _LOCAL:
        return None, end
    return _parse_rest(family, data[_FIXED.size : end]), end


def _parse_rest(family: int, rest: bytes) -> Introduction | None:
    """What follows the fixed part: addresses, and more."""
    if family == _UNSPECIFIED:
        return None
    try:
        form = {_TCP4: _IPV4, _TCP6: _IPV6, _UNIX: _PATHS}[family]
        told = form.unpack_from(rest)
    except (KeyError, struct.error):
        raise ValueError("a PROXY header without addresses of a stream") from None
    secure = _parse_secure(rest[form.size :])
    if family == _UNIX:
        path = told[1].partition(b"\0")[0].decode(errors="replace")
        return Introduction("", 0, path, 0, secure)
    address = IPv4Address if family == _TCP4 else IPv6Address
    return _introduction(address(told[0]), told[2], address(told[1]), told[3], secure)


def _introduction(
    host: IPv4Address | IPv6Address,
    port: int,
    server_host: IPv4Address | IPv6Address,
    server_port: int,
    secure: Secure | None,
) -> Introduction:
    return Introduction(_text(host), port, _text(server_host), server_port, secure)


def _text(address: IPv4Address | IPv6Address) -> str:
    """An address of IPv4 is one, although it came as one of IPv6."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _parse_secure(data: bytes) -> Secure | None:
    values = dict(_values(data))
    state = values.get(_SSL)
    if state is None:
        return None
    if len(state) < _STATE.size:
        raise ValueError("a PROXY header that is cut in what it says of TLS")
    who, invalid = _STATE.unpack_from(state)
    known = dict(_values(state[_STATE.size :]))
    if not who & _BY_TLS:
        return None
    return Secure(
        protocol=known.get(_VERSION, b"").decode("ascii"),
        cipher=known.get(_CIPHER, b"").decode("ascii"),
        server_name=values.get(_AUTHORITY, b"").decode(),
        client_name=known.get(_COMMON_NAME, b"").decode(),
        verified=bool(who & _WITH_CERTIFICATE) and not invalid,
        client_certificate=known.get(_CERTIFICATE, b""),
    )


def _values(data: bytes) -> Iterator[tuple[int, bytes]]:
    """What each type of value says."""
    at = 0
    while at < len(data):
        if len(data) - at < _TLV.size:
            raise ValueError("a PROXY header that is cut in a value")
        kind, length = _TLV.unpack_from(data, at)
        at += _TLV.size
        if len(data) - at < length:
            raise ValueError("a PROXY header that is cut in a value")
        yield kind, data[at : at + length]
        at += length


def _addresses(introduction: Introduction) -> tuple[int, bytes]:
    """The family of the addresses, and these."""
    if not introduction.host:
        return _UNIX, _PATHS.pack(b"", introduction.server_host.encode(errors="replace")[:108])
    client, server = ip_address(introduction.host), _server(introduction.server_host)
    ports = introduction.port, introduction.server_port
    if max(ports) > 65535 or min(ports) < 0:
        raise ValueError("a port that is none")
    if isinstance(client, IPv4Address) and isinstance(server, IPv4Address | None):
        return _TCP4, _IPV4.pack(client.packed, server.packed if server else bytes(4), *ports)
    return _TCP6, _IPV6.pack(_wide(client), _wide(server) if server else bytes(16), *ports)


def _server(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _wide(address: IPv4Address | IPv6Address) -> bytes:
    if isinstance(address, IPv4Address):
        return bytes(10) + b"\xff\xff" + address.packed
    return address.packed


def _pack_secure(secure: Secure | None, certificate: bool) -> bytes:
    if secure is None:
        return b""
    shown = secure.verified or secure.client_certificate
    state = _STATE.pack(_BY_TLS | (_WITH_CERTIFICATE if shown else 0), 0 if secure.verified else 1)
    state += _value(_VERSION, secure.protocol.encode("ascii"))
    state += _value(_COMMON_NAME, secure.client_name.encode())
    state += _value(_CIPHER, secure.cipher.encode("ascii"))
    if certificate:
        state += _value(_CERTIFICATE, secure.client_certificate)
    return _value(_AUTHORITY, secure.server_name.encode()) + _value(_SSL, state)


def _value(kind: int, data: bytes) -> bytes:
    """A value with its type and length; one that says nothing is left out, one that can't be said
    makes the whole too long."""
    return _TLV.pack(kind, min(len(data), 0xFFFF)) + data if data else b""
