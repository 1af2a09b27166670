"""The access log: gunicorn's atoms, and clients who would like to write its lines themselves."""

from __future__ import annotations

import base64
import copy
import json
import os
import re
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.accesslog import AccessLogger, compile_line, names_request_id
from prefork.errors import UsageError
from prefork.http.body import Body
from prefork.http.parser import RequestParser
from prefork.http.request import Limits
from prefork.log import LogFile
from prefork.responding import Disconnected
from prefork.settings import ACCESS_LOG_FORMAT
from prefork.wsgi import Exchange

LIMITS = Limits(line=8190, fields=100, field_size=8190, body=0)
ATOMS = "hlutrmUqHsBbfaTDMLp"


class Wire:
    """A transport to nowhere."""

    retiring = False

    def __init__(self, gone: bool = False) -> None:
        self._gone = gone

    def send(self, data: bytes, more: bytes = b"") -> None:
        if self._gone:
            raise Disconnected


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response(
        "201 Created", [("X-Kind", "a"), ("Content-Type", "text/plain"), ("x-kind", "b")]
    )
    return [b"hello"]


def exchange(
    *fields: str,
    line: str = "GET /some/path?a=b HTTP/1.1",
    app: Callable[..., Iterable[bytes]] = hello,
    address: str = "192.0.2.1",
    gone: bool = False,
) -> Exchange:
    """An exchange that is over."""
    parser = RequestParser({"wsgi.url_scheme": "http"}, (address, "50000"), LIMITS)
    parser.feed("\r\n".join([line, "Host: a", *fields, "", ""]).encode("latin-1"))
    made = Exchange(parser.requests.popleft(), Wire(gone))
    made.run(app)
    return made


def logged(format: str, over: Exchange, seconds: float = 1.2345678) -> str:
    """The line that a format makes of an exchange, without its newline."""
    line = compile_line(format)(over, seconds).decode()
    assert line.endswith("\n")
    return line.removesuffix("\n")


EXCHANGE = exchange("Referer: http://from/", "User-Agent: agent/1", "X-Asked: for")


@pytest.mark.parametrize(
    ("atom", "value"),
    [
        ("%(h)s", "192.0.2.1"),
        ("%(l)s", "-"),
        ("%(u)s", "-"),
        ("%(r)s", "GET /some/path?a=b HTTP/1.1"),
        ("%(m)s", "GET"),
        ("%(U)s", "/some/path"),
        ("%(q)s", "a=b"),
        ("%(H)s", "HTTP/1.1"),
        ("%(s)s", "201"),
        ("%(B)s", "5"),
        ("%(b)s", "5"),
        ("%(f)s", "http://from/"),
        ("%(a)s", "agent/1"),
        ("%(T)s", "1"),
        ("%(D)s", "1234567"),
        ("%(M)s", "1234"),
        ("%(L)s", "1.234568"),
        ("%({x-asked}i)s", "for"),
        ("%({X-ASKED}i)s", "for"),
        ("%({x-missing}i)s", "-"),
        ("%({content-type}o)s", "text/plain"),
        ("%({X-Kind}o)s", "a, b"),
        ("%({x-missing}o)s", "-"),
        ("%({REMOTE_ADDR}e)s", "192.0.2.1"),
        ("%({wsgi.url_scheme}e)s", "http"),
        ("%({MISSING}e)s", "-"),
        ("%({'\"get(0)\\}e)s", "-"),
        ("", ""),
        ("plain", "plain"),
        ("%%", "%"),
        ("%%(h)s", "%(h)s"),
        ("100%%|%(s)s|%%s", "100%|201|%s"),
        ("%(s)s%(s)s", "201201"),
        ("(h)s {x}i \N{SNOWMAN}", "(h)s {x}i \N{SNOWMAN}"),
    ],
)
def test_an_atom_becomes_its_value(atom: str, value: str) -> None:
    assert logged(atom, EXCHANGE) == value


def test_the_pid_is_that_of_the_process_that_serves() -> None:
    assert logged("%(p)s", EXCHANGE) == f"<{os.getpid()}>"


def test_the_time_is_local_and_in_the_common_log_format() -> None:
    stamp = logged("%(t)s", EXCHANGE)
    told = time.mktime(time.strptime(stamp[:-7], "[%d/%b/%Y:%H:%M:%S"))
    assert abs(told - time.time()) < 60
    assert re.fullmatch(r"\[.* [+-]\d{4}\]", stamp)


def test_what_is_not_there_is_a_dash() -> None:
    over = exchange(line="GET / HTTP/1.1", address="")
    assert logged("%(h)s %(f)s %(a)s %(u)s [%(q)s]", over) == "- - - - []"


