"""Requests from bytes: the same ones however the bytes are cut, and never more than the limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.errors import HTTPError
from prefork.http import fields
from prefork.http.body import SPOOL_SIZE, Body, Stream
from prefork.http.parser import MOST_WAITING, RequestParser
from prefork.http.request import Limits, Phase, Request

LIMITS = Limits(line=8190, fields=100, field_size=8190, body=0)
TEMPLATE = {"wsgi.version": (1, 0), "SCRIPT_NAME": ""}
PEER = ("10.0.0.1", "50000")
TIGHT = Limits(line=64, fields=5, field_size=100, body=1000)


@dataclass(frozen=True)
class Seen:
    """A request in a form that can be compared."""

    environ: dict[str, Any]
    body: bytes | None
    http11: bool
    persistent: bool


@dataclass(frozen=True)
class Outcome:
    """What a parser made of some bytes; `status` is that of the error, or 0."""

    requests: list[Seen]
    status: int
    phase: Phase
    continue_wanted: bool


def parse(*pieces: bytes, limits: Limits = LIMITS, streaming: bool = False) -> Outcome:
    """Feed the pieces one by one, until there is an error."""
    parser = RequestParser(TEMPLATE, PEER, limits, streaming)
    status = 0
    try:
        for piece in pieces:
            parser.feed(piece)
    except HTTPError as error:
        status = error.status
    seen = [see(request) for request in parser.requests]
    outcome = Outcome(seen, status, parser.phase, parser.continue_wanted)
    parser.close()
    return outcome


def see(request: Request) -> Seen:
    body = None if request.body is None else request.body.finish().read()
    return Seen(request.environ, body, request.http11, request.persistent)


def only(data: bytes) -> Seen:
    """The only request in the data."""
    outcome = parse(data)
    assert (outcome.status, len(outcome.requests)) == (0, 1)
    return outcome.requests[0]


def head(*fields: str, line: str = "GET / HTTP/1.1") -> bytes:
    return "\r\n".join([line, "Host: a", *fields, "", ""]).encode("latin-1")


def bytewise(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


POST = "POST / HTTP/1.1"
CHUNKED = "Transfer-Encoding: chunked"

GOOD = {
    "no fields": head(),
    "HTTP/1.0": head(line="GET / HTTP/1.0"),
    "HTTP/1.0 kept alive": head("Connection: keep-alive", line="GET / HTTP/1.0"),
    "close": head("Connection: close"),
    "empty lines before": b"\r\n\r\n" + head(),
    "query": head(line="GET /a/b?c=d&e HTTP/1.1"),
    "percent": head(line="GET /%41%2f%C3%A9?%41 HTTP/1.1"),
    "whole URI": head(line="GET http://b:80/c?d HTTP/1.1"),
    "asterisk": head(line="OPTIONS * HTTP/1.1"),
    "another method": head(line="PROPFIND / HTTP/1.1"),
    "fields": head("Accept: text/html", "X-Empty:", "X-Latin: caf\xe9", "X-Spaces:  a b"),
    "repeated fields": head("X: 1", "Cookie: a=b", "x: 2", "cookie: c=d", "X: 3"),
    "underscores": head("X_Y: 1", "X-Y: 2", "X_Y: 3"),
    "body": head("Content-Length: 5", "Content-Type: text/plain", line=POST) + b"hello",
    "empty body": head("Content-Length: 0", line=POST),
    "binary body": head("Content-Length: 4", line=POST) + b"\r\n\0\xff",
    "body of a GET": head("Content-Length: 5") + b"hello",
    "chunked": head(CHUNKED, line=POST) + b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
    "chunked empty": head(CHUNKED, line=POST) + b"0\r\n\r\n",
    "trailers": head(CHUNKED, line=POST) + b"1\r\na\r\n0\r\nX: 1\r\nHost: b\r\nX_Y: 1\r\n\r\n",
    "expectation": head("Expect: 100-continue", "Content-Length: 5", line=POST) + b"hello",
    "upgrade": head("Connection: upgrade", "Upgrade: h2c"),
    "upgrade with a body": head(
        "Connection: upgrade", "Upgrade: h2c", "Content-Length: 18", line=POST
    )
    + b"GET / HTTP/1.1\r\n\r\n",
    "upgrade with chunks": head("Connection: upgrade", "Upgrade: h2c", CHUNKED, line=POST)
    + b"5\r\nhello\r\n0\r\n\r\n",
}
BAD = {
    "no method": b"\x16\x03\x01",
    "no version": b"GET /\r\n\r\n",
    "two spaces in the target": head(line="GET /a b HTTP/1.1"),
    "bad field": head("Field"),
    "folded field": head("X: a", " b"),
    "bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "HTTP/2": head(line="GET / HTTP/2.0"),
    "no path": head(line="CONNECT a:443 HTTP/1.1"),
    "bad length": head("Content-Length: x", line=POST),
    "two lengths": head("Content-Length: 1", "Content-Length: 1", line=POST) + b"a",
    "length and chunks": head("Content-Length: 1", CHUNKED, line=POST) + b"0\r\n\r\n",
    "bad chunk": head(CHUNKED, line=POST) + b"x\r\n",
}
TAIL = head(line="GET /tail HTTP/1.1")


# However the bytes are cut.


@pytest.mark.parametrize("name", GOOD)
def test_a_request_is_the_same_byte_by_byte_as_in_one_piece(name: str) -> None:
    whole = parse(GOOD[name])
    assert (whole.status, len(whole.requests), whole.phase) == (0, 1, Phase.IDLE)
    assert parse(*bytewise(GOOD[name])) == whole


@pytest.mark.parametrize("name", GOOD)
def test_a_request_is_the_same_with_another_one_behind_it(name: str) -> None:
    alone, behind = parse(GOOD[name]), parse(TAIL)
    if not alone.requests[0].persistent:
        assert parse(GOOD[name] + TAIL).requests == alone.requests
        return
    for pieces in ([GOOD[name] + TAIL], [GOOD[name], TAIL], bytewise(GOOD[name] + TAIL)):
        outcome = parse(*pieces)
        assert outcome.requests == alone.requests + behind.requests
        assert (outcome.status, outcome.phase) == (0, Phase.IDLE)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_refused_alike_however_it_is_cut(name: str) -> None:
    whole, cut = parse(BAD[name]), parse(*bytewise(BAD[name]))
    assert whole.status >= 400
    assert (cut.status, cut.requests) == (whole.status, [])


@pytest.mark.parametrize("name", BAD)
def test_what_was_whole_before_a_bad_request_stays(name: str) -> None:
    first = only(TAIL)
    for pieces in ([TAIL + BAD[name]], [TAIL, BAD[name]], bytewise(TAIL + BAD[name])):
        outcome = parse(*pieces)
        assert (outcome.requests, outcome.status) == ([first], parse(BAD[name]).status)


PERSISTENT = [name for name in GOOD if parse(GOOD[name]).requests[:1][0].persistent]


@given(
    names=st.lists(st.sampled_from(PERSISTENT), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 1000), max_size=6),
)
def test_any_requests_cut_anywhere_are_the_same(names: list[str], cuts: list[int]) -> None:
    data = b"".join(GOOD[name] for name in names)
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert parse(*pieces).requests == [only(GOOD[name]) for name in names]


@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
def test_no_bytes_at_all_raise_anything_but_an_http_error(data: bytes, cut: int) -> None:
    for prefix in (b"", b"GET / HTTP/1.1\r\nHost: a\r\n", head(CHUNKED, line=POST)):
        parse(prefix + data[:cut], data[cut:])


@given(
    body=st.binary(max_size=3000),
    sizes=st.lists(st.integers(1, 500), min_size=1, max_size=5),
)
def test_a_chunked_body_is_the_same_however_it_is_chunked(body: bytes, sizes: list[int]) -> None:
    parts, at = [], 0
    while at < len(body):
        size = sizes[len(parts) % len(sizes)]
        parts.append(body[at : at + size])
        at += size
    data = b"".join(b"%X\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    request = only(head(CHUNKED, line=POST) + data)
    assert request.body == body
    assert request.environ["CONTENT_LENGTH"] == str(len(body))


# What a request is made of.


def test_the_variables_of_a_request_are_those_of_the_template_its_peer_and_its_head() -> None:
    request = only(head("X-Y: z", line="GET /a%20b?c%20d HTTP/1.1"))
    assert request.environ == {
        **TEMPLATE,
        "REMOTE_ADDR": "10.0.0.1",
        "REMOTE_PORT": "50000",
        "REQUEST_METHOD": "GET",
        "RAW_URI": "/a%20b?c%20d",
        "REQUEST_URI": "/a%20b?c%20d",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "c%20d",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "a",
        "HTTP_X_Y": "z",
    }
    assert request.body is None


def test_a_request_has_an_environ_of_its_own() -> None:
    first, second = parse(head() * 2).requests
    first.environ["changed"] = True
    assert "changed" not in second.environ
    assert "changed" not in TEMPLATE


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        ("/", "/", "", "a"),
        ("/a?b", "/a", "b", "a"),
        ("/a?b?c", "/a", "b?c", "a"),
        ("//b/c", "//b/c", "", "a"),
        ("/%2F%zz%e9", "//%zz\xe9", "", "a"),
        ("http://b", "/", "", "b"),
        ("http://b/", "/", "", "b"),
        ("http://b:80/c?d", "/c", "d", "b:80"),
        ("http://b?c", "/", "c", "b"),
        ("http://b?c/d", "/", "c/d", "b"),
        ("https://[::1]:8000/c%20d", "/c d", "", "[::1]:8000"),
    ],
)
def test_a_target_is_taken_apart(target: str, path: str, query: str, host: str) -> None:
    environ = only(head(line=f"GET {target} HTTP/1.1")).environ
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path, query)
    assert (environ["HTTP_HOST"], environ["RAW_URI"]) == (host, target)


@pytest.mark.parametrize(
    ("line", "connection", "http11", "persistent"),
    [
        ("GET / HTTP/1.1", None, True, True),
        ("GET / HTTP/1.1", "close", True, False),
        ("GET / HTTP/1.1", "keep-alive, Close", True, False),
        ("GET / HTTP/1.0", None, False, False),
        ("GET / HTTP/1.0", "Keep-Alive", False, True),
        ("GET / HTTP/1.0", "close", False, False),
    ],
)
def test_the_client_says_whether_the_connection_lives_on(
    line: str, connection: str | None, http11: bool, persistent: bool
) -> None:
    fields = [f"Connection: {connection}"] if connection else []
    request = only(head(*fields, line=line))
    assert (request.http11, request.persistent) == (http11, persistent)


def test_only_http_1_1_asks_for_a_host() -> None:
    assert only(b"GET / HTTP/1.0\r\n\r\n").environ.get("HTTP_HOST") is None
    assert parse(b"GET / HTTP/1.1\r\n\r\n").status == 400
    assert only(b"GET / HTTP/1.1\r\nHost:\r\n\r\n").environ["HTTP_HOST"] == ""


def test_many_upgrades_in_one_piece_are_many_requests() -> None:
    upgrade = head("Connection: upgrade", "Upgrade: x")
    assert len(parse(upgrade * 60).requests) == 60


def test_what_is_behind_a_request_for_an_upgrade_is_kept() -> None:
    parser = RequestParser(TEMPLATE, PEER, LIMITS)
    upgrade = head("Connection: upgrade", "Upgrade: x")
    parser.feed(upgrade[:20])
    parser.feed(upgrade[20:] + upgrade + head() + b"GET /rest")
    behind = [None if each.behind is None else bytes(each.behind) for each in parser.requests]
    rest = head() + b"GET /rest"
    assert behind == [upgrade + rest, rest, None]


def test_what_is_behind_another_request_is_not() -> None:
    for data in (head("Upgrade: x"), GOOD["upgrade with a body"]):
        parser = RequestParser(TEMPLATE, PEER, LIMITS)
        parser.feed(data)
        assert parser.requests[0].behind is None


def test_the_phase_tells_what_has_arrived() -> None:
    parser = RequestParser(TEMPLATE, PEER, LIMITS)
    phases = [parser.phase]
    for piece in (b"G", b"ET / HTTP/1.1\r\nHost: a\r\n", b"Content-Length: 2\r\n\r\n", b"a", b"b"):
        parser.feed(piece)
        phases.append(parser.phase)
    expected = [Phase.IDLE, Phase.HEAD, Phase.HEAD, Phase.BODY, Phase.BODY, Phase.IDLE]
    assert phases == expected


def test_nothing_of_a_request_is_kept_when_it_is_over() -> None:
    """A connection may be idle for long, and what the app has put into its environ large."""
    parser = RequestParser(TEMPLATE, PEER, LIMITS)
    for data in (GOOD["body"], GOOD["chunked"], GOOD["fields"]):
        parser.feed(data)
        request = parser.requests.popleft()
        slots = {name: getattr(parser, name, None) for name in RequestParser.__slots__}
        kept = [name for name, value in slots.items() if value is request.environ]
        kept += [name for name, value in slots.items() if value and value is request.body]
        assert kept == []


# Expect: 100-continue.


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (head("Expect: 100-continue", "Content-Length: 5", line=POST), True),
        (head("Expect: 100-Continue", CHUNKED, line=POST), True),
        (head("Expect: 100-continue", "Content-Length: 0", line=POST), False),
        (head("Expect: 100-continue", line=POST), False),
        (head("Expect: 100-continue", "Content-Length: 5", line="POST / HTTP/1.0"), False),
        (head("Expect: other", "Content-Length: 5", line=POST), False),
        (GOOD["expectation"], False),
        (TAIL + head("Expect: 100-continue", "Content-Length: 5", line=POST), True),
    ],
)
def test_a_client_may_be_waiting_to_be_told_to_continue(data: bytes, wanted: bool) -> None:
    assert parse(data).continue_wanted is wanted


# Bodies that are read while they arrive.


@pytest.mark.parametrize("name", GOOD)
def test_a_request_whose_body_is_streamed_is_the_same_when_all_has_arrived(name: str) -> None:
    expected = parse(GOOD[name]).requests
    for pieces in ([GOOD[name]], bytewise(GOOD[name])):
        assert parse(*pieces, streaming=True).requests == expected


@given(
    names=st.lists(st.sampled_from(PERSISTENT), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 1000), max_size=6),
)
def test_any_requests_that_are_streamed_and_cut_anywhere_are_the_same(
    names: list[str], cuts: list[int]
) -> None:
    data = b"".join(GOOD[name] for name in names)
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    pieces = [data[start:end] for start, end in pairwise(places)]
    expected = [only(GOOD[name]) for name in names]
    assert parse(*pieces, streaming=True).requests == expected


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_refused_alike_where_bodies_are_streamed(name: str) -> None:
    outcome = parse(BAD[name], streaming=True)
    assert (outcome.status, outcome.requests) == (parse(BAD[name]).status, [])


def test_a_request_whose_body_is_streamed_is_there_as_soon_as_its_head_is() -> None:
    parser = RequestParser(TEMPLATE, PEER, LIMITS, streaming=True)
    parser.feed(head("Content-Length: 5", line=POST)[:-1])
    assert not parser.requests
    parser.feed(b"\n")
    (request,) = parser.requests
    body = request.body
    assert isinstance(body, Stream)
    assert (parser.phase, body.held, body.left) == (Phase.BODY, 0, 5)
    parser.feed(b"hel")
    assert (parser.phase, body.held, body.left) == (Phase.BODY, 3, 2)
    parser.feed(b"lo" + TAIL)
    assert (parser.phase, body.held, body.left) == (Phase.IDLE, 5, 0)
    assert body.finish().read() == b"hello"
    assert len(parser.requests) == 2, "it is given out once, and so is the one behind it"


@pytest.mark.parametrize("name", ["chunked", "chunked empty", "empty body", "upgrade with a body"])
def test_a_body_of_unknown_length_or_end_is_given_out_whole(name: str) -> None:
    """CONTENT_LENGTH, by which apps go, has to be right: RFC 3875, section 4.1.2."""
    parser = RequestParser(TEMPLATE, PEER, LIMITS, streaming=True)
    parser.feed(GOOD[name][:-1])
    assert not parser.requests
    parser.feed(GOOD[name][-1:])
    assert isinstance(parser.requests[0].body, Body)


def test_who_is_given_a_stream_is_told_whether_its_client_waits_to_be_asked_for_it() -> None:
    for expectation, expects in (("100-continue", True), ("another", False)):
        parser = RequestParser(TEMPLATE, PEER, LIMITS, streaming=True)
        parser.feed(head(f"Expect: {expectation}", "Content-Length: 5", line=POST))
        body = parser.requests[0].body
        assert isinstance(body, Stream)
        assert body.expects is expects
        assert not parser.continue_wanted


def test_a_stream_that_is_announced_as_too_large_is_refused_before_it_comes() -> None:
    data = head("Content-Length: 1001", line=POST)
    outcome = parse(data, limits=TIGHT, streaming=True)
    assert (outcome.status, outcome.requests) == (413, [])


# Limits, each at its last good value and one beyond.


def many(count: int) -> bytes:
    """A head of so many fields, with the Host field."""
    return head(*(f"X-{number}: 1" for number in range(count - 1)))


LIMIT_CASES = [
    (
        "target",
        HTTPStatus.REQUEST_URI_TOO_LONG,
        lambda n: head(line=f"GET /{'a' * n} HTTP/1.1"),
        63,
    ),
    ("fields", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, many, 5),
    (
        "repeated fields",
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        lambda n: head(*["X: 1"] * (n - 1)),
        5,
    ),
    (
        "underscored fields",
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        lambda n: head(*["X_Y: 1"] * (n - 1)),
        5,
    ),
    (
        "body",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        lambda n: head(f"Content-Length: {n}", line=POST) + b"a" * n,
        1000,
    ),
    (
        "chunked body",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        lambda n: (
            head(CHUNKED, line=POST)
            + b"1F4\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (b"a" * 500, n - 500, b"a" * (n - 500))
        ),
        1000,
    ),
]


@pytest.mark.parametrize(
    ("status", "make", "most"), [case[1:] for case in LIMIT_CASES], ids=[c[0] for c in LIMIT_CASES]
)
def test_a_limit_is_the_last_value_that_is_accepted(status: int, make: Any, most: int) -> None:
    for cut in (lambda data: [data], bytewise):
        assert parse(*cut(make(most)), limits=TIGHT).status == 0
        assert parse(*cut(make(most + 1)), limits=TIGHT).status == status


def test_a_field_may_have_its_size_and_not_much_more() -> None:
    for field, status in (
        ("X: " + "a" * (TIGHT.field_size - 1), 0),
        ("X: " + "a" * (TIGHT.field_size + 1), 431),
        ("X" * (TIGHT.field_size + 1) + ": a", 431),
    ):
        assert parse(head(field), limits=TIGHT).status == status
        assert parse(*bytewise(head(field)), limits=TIGHT).status == status
        # Behind another request, too.
        assert parse(head() + head(field), limits=TIGHT).status == status


def test_repeated_fields_may_each_have_their_size() -> None:
    field = "Cookie: " + "a" * (TIGHT.field_size - 10)
    assert parse(head(field, field), limits=TIGHT).status == 0


ENDLESS = {
    "target": (b"GET /", b"a", 414),
    "field name": (head()[:-2], b"a", 431),
    "field value": (head()[:-2] + b"X: ", b"a", 431),
    "fields": (head()[:-2], b"X: 1\r\n", 431),
    "spaces in a field": (head()[:-2] + b"X:", b" ", 431),
    "trailer": (head(CHUNKED, line=POST) + b"0\r\nX: ", b"a", 431),
    "trailers": (head(CHUNKED, line=POST) + b"0\r\n", b"X: 1\r\n", 431),
    "chunk extension": (head(CHUNKED, line=POST) + b"1;x=", b"a", 431),
    "body": (head(CHUNKED, line=POST), b"1\r\na\r\n", 413),
    "body in large chunks": (head(CHUNKED, line=POST) + b"FFFFFF\r\n", b"a", 413),
}


@pytest.mark.parametrize("what", ENDLESS)
@pytest.mark.parametrize("size", [1, 100, 1000])
def test_what_never_ends_is_refused_in_the_end(what: str, size: int) -> None:
    beginning, more, status = ENDLESS[what]
    outcome = parse(beginning, *[more * size] * (1 + 20_000 // size), limits=TIGHT)
    assert outcome.status == status


def test_a_body_that_is_announced_as_too_large_is_refused_before_it_comes() -> None:
    assert parse(head("Content-Length: 1001", line=POST), limits=TIGHT).status == 413


def test_without_a_limit_any_body_is_accepted() -> None:
    body = b"a" * (SPOOL_SIZE + 1)
    request = only(head(f"Content-Length: {len(body)}", line=POST) + body)
    assert request.body == body


@pytest.mark.parametrize(
    "fields",
    [
        b"X: 1\r\n" * 1000,
        b"X_Y: 1\r\n" * 1000,
        b"".join(b"X%d:\r\n" % (n // 2) for n in range(1000)),
    ],
)
def test_too_many_repeated_fields_are_refused_before_the_head_ends(fields: bytes) -> None:
    """Each costs more than the one before: an endless head must not cost endless time."""
    assert parse(head()[:-2] + fields).status == 431


def test_nothing_waits_behind_as_many_requests_as_are_parsed_at_a_time() -> None:
    parser = RequestParser(TEMPLATE, PEER, TIGHT)
    parser.feed(head() * MOST_WAITING + b"\r\n")
    assert len(parser.requests) == MOST_WAITING
    assert not parser.waiting
    assert parser.phase is Phase.IDLE


def test_pipelined_requests_are_not_counted_together() -> None:
    data = many(5)
    limits = replace(TIGHT, fields=5)
    assert len(parse(data * 60, limits=limits).requests) == 60
    assert len(parse(*bytewise(data * 20), limits=limits).requests) == 20


def test_of_many_pipelined_requests_only_some_are_parsed_at_a_time() -> None:
    """A client that sends thousands of them can't have each of them kept as an object."""
    data = b"".join(head(line=f"GET /{number} HTTP/1.1") for number in range(1000))
    parser = RequestParser(TEMPLATE, PEER, TIGHT)
    parser.feed(data[:-1])
    targets = []
    while parser.requests:
        assert len(parser.requests) <= MOST_WAITING
        assert parser.phase is Phase.HEAD
        targets += [request.environ["RAW_URI"] for request in parser.requests]
        parser.requests.clear()
        parser.feed(b"")
    assert targets == [f"/{number}" for number in range(999)]
    parser.feed(data[-1:])
    assert parser.requests[0].environ["RAW_URI"] == "/999"
    assert parser.phase is Phase.IDLE


def test_clients_can_not_make_the_table_of_field_names_large() -> None:
    """Names are remembered as they were spelled; what clients make up must not fill memory."""
    for number in range(2000):
        parse(head(f"X-{number}-{'x' * 5000}: 1"))
    assert sum(map(len, fields.KEYS)) < 1 << 20
