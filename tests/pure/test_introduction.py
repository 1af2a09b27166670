"""What a proxy says of a client: the PROXY protocol."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.wire.introduction import Introduction, Secure, encode, parse

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
SECURE = Secure("TLSv1.3", "TLS_AES_256_GCM_SHA384", "example.org", "Zoë", True, b"\x30\x82" * 900)
PLAIN = Introduction("192.0.2.1", 4711, "198.51.100.2", 443, None)
LINE = b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n"

names = st.text(st.characters(codec="ascii", min_codepoint=33), max_size=40)
secures = st.builds(
    Secure, names, names, st.text(max_size=60), st.text(max_size=60), st.booleans(), st.binary()
)
ports = st.integers(0, 65535)


def text(address: object) -> str:
    return str(getattr(address, "ipv4_mapped", None) or address)


addresses = st.ip_addresses().map(text)
introductions = st.one_of(
    st.builds(Introduction, addresses, ports, addresses, ports, st.none() | secures),
    st.builds(Introduction, st.just(""), st.just(0), names, st.just(0), st.none() | secures),
)


def binary(rest: bytes, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


ADDRESSES = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + struct.pack("!HH", 4711, 443)


@given(introductions)
def test_what_is_encoded_is_parsed_again(introduction: Introduction) -> None:
    data = encode(introduction)
    assert parse(data + b"GET / HTTP/1.1\r\n") == (introduction, len(data))


@given(st.binary() | st.binary().map(b"PROXY ".__add__) | st.binary().map(SIGNATURE.__add__))
def test_whatever_arrives_is_parsed_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse(data)


@given(
    st.sampled_from([0x20, 0x21]), st.sampled_from([0, 0x11, 0x21, 0x31]), st.binary(max_size=300)
)
def test_a_header_of_version_2_is_parsed_or_refused(command: int, family: int, rest: bytes) -> None:
    try:
        found = parse(binary(rest, command, family))
    except ValueError:
        return
    assert found is not None and found[1] == 16 + len(rest)


@pytest.mark.parametrize(
    "data",
    [
        LINE,
        b"PROXY UNKNOWN\r\n",
        encode(PLAIN),
        encode(Introduction("2001:db8::1", 1, "2001:db8::2", 2, SECURE)),
        encode(Introduction("", 0, "/run/web.sock", 0, SECURE)),
    ],
    ids=["line", "unknown", "binary", "secure", "unix"],
)
def test_a_header_that_is_cut_anywhere_waits_for_more(data: bytes) -> None:
    for end in range(len(data)):
        assert parse(data[:end]) is None
    found = parse(data)
    assert found is not None and found[1] == len(data)


def test_a_line_of_version_1_tells_the_addresses() -> None:
    assert parse(LINE + b"GET /") == (PLAIN, len(LINE))
    line = b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.9 0 65535\r\n"
    told = Introduction("2001:db8::1", 0, "192.0.2.9", 65535, None)
    assert parse(line) == (told, len(line))


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 whatever it says\r\n",
        binary(b"", command=0x20, family=0),
        binary(ADDRESSES, command=0x20),
        binary(b"\0" * 9, family=0),
    ],
)
def test_a_proxy_may_say_nothing(data: bytes) -> None:
    assert parse(data) == (None, len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY\r\n",
        b"proxy TCP4 192.0.2.1 198.51.100.2 4711 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 4711\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 65536\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 04711 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n",
        b"PROXY TCP4 192.0.2.1  198.51.100.2 4711 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443 \r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.2 4711 443\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.2 4711 443\r\n",
        b"PROXY TCP4 ::1 ::1 4711 443\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.2 4711 443\r\n",
        b"PROXY TCP6 fe80::1%lo ::1 4711 443\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
        binary(ADDRESSES, command=0x11),
        binary(ADDRESSES, command=0x22),
        binary(ADDRESSES, family=0x12),
        binary(ADDRESSES, family=0x41),
        binary(ADDRESSES[:-1]),
        binary(ADDRESSES + b"\x02\x00"),
        binary(ADDRESSES + b"\x02\x00\x05host"),
        binary(ADDRESSES + b"\x20\x00\x01\x01"),
        binary(ADDRESSES + b"\x20\x00\x07\x01\0\0\0\0\x21\x00"),
        binary(ADDRESSES + b"\x20\x00\x05\x01\0\0\0\0" + b"\x02\x00\x01\xff"),
        SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 8193),
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse(data)


def test_the_longest_line_is_read_and_none_longer_is_waited_for() -> None:
    longest = b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n"
    assert parse(longest) == (None, 107)
    assert parse(longest[:106]) is None
    with pytest.raises(ValueError):
        parse(b"PROXY UNKNOWN " + b"x" * 93)


def test_values_that_nobody_asks_for_are_passed_over() -> None:
    data = binary(ADDRESSES + b"\x04\x00\x03\0\0\0" + b"\xea\x00\x01x")
    assert parse(data) == (PLAIN, len(data))


@pytest.mark.parametrize(
    ("who", "invalid", "verified"), [(1, 0, False), (3, 0, True), (5, 0, True), (7, 18, False)]
)
def test_a_client_is_verified_by_a_valid_certificate_only(
    who: int, invalid: int, verified: bool
) -> None:
    found = parse(binary(ADDRESSES + b"\x20\x00\x05" + struct.pack("!BI", who, invalid)))
    assert found is not None and found[0] is not None
    assert found[0].secure == Secure("", "", "", "", verified, b"")


def test_a_client_that_spoke_no_tls_with_the_proxy_is_not_secure() -> None:
    data = binary(ADDRESSES + b"\x20\x00\x05\0\0\0\0\0")
    assert parse(data) == (PLAIN, len(data))


def test_a_certificate_without_room_is_left_out() -> None:
    secure = Secure("TLSv1.3", "", "", "Zoë", True, b"x" * 8192)
    found = parse(encode(Introduction("192.0.2.1", 1, "192.0.2.2", 2, secure)))
    assert found is not None and found[0] is not None
    assert found[0].secure == Secure("TLSv1.3", "", "", "Zoë", True, b"")


@pytest.mark.parametrize(
    "introduction",
    [
        Introduction("192.0.2.1", 1, "192.0.2.2", 2, Secure("", "", "", "x" * 9000, True, b"")),
        Introduction("192.0.2.1", 65536, "192.0.2.2", 2, None),
        Introduction("example.org", 1, "192.0.2.2", 2, None),
    ],
)
def test_what_cannot_be_said_is_refused(introduction: Introduction) -> None:
    with pytest.raises(ValueError):
        encode(introduction)


def test_a_server_by_name_does_not_keep_the_client_from_being_introduced() -> None:
    found = parse(encode(Introduction("192.0.2.1", 1, "localhost", 443, None)))
    assert found is not None
    assert found[0] == Introduction("192.0.2.1", 1, "0.0.0.0", 443, None)


@pytest.mark.parametrize("path", ["/run/" + "ö" * 60, "/run/\udcff"])
def test_a_path_that_cannot_be_said_does_not_either(path: str) -> None:
    found = parse(encode(Introduction("", 0, path, 0, SECURE)))
    assert found is not None and found[0] is not None
    assert found[0].secure == SECURE and found[0].server_host.startswith("/run/")