def test_a_response_without_a_body_has_a_dash_for_its_size() -> None:
    def empty(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return []

    assert logged("%(B)s %(b)s", exchange(app=empty)) == "0 -"
    head = exchange(line="HEAD / HTTP/1.1")
    assert logged("%(m)s %(B)s %(b)s", head) == "HEAD 0 -"


def test_a_failed_response_is_logged_with_the_status_that_the_client_got() -> None:
    def fails(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("X-Kind", "a")])
        raise RuntimeError

    assert logged("%(s)s %({x-kind}o)s", exchange(app=fails)) == "500 -"


def test_a_chunked_response_is_logged_with_the_size_of_its_body() -> None:
    def streams(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        yield from (b"one", b"", b"two")

    assert logged("%(s)s %(B)s", exchange(app=streams)) == "200 6"


def test_a_response_to_nobody_is_logged_too() -> None:
    assert logged("%(s)s", exchange(gone=True)) == "201"


def basic(credentials: bytes) -> str:
    return f"Authorization: Basic {base64.b64encode(credentials).decode()}"


@pytest.mark.parametrize(
    ("field", "user"),
    [
        (basic(b"alice:secret"), "alice"),
        (basic(b"alice:se:cret"), "alice"),
        (basic(b"alice"), "alice"),
        (basic(b":secret"), "-"),
        (basic(b""), "-"),
        (basic("caf\xe9:x".encode()), "caf\xe9"),
        (basic(b"\xff:x"), "\N{REPLACEMENT CHARACTER}"),
        (basic(b'a"b\r\nc:x'), r"a\x22b\x0d\x0ac"),
        ("Authorization: bAsIc  YWxpY2U6eA== ", "alice"),
        ("Authorization: Basic", "-"),
        ("Authorization:", "-"),
        ("Authorization: Basic %%%", "-"),
        ("Authorization: Basic YWxpY2U6e", "-"),
        ("Authorization: Basic caf\xe9", "-"),
        ("Authorization: Bearer YWxpY2U6eA==", "-"),
    ],
)
def test_the_user_is_that_of_basic_authorization(field: str, user: str) -> None:
    assert logged("%(u)s", exchange(field)) == user


def test_an_app_that_has_cleared_its_environ_is_logged_too() -> None:
    def clears(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ.clear()
        start_response("200 OK", [])
        return [b"hello"]

    line = logged("".join(f"%({atom})s " for atom in ATOMS), exchange(app=clears))
    assert "200 5 5" in line


# Hostile values.

FORGERY = '" 200 5\r\n192.0.2.9 - - "GET /forged'


def test_a_client_can_not_end_a_quotation_or_a_line_of_the_log() -> None:
    def forges(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["forged"] = FORGERY
        start_response("200 OK", [])
        return []

    escaped = r"\x22 200 5\x0d\x0a192.0.2.9 - - \x22GET /forged"
    assert logged('"%({forged}e)s"', exchange(app=forges)) == f'"{escaped}"'
    over = exchange('Referer: "\\', 'User-Agent: \x80"', line='GET /%0d%0a%22?%0d"\\ HTTP/1.1')
    line = logged(ACCESS_LOG_FORMAT + " %(U)s %(q)s %({user-agent}i)s", over)
    assert line.count('"') == 6
    assert "\r" not in line
    assert "\n" not in line
    assert r"/\x0d\x0a\x22 %0d\x22\x5c \x80\x22" in line


@given(value=st.text(max_size=50))
def test_any_value_is_one_printable_line(value: str) -> None:
    def says(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["said"] = value
        start_response("200 OK", [])
        return []

    line = logged("%({said}e)s", exchange(app=says))
    assert not re.search(r'[\x00-\x1f\x7f-\x9f"]|\\(?!x[0-9a-f]{2})', line)


@given(value=st.binary(max_size=60).filter(lambda data: not set(data) & set(b"\0\r\n")))
def test_no_credentials_make_logging_fail(value: bytes) -> None:
    over = exchange()
    over.request.environ["HTTP_AUTHORIZATION"] = "Basic " + value.decode("latin-1")
    assert logged("%(u)s", over)


def test_a_percent_sign_of_a_client_is_no_atom() -> None:
    over = exchange("User-Agent: %(h)s %s %d %%", line="GET /%25s?%s HTTP/1.1")
    assert logged("%(a)s %(U)s %(q)s", over) == "%(h)s %s %d %% /%s %s"


@pytest.mark.parametrize("between", ["\t", '"', "\\", "\x1f", "\N{SNOWMAN}", "\n"])
def test_what_the_format_has_of_itself_is_no_forgery_and_hides_none(between: str) -> None:
    format = f"%(a)s{between}%(s)s"
    assert logged(format, exchange("User-Agent: agent/1")) == f"agent/1{between}201"
    forging = exchange(f'User-Agent: "{chr(9)}\\')
    assert logged(format, forging) == rf"\x22\x09\x5c{between}201"


# Formats.


@pytest.mark.parametrize(
    "format",
    [
        "%(x)s",
        "%(hh)s",
        "%()s",
        "%(h)d",
        "%(h)",
        "%h",
        "%",
        "%(h)s %",
        "%({}i)s",
        "%({name}x)s",
        "%({name)s",
        "%(name}i)s",
        "%s",
        "%\n",
    ],
)
def test_a_format_that_names_what_there_is_not_is_refused(format: str) -> None:
    with pytest.raises(UsageError, match="access_log_format"):
        compile_line(format)


def test_a_refusal_shows_what_is_wrong() -> None:
    with pytest.raises(UsageError, match=re.escape("'%(x)s'")):
        compile_line("%(h)s %(x)s %(s)s")


@given(format=st.text("%(){}hsioexz -", max_size=12))
def test_a_format_is_either_refused_or_works(format: str) -> None:
    try:
        line = compile_line(format)
    except UsageError:
        return
    assert line(EXCHANGE, 0.5)


def test_every_atom_is_there() -> None:
    for atom in ATOMS:
        compile_line(f"%({atom})s")


# Lines.


def test_each_exchange_is_a_line_of_the_file(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "access.log"), 1)
    logger = AccessLogger(ACCESS_LOG_FORMAT, file)
    logger.log(EXCHANGE, 0.1)
    logger.log(exchange(line="GET /caf%C3%A9 HTTP/1.0"), 0.1)
    first, second = (tmp_path / "access.log").read_text().splitlines()
    request, tail = '"GET /some/path?a=b HTTP/1.1"', '201 5 "http://from/" "agent/1"'
    assert re.fullmatch(rf"192\.0\.2\.1 - - \[.*\] {re.escape(request)} {re.escape(tail)}", first)
    assert '"GET /caf%C3%A9 HTTP/1.0" 201 5 "-" "-"' in second
    os.close(file.fd)


def test_a_logger_with_a_bad_format_is_refused(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "access.log"), 1)
    with pytest.raises(UsageError):
        AccessLogger("%(x)s", file)
    os.close(file.fd)


def test_the_body_of_a_request_does_not_count() -> None:
    parser = RequestParser({}, ("", ""), LIMITS)
    parser.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123456789")
    request = parser.requests.popleft()
    assert isinstance(request.body, Body)
    over = Exchange(request, Wire())
    over.run(hello)
    assert logged("%(B)s %({Content-Length}i)s", over) == "5 9"


# JSON.


def test_an_exchange_is_an_object_on_one_line() -> None:
    told = json.loads(logged("json", exchange("User-Agent: agent/1")))
    assert abs(datetime.now().astimezone() - datetime.fromisoformat(told.pop("time"))) < timedelta(
        minutes=5
    )
    assert told == {
        "client": "192.0.2.1",
        "method": "GET",
        "uri": "/some/path?a=b",
        "protocol": "HTTP/1.1",
        "status": 201,
        "bytes": 5,
        "seconds": 1.234568,
        "referer": None,
        "user_agent": "agent/1",
        "request_id": None,
        "pid": os.getpid(),
    }


@given(st.binary(min_size=1, max_size=20).filter(lambda data: not set(data) & set(b"\r\n\0")))
def test_no_client_writes_json_of_its_own(data: bytes) -> None:
    over = copy.copy(EXCHANGE)
    over.request = copy.copy(over.request)
    over.request.environ = {**over.request.environ, "HTTP_USER_AGENT": data.decode("latin-1")}
    line = logged("json", over)
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line)["user_agent"] == data.decode("latin-1")


@pytest.mark.parametrize("changed", [object(), "\ud800", b"bytes", 7])
def test_an_app_that_changes_its_environ_does_not_keep_lines_from_being_written(
    changed: object,
) -> None:
    over = exchange()
    over.request.environ["REMOTE_ADDR"] = changed
    assert json.loads(logged("json", over))["status"] == 201
    assert logged("%(h)s %(s)s", over).endswith(" 201")


def test_formats_that_have_the_id_of_the_request_are_known() -> None:
    assert names_request_id("json")
    assert names_request_id("%(h)s %({prefork.request_id}e)s")
    assert not names_request_id(ACCESS_LOG_FORMAT)
