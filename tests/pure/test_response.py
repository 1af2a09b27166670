"""The head of a response, and how the end of its body is told."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.http import response as module
from prefork.http.response import STATUS_LINES, Framing, build_head, chunk, error_response
from tests.apps.contract_mistakes import BAD_HEADERS, BAD_STATUS

Fields = list[tuple[str, str]]

_DEFAULTS: dict[str, Any] = {
    "status": "200 OK",
    "headers": [],
    "length": None,
    "head_only": False,
    "http11": True,
    "persistent": True,
}


def build(**given: Any) -> tuple[str, Fields, Framing, int]:
    """The status line, the fields, and the framing, of a 200 unless it is said otherwise."""
    arguments = {**_DEFAULTS, **given}
    line = STATUS_LINES[arguments.pop("status")]
    data, framing, length, persistent = build_head(line, **arguments)
    text = data.decode("latin-1")
    assert text.endswith("\r\n\r\n")
    first, *lines = text[:-4].split("\r\n")
    fields = []
    for field in lines:
        name, separator, value = field.partition(": ")
        assert separator
        fields.append((name, value))
    assert persistent is (CLOSE not in fields)
    return first, fields, framing, length


def framing_fields(fields: Fields) -> Fields:
    """The fields that say how the body is framed, and what becomes of the connection."""
    return [
        (name, value)
        for name, value in fields
        if name in ("Content-Length", "Transfer-Encoding", "Connection")
    ]


LENGTH, CHUNKED = ("Content-Length", "5"), ("Transfer-Encoding", "chunked")
CLOSE, KEEP = ("Connection", "close"), ("Connection", "keep-alive")
NONE = Framing.NONE

# What the app said of the length, what is known of it; HEAD; HTTP/1.1; may the connection live
# on? -> framing, fields.
FRAMING_TABLE = [
    (None, None, False, True, True, Framing.CHUNKED, [CHUNKED]),
    (None, None, False, True, False, Framing.CHUNKED, [CHUNKED, CLOSE]),
    (None, None, False, False, True, Framing.CLOSE, [CLOSE]),
    (None, None, False, False, False, Framing.CLOSE, [CLOSE]),
    (None, 5, False, True, True, Framing.LENGTH, [LENGTH]),
    (None, 5, False, True, False, Framing.LENGTH, [LENGTH, CLOSE]),
    (None, 5, False, False, True, Framing.LENGTH, [LENGTH, KEEP]),
    (None, 5, False, False, False, Framing.LENGTH, [LENGTH, CLOSE]),
    ("5", None, False, True, True, Framing.LENGTH, [LENGTH]),
    ("5", None, False, False, True, Framing.LENGTH, [LENGTH, KEEP]),
    ("5", 7, False, True, True, Framing.LENGTH, [LENGTH]),
    (None, 5, True, True, True, NONE, [LENGTH]),
    ("5", None, True, True, True, NONE, [LENGTH]),
    ("5", 0, True, True, True, NONE, [LENGTH]),
    ("5", None, True, False, True, NONE, [LENGTH, KEEP]),
    ("5", None, True, True, False, NONE, [LENGTH, CLOSE]),
]


@pytest.mark.parametrize("row", FRAMING_TABLE)
def test_the_framing_of_a_response(row: tuple[Any, ...]) -> None:
    said, known, head_only, http11, persistent, framing, fields = row
    _, sent, found, length = build(
        headers=[("Content-Length", said)] if said else [],
        length=known,
        head_only=head_only,
        http11=http11,
        persistent=persistent,
    )
    assert (framing_fields(sent), found) == (fields, framing)
    if framing is Framing.LENGTH:
        assert length == 5


@pytest.mark.parametrize("http11", [True, False])
@pytest.mark.parametrize("length", [None, 0, 5])
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_a_body_is_framed_by_itself(
    status: str, length: int | None, http11: bool
) -> None:
    _, fields, framing, _ = build(status=status, length=length, http11=http11)
    assert framing is Framing.NONE
    assert framing_fields(fields) == ([] if http11 else [KEEP])


def test_a_304_may_tell_the_length_of_what_it_stands_for_and_a_204_may_not() -> None:
    """RFC 9110, section 8.6."""
    for status, expected in (("304 Not Modified", [LENGTH]), ("204 No Content", [])):
        _, fields, framing, _ = build(status=status, headers=[LENGTH], length=0)
        assert (framing_fields(fields), framing) == (expected, Framing.NONE)


@pytest.mark.parametrize("http11", [True, False])
def test_a_response_to_head_never_makes_the_length_zero_up(http11: bool) -> None:
    _, fields, framing, _ = build(head_only=True, length=0, http11=http11)
    assert LENGTH[0] not in dict(fields)
    assert framing is not Framing.LENGTH


def test_the_status_line_is_that_of_the_app_in_our_version() -> None:
    assert build(status="200 OK")[0] == "HTTP/1.1 200 OK"
    assert build(status="299 Very  fine\xe9", http11=False)[0] == "HTTP/1.1 299 Very  fine\xe9"
    # RFC 9112, section 4: the space stays when there is no reason.
    assert build(status="200")[0] == build(status="200 ")[0] == "HTTP/1.1 200 "


def test_the_fields_of_the_app_come_first_and_as_they_were_given() -> None:
    headers = [("b", "1"), ("A", ""), ("b", "caf\xe9"), ("Set-Cookie", "x=y; z")]
    assert build(headers=headers)[1][:4] == headers


def test_date_and_server_are_sent_once_each() -> None:
    _, fields, _, _ = build()
    assert [name for name, _ in fields].count("Date") == 1
    assert dict(fields)["Server"] == "prefork"
    parsedate_to_datetime(dict(fields)["Date"])


@pytest.mark.parametrize("own", [["Date"], ["Server"], ["date", "SERVER"], ["sErVer", "dAtE"]])
def test_date_and_server_of_the_app_count(own: list[str]) -> None:
    _, fields, _, _ = build(headers=[(name, "mine") for name in own])
    for name in ("date", "server"):
        values = [value for key, value in fields if key.lower() == name]
        assert len(values) == 1
        assert (values == ["mine"]) == (name in [key.lower() for key in own])


@pytest.mark.parametrize("what", BAD_HEADERS)
def test_fields_that_must_not_be_sent_are_refused_each_time(what: str) -> None:
    """What is remembered of a field must not make it good."""
    for _ in range(2):
        with pytest.raises((ValueError, TypeError, AttributeError)):
            build(headers=BAD_HEADERS[what])


@pytest.mark.parametrize("what", [name for name in BAD_STATUS if name != "beyond-latin-1"])
def test_a_bad_status_is_refused_each_time(what: str) -> None:
    for _ in range(2):
        with pytest.raises((ValueError, TypeError)):
            STATUS_LINES[BAD_STATUS[what]]


TEXT = st.text(st.characters(max_codepoint=255), max_size=20)


@given(status=TEXT, name=TEXT, value=TEXT)
def test_nothing_the_app_says_can_add_a_line(status: str, name: str, value: str) -> None:
    expected = len(build(headers=[("X", "y")])[1])
    try:
        line, fields, _, _ = build(status=f"200 {status}", headers=[(name, value)])
    except ValueError:
        return
    assert line == f"HTTP/1.1 200 {status}"
    # Its own Content-Length, Date or Server comes instead of ours.
    assert expected - 1 <= len(fields) <= expected
    assert fields[0] == (name, value)


def test_what_is_remembered_of_apps_is_bounded() -> None:
    for number in range(3000):
        build(status=f"200 {number}", headers=[(f"X-{number}", "")])
    for memo in (module._lines, module.STATUS_LINES):
        assert len(memo) + len(memo._before) <= 2000
    assert build(status="200 last", headers=[("X-Last", "1")])[0] == "HTTP/1.1 200 last"


@given(data=st.binary(min_size=1, max_size=5000))
def test_a_chunk_has_its_size_in_hexadecimal(data: bytes) -> None:
    size, _, rest = chunk(data).partition(b"\r\n")
    assert int(size, 16) == len(data)
    assert rest == data + b"\r\n"


@pytest.mark.parametrize("status", [400, 408, 413, 414, 431, 500, 501, 503, 505])
def test_an_error_is_a_whole_response_that_closes(status: int) -> None:
    data = error_response(HTTPStatus(status), "it was \N{SNOWMAN} wrong")
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close" in head
    assert b"\r\nContent-Length: %d\r\n" % len(body) in head
    assert body == f"{status} {HTTPStatus(status).phrase}: it was ? wrong\n".encode()


def test_an_error_to_head_has_the_same_head_and_no_body() -> None:
    whole = error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "why")
    head = error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "why", head_only=True)
    date = head.index(b"Date: ")
    assert whole[:date] == head[:date]
    assert whole.partition(b"\r\n\r\n")[0][date + 40 :] == head[date + 40 : -4]
