"""What a fuzzer begins with: the corpus of requests, or what proxies say."""

from __future__ import annotations

from prefork.wire.introduction import Introduction, Secure, encode
from tests.corpus import CASES

_REQUESTS = [case.data for cases in CASES.values() for case in cases]
_SECURE = Secure("TLSv1.3", "TLS_AES_256_GCM_SHA384", "a.example", "alice", True, b"0\x82")
_INTRODUCTIONS = [
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65535\r\n",
    b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.2 1 0\r\n",
    b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n\r\n",
    encode(Introduction("192.0.2.1", 1, "192.0.2.2", 2, None)),
    encode(Introduction("2001:db8::1", 1, "192.0.2.2", 2, _SECURE)),
    encode(Introduction("192.0.2.1", 1, "192.0.2.2", 2, _SECURE)) + b"GET / HTTP/1.1\r\n\r\n",
    encode(Introduction("", 0, "/run/a.sock", 0, None)),
]
_FORWARDED = [
    b"192.0.2.1, 10.0.0.2",
    b"[2001:db8::1]:80, 10.0.0.2:443",
    b"2001:db8::1",
    b"fe80::1%eth0",
    b"unknown, 10.0.0.2",
    b'for="[2001:db8::1]:80";proto=https;host="a.example:443", for=10.0.0.2',
    b"For=192.0.2.1;by=_a;PROTO=http",
    b"for=_hidden, for=unknown;host=a",
    b"192.0.2.1\nhttps\na.example:80",
    b"192.0.2.1, 10.0.0.2\nhttp, https\n[2001:db8::1]",
]
SEEDS = {
    "requests": _REQUESTS,
    "limits": _REQUESTS,
    "heads": _REQUESTS,
    "introductions": _INTRODUCTIONS,
    "forwarded": _FORWARDED,
}
