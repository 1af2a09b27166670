"""HTTP/1.1 and 1.0 as a client sees them on the wire, in every mode: RFC 9110 and RFC 9112."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.apps.contract import WAYS
from tests.support.modes import Mode
from tests.support.rawhttp import Wire, chunked, request, running
from tests.support.server import Server

APP = "tests.apps.contract:app"


@pytest.fixture(scope="module")
def server(mode: Mode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(APP, tmp_path_factory.mktemp("http"), workers=1, **mode.settings) as server:
        yield server


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server.port) as wire:
        yield wire


# How long a connection lives: RFC 9112, section 9.3.


@pytest.mark.parametrize("field", [None, "Connection: keep-alive", "Connection: x-other"])
def test_an_http_1_1_connection_is_kept_without_a_word(wire: Wire, field: str | None) -> None:
    for _ in range(3):
        assert wire.get("/", *filter(None, [field])).get("Connection") is None


@pytest.mark.parametrize(
    "field",
    [
        "Connection: close",
        "Connection: Close",
        "Connection: keep-alive, close",
        "connection:close",
        "Connection: x-other\r\nConnection: close",
    ],
)
def test_an_http_1_1_connection_ends_when_the_client_says_close(wire: Wire, field: str) -> None:
    assert wire.get("/", field).get("Connection") == "close"
    wire.assert_closed()


@pytest.mark.parametrize("field", ["X-Nothing: 1", "Connection: close"])
def test_an_http_1_0_connection_ends_after_its_response(wire: Wire, field: str) -> None:
    wire.send(request("GET", "/", field, version="1.0"))
    assert wire.response().get("Connection") == "close"
    wire.assert_closed()


def test_an_http_1_0_connection_is_kept_when_the_client_says_keep_alive(wire: Wire) -> None:
    for _ in range(3):
        wire.send(request("GET", "/", "Connection: Keep-Alive", version="1.0"))
        assert wire.response().get("Connection") == "keep-alive"


def test_a_client_may_speak_both_versions_on_one_connection(wire: Wire) -> None:
    assert wire.get("/").get("Connection") is None
    wire.send(request("GET", "/", "Connection: keep-alive", version="1.0"))
    assert wire.response().get("Connection") == "keep-alive"
    assert wire.get("/").get("Connection") is None


def test_a_client_that_says_it_will_send_no_more_still_gets_its_response(wire: Wire) -> None:
    wire.send(request("GET", "/large?3000000"))
    wire.half_close()
    assert len(wire.response().body) == 3_000_000
    wire.assert_closed()


def test_a_client_that_ends_in_the_middle_of_a_request_gets_no_response(wire: Wire) -> None:
    wire.send(request("POST", "/echo", body=b"1234567890")[:-1])
    wire.half_close()
    wire.assert_closed()


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("path", ["/large?4000000", "/ways?generator"])
def test_a_connection_that_ends_is_not_ended_before_its_response(
    server: Server, path: str, version: str
) -> None:
    """Not even when the client is slow to take it."""
    with Wire(server.port, receive_buffer=4096) as wire:
        wire.send(request("GET", path, "Connection: close", version=version))
        assert wire.response().body in (b"x" * 4_000_000, b"onetwosix")
        wire.assert_closed()


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_goes_before_the_end_of_its_response_harms_nobody(
    server: Server, tmp_path: Path, reset: bool
) -> None:
    name = tmp_path.name
    with Wire(server.port) as other:
        pid = other.get("/pid").body
        with Wire(server.port) as wire:
            wire.send(request("GET", f"/gated?{name}") + request("GET", "/pid") * 10)
            wire.head()
            if reset:
                wire.reset_on_close()
        (server.directory / f"go-{name}").touch()
        assert other.get("/pid").body == pid


# Pipelining: RFC 9112, section 9.3.2.


def test_requests_in_one_segment_are_answered_in_order(wire: Wire) -> None:
    wire.send(b"".join(request("GET", f"/?{number}") for number in range(200)))
    for number in range(200):
        assert json.loads(wire.response().body)["QUERY_STRING"] == str(number)


def test_what_is_refused_behind_a_request_is_refused_each_time(server: Server) -> None:
    for _ in range(4):
        with Wire(server.port) as wire:
            wire.send(request("GET", "/refused-behind") + b"not a request\r\n\r\n")
            assert wire.response().status == 200
            assert wire.response().status == 400
            wire.assert_closed()


def test_a_pipelined_post_takes_its_body_and_no_more(wire: Wire) -> None:
    wire.send(
        request("GET", "/?1")
        + request("POST", "/echo", body=b"GET /not-a-request HTTP/1.1\r\n\r\n")
        + request("POST", "/echo", "Transfer-Encoding: chunked")
        + chunked(b"GET / HTTP/1.1", b"\r\n\r\n")
        + request("GET", "/?2")
    )
    assert json.loads(wire.response().body)["QUERY_STRING"] == "1"
    assert wire.response().body == b"GET /not-a-request HTTP/1.1\r\n\r\n"
    assert wire.response().body == b"GET / HTTP/1.1\r\n\r\n"
    assert json.loads(wire.response().body)["QUERY_STRING"] == "2"


def test_pipelined_responses_that_fill_every_buffer_all_come_in_order(server: Server) -> None:
    sizes = [300_000 + number for number in range(30)]
    with Wire(server.port, receive_buffer=4096) as wire:
        wire.send(b"".join(request("GET", f"/large?{size}") for size in sizes))
        assert [len(wire.response().body) for _ in sizes] == sizes


def test_nothing_is_answered_after_a_request_that_says_close(wire: Wire) -> None:
    last = request("GET", "/pid", "Connection: close")
    wire.send(request("GET", "/pid") + last + request("GET", "/pid"))
    assert wire.response().get("Connection") is None
    assert wire.response().get("Connection") == "close"
    wire.assert_closed()


CONVERSATION = (
    (request("GET", "/ways?generator"), b"onetwosix"),
    (request("POST", "/echo", body=b"hello"), b"hello"),
    (
        request("POST", "/echo", "Transfer-Encoding: chunked")
        + chunked(b"abc", b"defghi", trailer=b"X-Trailer: 1\r\n"),
        b"abcdefghi",
    ),
    (request("GET", "/ways?list", "Connection: close"), b"onetwosix"),
)


def test_a_conversation_may_be_split_at_any_byte(server: Server) -> None:
    whole = b"".join(part for part, _ in CONVERSATION)
    ends = [sum(len(part) for part, _ in CONVERSATION[: n + 1]) for n in range(len(CONVERSATION))]
    for split in range(1, len(whole)):
        # What is complete in the first part is read before the second is sent, so that the server
        # has seen them apart.
        complete = sum(end <= split for end in ends)
        with Wire(server.port) as wire:
            wire.send(whole[:split])
            bodies = [wire.response().body for _ in range(complete)]
            wire.send(whole[split:])
            bodies += [wire.response().body for _ in range(len(CONVERSATION) - complete)]
            assert bodies == [body for _, body in CONVERSATION], f"split at {split}"
            wire.assert_closed()


def test_a_conversation_may_come_byte_by_byte(wire: Wire) -> None:
    for part, body in CONVERSATION:
        for byte in part:
            wire.send(bytes([byte]))
        assert wire.response().body == body


def test_empty_lines_before_a_request_are_passed_over(wire: Wire) -> None:
    """RFC 9112, section 2.2."""
    for _ in range(2):
        wire.send(b"\r\n\r\n")
        wire.assert_open()


# Bodies of requests.


def test_a_chunked_body_reaches_the_app_decoded_and_with_its_length(wire: Wire) -> None:
    wire.send(request("POST", "/echo", "Transfer-Encoding: chunked"))
    wire.send(b"3;name=value\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n")
    assert wire.response().body == b"abc0123456789"
    wire.send(request("POST", "/", "Transfer-Encoding: chunked") + chunked(b"abc"))
    environ = json.loads(wire.response().body)
    assert environ["CONTENT_LENGTH"] == "3"
    assert "HTTP_TRANSFER_ENCODING" not in environ


def test_an_empty_chunked_body_is_an_empty_body(wire: Wire) -> None:
    wire.send(request("POST", "/digest", "Transfer-Encoding: chunked") + chunked())
    assert wire.response().text.split()[1] == "0"
    wire.assert_open()


def test_a_trailer_does_not_become_a_header(wire: Wire) -> None:
    """RFC 9110, section 6.5.1: whoever checks the headers has not seen the trailers."""
    trailer = b"X-Forwarded-For: 6.6.6.6\r\nHost: evil\r\nX_Under: 1\r\n"
    head = request("POST", "/", "Transfer-Encoding: chunked")
    wire.send(head + chunked(b"abc", trailer=b""))
    without = json.loads(wire.response().body)
    wire.send(head + chunked(b"abc", trailer=trailer))
    assert json.loads(wire.response().body) == without
    wire.assert_open()


@pytest.mark.parametrize("body", ["Content-Length: 30", "Transfer-Encoding: chunked"])
def test_an_upgrade_is_ignored_and_the_body_stays_a_body(wire: Wire, body: str) -> None:
    """RFC 9110, section 7.8. What clients of h2c send: if the body were not read as one, it would
    be taken for a request that nobody in between has seen."""
    hidden = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"[:30].ljust(30)
    wire.send(request("POST", "/echo", "Connection: Upgrade", "Upgrade: h2c", body))
    wire.send(chunked(hidden) if "chunked" in body else hidden)
    response = wire.response()
    assert response.body == hidden
    assert response.get("Connection") == "close", "no one can tell what follows such a body"
    wire.assert_closed()


def test_a_request_behind_an_ignored_upgrade_is_served(wire: Wire) -> None:
    upgrade = request("GET", "/ways?list", "Connection: Upgrade", "Upgrade: websocket")
    wire.send(upgrade + request("GET", "/pid"))
    assert wire.response().body == b"onetwosix"
    assert wire.response().text.isdigit()
    wire.assert_open()


# Expect: 100-continue, RFC 9110, section 10.1.1.

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("expectation", ["100-continue", "100-Continue"])
@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_client_that_waits_for_it_is_told_to_continue(
    wire: Wire, expectation: str, framing: str
) -> None:
    for _ in range(2):
        wire.send(request("POST", "/echo", f"Expect: {expectation}", framing))
        assert wire.exactly(len(INTERIM)) == INTERIM
        wire.send(chunked(b"hello") if "chunked" in framing else b"hello")
        assert wire.response().body == b"hello"


def test_a_client_that_waits_is_told_only_once(wire: Wire) -> None:
    wire.send(request("POST", "/echo", "Expect: 100-continue", "Content-Length: 5"))
    assert wire.exactly(len(INTERIM)) == INTERIM
    for byte in b"hello":
        wire.send(bytes([byte]))
    assert wire.response().body == b"hello"


def test_a_client_that_waits_behind_a_pipelined_request_is_told_to_continue(wire: Wire) -> None:
    head = request("POST", "/echo", "Expect: 100-continue", "Content-Length: 5")
    wire.send(request("GET", "/pid") + head)
    assert wire.response().text.isdigit()
    assert wire.exactly(len(INTERIM)) == INTERIM
    wire.send(b"hello")
    assert wire.response().body == b"hello"


def test_a_client_that_has_sent_the_body_already_is_told_nothing(wire: Wire) -> None:
    wire.send(request("POST", "/echo", "Expect: 100-continue", body=b"hello"))
    assert wire.response().body == b"hello"


def test_a_client_of_http_1_0_is_never_sent_an_interim_response(wire: Wire) -> None:
    wire.send(request("POST", "/echo", "Expect: 100-continue", "Content-Length: 5", version="1.0"))
    wire.send(b"hello")
    assert wire.response().body == b"hello"


def test_another_expectation_is_ignored(wire: Wire) -> None:
    wire.send(request("POST", "/echo", "Expect: the-unexpected", "Content-Length: 5"))
    wire.send(b"hello")
    assert wire.response().body == b"hello"


# Bodies of responses: RFC 9112, section 6.3.


def test_a_response_of_unknown_length_is_chunked(wire: Wire) -> None:
    response = wire.get("/ways?generator")
    assert response.chunks == [b"one", b"two", b"six"]
    assert response.get("Connection") is None
    wire.assert_open()


@pytest.mark.parametrize("fields", [(), ("Connection: keep-alive",)])
def test_an_http_1_0_response_of_unknown_length_ends_with_the_connection(
    wire: Wire, fields: tuple[str, ...]
) -> None:
    wire.send(request("GET", "/ways?generator", *fields, version="1.0"))
    response = wire.response()
    assert (response.framing, response.body) == ("close", b"onetwosix")


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("way", WAYS)
def test_a_response_to_head_has_the_fields_of_the_one_to_get_and_no_body(
    server: Server, version: str, way: str
) -> None:
    heads = []
    for method in ("GET", "HEAD"):
        with Wire(server.port) as wire:
            wire.send(request(method, f"/ways?{way}", "Connection: keep-alive", version=version))
            response = wire.response(method)
            heads.append([field for field in response.fields if field[0] != "Date"])
            if response.get("Connection") == "close":
                wire.assert_closed()
            else:
                wire.assert_open()
    assert heads[0] == heads[1]


@pytest.mark.parametrize("nothing", ["list", "tuple", "bytes", "generator"])
def test_no_length_is_made_up_for_a_response_to_head_without_a_body(
    wire: Wire, nothing: str
) -> None:
    """RFC 9110, section 8.6: frameworks drop the body of such a response, so that its length
    is not zero but unknown."""
    wire.send(request("HEAD", f"/empty?{nothing}"))
    assert wire.response("HEAD").get("Content-Length") is None
    wire.assert_open()


@pytest.mark.parametrize("nothing", ["list", "tuple", "bytes", "generator", "generator-of-nothing"])
def test_a_response_without_a_body_has_the_length_zero(wire: Wire, nothing: str) -> None:
    response = wire.get(f"/empty?{nothing}")
    assert (response.framing, response.body) == ("length", b"")
    wire.assert_open()


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("body", ["", "body"])
def test_a_status_that_has_no_body_is_sent_without_one(wire: Wire, status: int, body: str) -> None:
    response = wire.get(f"/status?{status}//{body}")
    assert response.status == status
    assert response.get("Content-Length") is None
    assert response.get("Transfer-Encoding") is None
    wire.assert_open()


def test_a_304_may_tell_the_length_of_what_it_stands_for(wire: Wire) -> None:
    assert wire.get("/status?304/1234/").get("Content-Length") == "1234"
    wire.assert_open()


def test_a_204_never_has_a_content_length(wire: Wire) -> None:
    """RFC 9110, section 8.6."""
    assert wire.get("/status?204/0/").get("Content-Length") is None
    wire.assert_open()


# What a response says of itself.


def test_a_response_has_one_date_which_is_now_and_one_server(wire: Wire) -> None:
    response = wire.get("/")
    date = response.get("Date")
    assert date is not None
    assert date.endswith(" GMT")
    assert abs(parsedate_to_datetime(date).timestamp() - time.time()) < 60
    assert response.get("Server") == "prefork"


def test_the_date_moves_on(server: Server) -> None:
    with Wire(server.port) as wire:
        first = wire.get("/").get("Date")
        end = time.monotonic() + 30
        while wire.get("/").get("Date") == first:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_the_app_may_send_its_own_date_and_server(wire: Wire) -> None:
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    body = json.dumps([("date", date), ("SERVER", "mine")]).encode()
    wire.send(request("POST", "/headers", body=body))
    response = wire.response()
    assert (response.get("Date"), response.get("Server")) == (date, "mine")


def test_the_fields_of_the_app_come_in_its_order_and_spelling(wire: Wire) -> None:
    pairs = [["X-Last", "z"], ["x-FIRST", "a"], ["X-Last", "y"], ["Content-TYPE", "text/x"]]
    wire.send(request("POST", "/headers", body=json.dumps(pairs).encode()))
    response = wire.response()
    assert [list(pair) for pair in response.fields[:4]] == pairs


# What is refused.

# More are in tests/corpus.
MALFORMED = {
    "no HTTP": b"hello, server\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no colon": request("GET", "/", "Field"),
    "chunk size": request("POST", "/", "Transfer-Encoding: chunked") + b"x\r\n",
}


@pytest.mark.parametrize("mistake", MALFORMED)
def test_a_malformed_request_is_answered_with_400_and_the_connection_ends(
    server: Server, mistake: str
) -> None:
    with Wire(server.port) as wire:
        wire.send(MALFORMED[mistake])
        response = wire.response()
        assert response.status == 400
        assert response.get("Connection") == "close"
        assert response.get("Content-Type") == "text/plain; charset=utf-8"
        assert response.text.startswith("400 ")
        wire.assert_closed()
    with Wire(server.port) as other:
        other.assert_open()


def test_requests_before_a_malformed_one_are_answered_first(wire: Wire) -> None:
    wire.send(request("GET", "/pid") * 3 + b"nonsense\r\n\r\n" + request("GET", "/pid"))
    assert [wire.response().status for _ in range(4)] == [200, 200, 200, 400]
    wire.assert_closed()


# Limits, each at its last good value and one beyond.

LINE, FIELDS, FIELD_SIZE, BODY = 100, 8, 200, 5000


@pytest.fixture(scope="module")
def limited(mode: Mode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {
        **mode.settings,
        "limit_request_line": LINE,
        "limit_request_fields": FIELDS,
        "limit_request_field_size": FIELD_SIZE,
        "limit_request_body": BODY,
    }
    with running(APP, tmp_path_factory.mktemp("limited"), **settings) as server:
        yield server


def many_fields(count: int) -> list[str]:
    """So many fields, together with the one that `request` adds."""
    return [f"X-{number}: 1" for number in range(count - 1)]


def same_fields(count: int) -> list[str]:
    return ["X-Same: 1"] * (count - 1)


WITHIN = {
    "target": request("GET", "/" + "a" * (LINE - 1)),
    "fields": request("GET", "/", *many_fields(FIELDS)),
    "repeated fields": request("GET", "/", *same_fields(FIELDS)),
    "field size": request("GET", "/", "X: " + "a" * (FIELD_SIZE - 1)),
    "repeated field of a good size each": request(
        "GET", "/", "X: " + "a" * (FIELD_SIZE - 1), "X: " + "b" * (FIELD_SIZE - 1)
    ),
    "body": request("POST", "/", body=b"a" * BODY),
    "chunked body": request("POST", "/", "Transfer-Encoding: chunked")
    + chunked(b"a" * 2000, b"a" * (BODY - 2000)),
}
BEYOND = {
    "target": (414, request("GET", "/" + "a" * LINE)),
    "endless target": (414, b"GET /" + b"a" * (LINE + 1)),
    "fields": (431, request("GET", "/", *many_fields(FIELDS + 1))),
    "repeated fields": (431, request("GET", "/", *same_fields(FIELDS + 1))),
    "underscored fields": (431, request("GET", "/", *["X_Same: 1"] * FIELDS)),
    "field value": (431, request("GET", "/", "X: " + "a" * (FIELD_SIZE + 1))),
    "field name": (431, request("GET", "/", "X" * (FIELD_SIZE + 1) + ": 1")),
    "endless value": (431, request("GET", "/", "X: " + "a" * 20_000)[:-4]),
    "endless name": (431, request("GET", "/", "X" * 20_000)[:-4]),
    "body": (413, request("POST", "/echo", body=b"a" * (BODY + 1))),
    "body that is announced": (413, request("POST", "/echo", f"Content-Length: {BODY + 1}")),
    "chunked body": (
        413,
        request("POST", "/echo", "Transfer-Encoding: chunked") + chunked(b"a" * BODY, b"a"),
    ),
    "trailers": (
        431,
        request("POST", "/echo", "Transfer-Encoding: chunked")
        + chunked(b"a", trailer=b"X: 1\r\n" * 40_000),
    ),
    "endless trailer": (
        431,
        request("POST", "/echo", "Transfer-Encoding: chunked") + b"0\r\nX: " + b"a" * 100_000,
    ),
}


@pytest.mark.parametrize("what", WITHIN)
def test_a_request_that_reaches_a_limit_is_served(limited: Server, what: str) -> None:
    with Wire(limited.port) as wire:
        wire.send(WITHIN[what])
        assert wire.response().status == 200
        wire.assert_open()


@pytest.mark.parametrize("what", BEYOND)
def test_a_request_beyond_a_limit_is_refused_with_its_status(limited: Server, what: str) -> None:
    status, data = BEYOND[what]
    with Wire(limited.port) as wire:
        wire.send(data)
        response = wire.response()
        assert (response.status, response.get("Connection")) == (status, "close")
        wire.assert_closed()


def test_a_client_that_asks_before_sending_too_much_is_refused_at_once(limited: Server) -> None:
    with Wire(limited.port) as wire:
        wire.send(request("POST", "/", "Expect: 100-continue", f"Content-Length: {BODY + 1}"))
        assert wire.response().status == 413
        wire.assert_closed()


def test_a_client_that_sends_far_too_much_can_still_read_why_it_was_refused(
    limited: Server,
) -> None:
    """The rest of the body is read and thrown away: RFC 9112, section 9.6."""
    with Wire(limited.port) as wire:
        wire.send(request("POST", "/", body=b"a" * 4_000_000))
        assert wire.response().status == 413
        wire.assert_closed()
