"""Heads that are recognized mean what the parser says, and nothing else is ever recognized."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.errors import HTTPError
from prefork.http.heads import Heads
from prefork.http.parser import RequestParser
from prefork.http.request import Limits, Phase, Request

LIMITS = Limits(line=80, fields=6, field_size=100, body=0)
TEMPLATE = {"wsgi.version": (1, 0), "SCRIPT_NAME": ""}
PEER = ("10.0.0.1", "50000")

PLAIN = b"GET / HTTP/1.1"
HOST = b"Host: a\r\n"


def head(*fields: bytes, line: bytes = PLAIN) -> bytes:
    return b"\r\n".join([line, b"Host: a", *fields, b"", b""])


def parsed(data: bytes) -> Request | None:
    """The request that these bytes are, and nothing besides; None if they are anything else."""
    parser = RequestParser(TEMPLATE, PEER, LIMITS, streaming=True)
    try:
        parser.feed(data)
    except HTTPError:
        # Behind the last request of a connection there may be anything: nobody reads it.
        if not parser.requests or parser.requests[0].persistent:
            return None
    if len(parser.requests) != 1 or parser.phase is not Phase.IDLE or parser.continue_wanted:
        return None
    return parser.requests[0]


def meaning(request: Request) -> tuple[Any, ...]:
    return request.environ, request.body, request.http11, request.persistent


def see(heads: Heads, data: bytes) -> Request | None:
    """What a connection does on which this is all that has arrived; what was recognized."""
    request = heads.recognize(data, PEER)
    if request is not None:
        return request
    parser = RequestParser(TEMPLATE, PEER, LIMITS)
    with contextlib.suppress(HTTPError):  # a connection learns from what was whole before
        parser.feed(data)
    if len(parser.requests) == 1 and parser.phase is Phase.IDLE:
        heads.learn(data, parser.requests[0])
    return None


def taught(*lessons: bytes) -> Heads:
    """Heads that have seen each of these often enough to know it."""
    heads = Heads(LIMITS.line)
    for data in lessons:
        for _ in range(2):
            see(heads, data)
    return heads


def assert_understood(heads: Heads, data: bytes) -> None:
    """If it is recognized, it is what the parser makes of it."""
    found = heads.recognize(data, PEER)
    if found is not None:
        expected = parsed(data)
        assert expected is not None, "the parser would not take it for a request"
        assert meaning(found) == meaning(expected)


# Whatever comes.

METHODS = st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"CONNECT", b"PROPFIND", b"get"])
SOME_TARGETS = rb"""
/ /a?b=c&d /? /?? //a /%41%2f /%zz?%41 /% /a[b]?c[d] /a;b?c|d /#a * a http://b/c?d http://b
""".split()
ODD_TARGETS = [b"", b"/a b", b"/\0", b"/\r", b"/\n", b"/\t", b"/caf\xc3\xa9"]
LONG_TARGETS = [b"/" + b"a" * size for size in (79, 80)] + [
    b"/?" + b"a" * size for size in (78, 79)
]
TARGETS = st.sampled_from(SOME_TARGETS + ODD_TARGETS + LONG_TARGETS) | st.binary(max_size=10)
VERSIONS = st.sampled_from([*[b"HTTP/1.1"] * 4, b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b""])
LINES = st.builds(lambda *parts: b" ".join(parts), METHODS, TARGETS, VERSIONS)
SOME_FIELDS = b"""\
Host: a
Host: b
host:
Accept: */*
Accept:
accept: x
Cookie: a
Cookie: b
X_Y: 1
X-Y: 2
X-Y:3
X: \xe9
Content-Length: 0
Content-Length: 3
Content-Length: x
Transfer-Encoding: chunked
Expect: 100-continue
Upgrade: h2c
Connection: upgrade
Connection: close
Connection: keep-alive
Connection:
Proxy-Connection: close
 folded
bad
Name : a
: a""".split(b"\n")
LONG_FIELDS = [b"X: " + b"a" * size for size in (99, 101)]
FIELDS = st.sampled_from([*SOME_FIELDS, *LONG_FIELDS, b"A\nB: c", b"X: a\0b"]) | st.binary(
    max_size=8
)
TAILS = st.sampled_from([*[b""] * 6, b"abc", b"\r\n", b"\r", b"0\r\n\r\n", head(), head()[:9]])


@given(
    fields=st.lists(FIELDS, max_size=5),
    hosted=st.booleans(),
    tail=TAILS,
    lines=st.lists(LINES, min_size=1, max_size=4),
)
def test_what_is_recognized_is_what_the_parser_makes_of_it(
    fields: list[bytes], hosted: bool, tail: bytes, lines: list[bytes]
) -> None:
    block = b"".join(field + b"\r\n" for field in ([b"Host: a"] * hosted) + fields)
    rest = b"\r\n" + block + b"\r\n" + tail
    heads = taught(*(line + rest for line in (PLAIN, lines[0])))
    for line in lines:
        assert_understood(heads, line + rest)


@given(
    place=st.integers(0, 200),
    removed=st.integers(0, 3),
    added=st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b":", b"\0", b"a", b"\xff"])
    | st.binary(max_size=3),
)
def test_what_differs_from_what_is_known_in_a_few_bytes_is_what_the_parser_makes_of_it(
    place: int, removed: int, added: bytes
) -> None:
    known = head(b"Accept: text/html", b"Connection: close", b"X-Y: z", line=b"GET /a?b HTTP/1.1")
    heads = taught(known)
    assert heads.recognize(known, PEER) is not None
    place %= len(known)
    assert_understood(heads, known[:place] + added + known[place + removed :])


# What is recognized.

KNOWABLE = {
    "no fields": head(),
    "query": head(line=b"GET /a/b?c=d&e?f HTTP/1.1"),
    "empty query": head(line=b"GET /? HTTP/1.1"),
    "percent": head(line=b"GET /%41%2f%C3%A9?%41 HTTP/1.1"),
    "bad percent": head(line=b"GET /%zz% HTTP/1.1"),
    "two slashes": head(line=b"GET //a//b HTTP/1.1"),
    "post without a body": head(line=b"POST / HTTP/1.1"),
    "close": head(b"Connection: close"),
    "keep-alive": head(b"Connection: keep-alive"),
    "repeated fields": head(b"X: 1", b"Cookie: a=b", b"x: 2", b"cookie: c=d"),
    "underscores": head(b"X_Y: 1", b"X-Y: 2", b"X_Y: 3"),
    "beyond ASCII": head(b"X: caf\xe9"),
    "the longest target": head(line=b"GET /" + b"a" * 79 + b" HTTP/1.1"),
}


@pytest.mark.parametrize("what", KNOWABLE)
def test_a_head_is_recognized_when_it_was_parsed_twice(what: str) -> None:
    heads, data = Heads(LIMITS.line), KNOWABLE[what]
    assert see(heads, data) is None
    assert see(heads, data) is None
    found, expected = see(heads, data), parsed(data)
    assert found is not None
    assert expected is not None
    assert meaning(found) == meaning(expected)


def test_known_fields_are_recognized_behind_another_line() -> None:
    heads = taught(head(b"Accept: x"))
    found = heads.recognize(head(b"Accept: x", line=b"HEAD /never/seen?before HTTP/1.1"), PEER)
    assert found is not None
    assert found.environ["REQUEST_METHOD"] == "HEAD"
    assert (found.environ["PATH_INFO"], found.environ["QUERY_STRING"]) == ("/never/seen", "before")


def test_a_request_that_is_recognized_has_the_peer_of_its_connection() -> None:
    heads = taught(head())
    found = heads.recognize(head(), ("10.9.8.7", "1234"))
    assert found is not None
    assert (found.environ["REMOTE_ADDR"], found.environ["REMOTE_PORT"]) == ("10.9.8.7", "1234")


def test_a_request_that_is_recognized_has_an_environ_of_its_own() -> None:
    heads = taught(head())
    for _ in range(2):
        found = heads.recognize(head(), PEER)
        assert found is not None
        assert "changed" not in found.environ
        found.environ["changed"] = True
        found.environ["HTTP_HOST"] = "evil"
        found.environ.pop("PATH_INFO")


def test_what_an_app_does_to_an_environ_is_not_learned_with_it() -> None:
    """The parser's environ is the app's, once it has been learned from."""
    heads = Heads(LIMITS.line)
    for _ in range(2):
        request = parsed(head())
        assert request is not None
        heads.learn(head(), request)
        request.environ["changed"] = True
    found = heads.recognize(head(), PEER)
    assert found is not None
    assert "changed" not in found.environ


# What never is.


def test_a_head_before_something_that_is_refused_is_not_learned_with_it() -> None:
    heads = Heads(LIMITS.line)
    for _ in range(3):
        assert see(heads, head() + b"not a request\r\n\r\n") is None


NEVER = {
    "body": head(b"Content-Length: 5", line=b"POST / HTTP/1.1") + b"hello",
    "empty body": head(b"Content-Length: 0", line=b"POST / HTTP/1.1"),
    "chunked": head(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1") + b"0\r\n\r\n",
    "expectation": head(b"Expect: 100-continue"),
    "upgrade": head(b"Connection: upgrade", b"Upgrade: h2c"),
    "HTTP/1.0": head(line=b"GET / HTTP/1.0"),
    "HTTP/1.0 kept alive": head(b"Connection: keep-alive", line=b"GET / HTTP/1.0"),
    "whole URI": head(line=b"GET http://b/c HTTP/1.1"),
    "asterisk": head(line=b"OPTIONS * HTTP/1.1"),
    "another method": head(line=b"PROPFIND / HTTP/1.1"),
    "no plain target": head(line=b"GET /a[b] HTTP/1.1"),
    "another one behind it": head() + head(),
    "a part of another one behind it": head() + b"GET ",
    "empty line before": b"\r\n" + head(),
    "long fields": PLAIN + b"\r\n" + HOST + b"X: " + b"a" * 4096 + b"\r\n\r\n",
    "not at its end": head()[:-2],
    "too long a target": head(line=b"GET /" + b"a" * 80 + b" HTTP/1.1"),
    "too many fields": head(*[b"X: 1"] * 6),
    "too large a field": head(b"X: " + b"a" * 101),
    "two Hosts": head(b"Host: b"),
    "no Host": PLAIN + b"\r\nAccept: x\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
}


@pytest.mark.parametrize("what", NEVER)
def test_what_needs_more_than_a_glance_is_never_recognized(what: str) -> None:
    heads = taught(head())
    assert [see(heads, NEVER[what]) for _ in range(5)] == [None] * 5


@pytest.mark.parametrize(
    "line",
    [
        b"GET /a b HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET / HTTP/1.0",
        b"GET / HTTP/1.2",
        b"get / HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET http://b/ HTTP/1.1",
        b"GET /#a HTTP/1.1",
        b"GET /\n HTTP/1.1",
        b"GET / HTTP/1.1\n",
        b"GET /" + b"a" * 80 + b" HTTP/1.1",
        b"",
    ],
)
def test_known_fields_do_not_make_a_line_plain(line: bytes) -> None:
    heads = taught(head())
    assert heads.recognize(head(), PEER) is not None
    assert heads.recognize(head(line=line), PEER) is None


def test_fields_that_came_with_an_older_version_are_not_known_for_the_newer_one() -> None:
    """Without a Host, and with no Connection, the versions differ."""
    heads = Heads(LIMITS.line)
    for version in (b"1.0", b"1.0", b"1.0", b"1.1", b"1.1", b"1.1"):
        assert see(heads, b"GET / HTTP/" + version + b"\r\nAccept: x\r\n\r\n") is None


# At what cost.


def fields(number: int) -> bytes:
    return head(b"X-Number: %d" % number)


def test_fields_that_are_not_used_while_many_others_come_are_forgotten() -> None:
    heads = taught(fields(0))
    for number in range(1, 1000):
        for _ in range(2):
            see(heads, fields(number))
    assert heads.recognize(fields(0), PEER) is None
    assert heads.recognize(fields(999), PEER) is not None


def test_fields_that_are_used_are_known_whatever_else_comes() -> None:
    heads = taught(fields(0))
    for number in range(1, 1000):
        for _ in range(2):
            see(heads, fields(number))
        assert heads.recognize(fields(0), PEER) is not None


def test_clients_can_not_make_what_is_remembered_large() -> None:
    heads = taught(head())
    for number in range(10_000):
        see(heads, fields(number))
        see(heads, head(line=b"GET /%d HTTP/1.1" % number))
    assert len(heads._blocks) + len(heads._blocks._before) <= 512
    assert len(heads._lines) + len(heads._lines._before) <= 1024
    assert len(heads._seen) <= 4096


def quickest(call: Callable[[], object]) -> float:
    """Seconds that it takes when nothing else gets in its way."""
    times = []
    for _ in range(10):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


@pytest.mark.parametrize("target", [b"/%b[", b"/?%b[", b"/%b?[", b"/?%b?\xe9"])
def test_a_line_that_is_not_plain_costs_no_time_to_find_out(target: bytes) -> None:
    """Twenty times as long a target may not take many times as long, or a client could stop us."""
    heads = taught(head())

    def ask(size: int) -> Callable[[], object]:
        data = head(line=b"GET " + target % (b"a" * size) + b" HTTP/1.1")
        return lambda: heads.recognize(data, PEER)

    assert quickest(ask(18)) < 200 * quickest(ask(1))
