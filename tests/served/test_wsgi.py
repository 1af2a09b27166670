"""WSGI as an app meets it (PEP 3333), in every mode: what it is given, what it may give, and its
mistakes."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.apps import contract
from tests.apps.contract import WAYS
from tests.apps.contract_mistakes import BAD_HEADERS, BAD_STATUS, MISTAKES
from tests.conftest import Serve
from tests.support.modes import Mode
from tests.support.rawhttp import Response, Wire, chunked, request, running
from tests.support.server import Server, eventually, open_files

MIB = 1 << 20
_numbers = count()


@pytest.fixture(scope="module")
def server(mode: Mode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("wsgi")
    with running("tests.apps.contract:app", directory, workers=1, **mode.settings) as server:
        yield server


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server.port) as wire:
        yield wire


@pytest.fixture
def name() -> str:
    """A name that no other test uses, for the files that the app leaves."""
    return f"test{next(_numbers)}"


def environ_of(wire: Wire, data: bytes) -> dict[str, object]:
    wire.send(data)
    environ: dict[str, object] = json.loads(wire.response().body)
    return environ


# The environ.


def test_the_environ_holds_what_wsgi_wants_in_it(server: Server, wire: Wire, mode: Mode) -> None:
    environ = environ_of(wire, request("GET", "/some/path?a=1&b=%20"))
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/some/path",
        "QUERY_STRING": "a=1&b=%20",
        "RAW_URI": "/some/path?a=1&b=%20",
        "REQUEST_URI": "/some/path?a=1&b=%20",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(server.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": str(wire.sock.getsockname()[1]),
        "HTTP_HOST": "test",
        "wsgi.version": [1, 0],
        "wsgi.url_scheme": "http",
        "wsgi.multithread": mode.concurrent,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    assert {key: environ.get(key) for key in expected} == expected
    assert "CONTENT_LENGTH" not in environ
    assert "CONTENT_TYPE" not in environ


def test_the_environ_tells_the_version_of_the_client(wire: Wire) -> None:
    environ = environ_of(wire, request("GET", "/", version="1.0"))
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.0"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a%2Fb", "/a/b", ""),
        ("/a%2fb%3Fc?d%2Fe", "/a/b?c", "d%2Fe"),
        ("/caf%C3%A9", "/caf\xc3\xa9", ""),
        ("/caf%E9", "/caf\xe9", ""),
        ("/%00%0d%0a", "/\0\r\n", ""),
        ("/100%25", "/100%", ""),
        ("/100%", "/100%", ""),
        ("/%zz%4", "/%zz%4", ""),
        ("/a+b?c+d", "/a+b", "c+d"),
        ("/?", "/", ""),
        ("/?a?b", "/", "a?b"),
        ("//a//b", "//a//b", ""),
        ("/a[b]|c?d[e]|f", "/a[b]|c", "d[e]|f"),
        ("/a/../b/./c", "/a/../b/./c", ""),
        ("/a;b=c", "/a;b=c", ""),
        ("http://other:80/a%2Fb?c", "/a/b", "c"),
        ("HTTPS://other", "/", ""),
        ("http://other?c/d", "/", "c/d"),
    ],
)
def test_the_path_is_decoded_and_the_query_is_not(
    wire: Wire, target: str, path: str, query: str
) -> None:
    environ = environ_of(wire, request("GET", target))
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path, query)
    assert environ["RAW_URI"] == target


def test_the_host_of_a_whole_uri_counts_more_than_the_field(wire: Wire) -> None:
    """RFC 9112, section 3.2.2."""
    assert environ_of(wire, request("GET", "http://other:81/"))["HTTP_HOST"] == "other:81"
    assert environ_of(wire, request("GET", "/"))["HTTP_HOST"] == "test"


def test_a_request_about_the_server_as_a_whole_reaches_the_app(wire: Wire) -> None:
    assert environ_of(wire, request("OPTIONS", "*"))["PATH_INFO"] == "*"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_the_method_is_what_the_client_sent(wire: Wire, method: str) -> None:
    assert environ_of(wire, request(method, "/"))["REQUEST_METHOD"] == method


def test_the_type_and_length_of_the_body_have_names_of_their_own(wire: Wire) -> None:
    environ = environ_of(wire, request("POST", "/", "content-type: text/x; y=z", body=b"body"))
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("text/x; y=z", "4")
    assert "HTTP_CONTENT_TYPE" not in environ
    assert "HTTP_CONTENT_LENGTH" not in environ


@pytest.mark.parametrize(
    ("fields", "key", "value"),
    [
        (["X-Some-Field: a"], "HTTP_X_SOME_FIELD", "a"),
        (["x-soME-fIELD: a"], "HTTP_X_SOME_FIELD", "a"),
        (["X-Empty:"], "HTTP_X_EMPTY", ""),
        (["X-Space: \t a  b \t "], "HTTP_X_SPACE", "a  b"),
        (["X-Latin: caf\xe9"], "HTTP_X_LATIN", "caf\xe9"),
        (["X-Twice: a", "X-Other: b", "x-twice: c"], "HTTP_X_TWICE", "a, c"),
        (["Cookie: a=1", "Cookie: b=2; c=3"], "HTTP_COOKIE", "a=1; b=2; c=3"),
        (["X-!#$%&'*+.^`|~: a"], "HTTP_X_!#$%&'*+.^`|~", "a"),
    ],
)
def test_a_field_becomes_a_variable(wire: Wire, fields: list[str], key: str, value: str) -> None:
    assert environ_of(wire, request("GET", "/", *fields))[key] == value


def test_a_field_with_an_underscore_can_not_pass_for_one_with_a_dash(wire: Wire) -> None:
    plain = environ_of(wire, request("GET", "/"))
    assert environ_of(wire, request("GET", "/", "X_Real_IP: 6.6.6.6", "Host_: x")) == plain
    both = request("GET", "/", "X_Real-IP: 6", "X-Real-IP: 7", "X-Real_IP: 8")
    assert environ_of(wire, both)["HTTP_X_REAL_IP"] == "7"
    wire.send(request("POST", "/echo", "Content_Length: 3", body=b"12345"))
    assert wire.response().body == b"12345"


def test_what_an_app_changes_in_its_environ_is_gone_with_the_next_request(wire: Wire) -> None:
    assert [wire.get("/mutate").body for _ in range(3)] == [b"[]"] * 3
    assert environ_of(wire, request("GET", "/"))["SCRIPT_NAME"] == ""


@pytest.mark.parametrize("what", ["method", "clear"])
def test_what_an_app_changes_in_its_environ_does_not_change_its_response(
    wire: Wire, what: str
) -> None:
    for method, body in (("GET", b"[]"), ("HEAD", b""), ("GET", b"[]")):
        wire.send(request(method, f"/mutate?{what}"))
        response = wire.response(method)
        assert (response.status, response.body) == (200, body)
        assert response.get("Content-Length") == "2"


def test_an_app_that_fails_with_an_empty_environ_is_a_failure_like_any_other(
    server: Server, wire: Wire
) -> None:
    since = server.mark()
    assert_failed(wire.get("/mutate?fail"))
    wire.assert_closed()
    server.wait_for("RuntimeError: with nothing left", since)


def test_what_an_app_writes_to_wsgi_errors_is_in_the_log(server: Server, wire: Wire) -> None:
    since = server.mark()
    wire.get("/errors")
    server.wait_for("a word to wsgi.errors: one, two \N{SNOWMAN}\n", since)


# wsgi.input.


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(
    ("way", "parts"),
    [
        ("read", ["one\ntwo\nthree", ""]),
        ("read-size", ["one\n", "", "two\nthree", ""]),
        ("read-all", ["one\ntwo\nthree", ""]),
        ("readline", ["one\n", "two\n", "three", "", ""]),
        ("readline-size", ["on", "e\n", ""]),
        ("readlines", ["one\n", "two\n", "three"]),
        ("readlines-hint", ["one\n", "two\n"]),
        ("iteration", ["one\n", "two\n", "three"]),
        ("mixed", ["o", "ne\n", "two\n", "three"]),
    ],
)
def test_the_body_can_be_read_in_every_way_of_a_file(
    wire: Wire, framing: str, way: str, parts: list[str]
) -> None:
    body = b"one\ntwo\nthree"
    if framing == "length":
        wire.send(request("POST", f"/read?{way}", body=body))
    else:
        wire.send(request("POST", f"/read?{way}", "Transfer-Encoding: chunked"))
        wire.send(chunked(body[:5], body[5:]))
    assert json.loads(wire.response().body) == parts


@pytest.mark.parametrize("way", ["read", "readline", "readlines", "iteration", "read-size"])
def test_a_request_without_a_body_has_an_empty_one(wire: Wire, way: str) -> None:
    for data in (
        request("GET", f"/read?{way}"),
        request("POST", f"/read?{way}", "Content-Length: 0"),
    ):
        wire.send(data)
        assert not any(json.loads(wire.response().body))


def test_a_body_that_the_app_does_not_read_is_not_taken_for_a_request(wire: Wire) -> None:
    for _ in range(2):
        wire.send(request("POST", "/pid", body=b"GET /unread HTTP/1.1\r\n\r\n"))
        assert wire.response().text.isdigit()


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(
    ("size", "in_memory"), [(MIB - 1, True), (MIB, True), (MIB + 1, False), (5 * MIB, False)]
)
def test_a_body_arrives_whole_and_in_memory_up_to_one_mebibyte(
    wire: Wire, mode: Mode, framing: str, size: int, in_memory: bool
) -> None:
    """Where it is not read while it arrives, and so never is there as a whole."""
    body = os.urandom(size)
    if mode.streams and framing == "length":
        in_memory = False
    if framing == "length":
        wire.send(request("POST", "/digest", body=body))
    else:
        wire.send(request("POST", "/digest", "Transfer-Encoding: chunked"))
        wire.send(chunked(*(body[at : at + 100_000] for at in range(0, size, 100_000))))
    expected = f"{hashlib.sha256(body).hexdigest()} {size} {in_memory}"
    assert wire.response().text == expected


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_nothing_is_left_of_a_large_body(serve: Serve, mode: Mode, framing: str) -> None:
    """Not even if it was the first request, or is the last."""
    server = serve("tests.apps.contract:app", **mode.settings)
    pid = server.workers()[1]
    body = os.urandom(2 * MIB)
    with Wire(server.port) as wire:
        if framing == "length":
            wire.send(request("POST", "/digest", body=body))
        else:
            wire.send(request("POST", "/digest", "Transfer-Encoding: chunked") + chunked(body))
        assert wire.response().status == 200

    def open_temporary_files() -> list[str]:
        temporary = r"(?<!stacks)(?<!board) \(deleted\)$"
        return [name for name in open_files(pid) if re.search(temporary, name)]

    eventually(lambda: not open_temporary_files(), "the temporary file to be closed")


# What the app gives.


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("way", WAYS)
def test_a_body_arrives_whole_in_whichever_way_it_is_given(
    server: Server, way: str, version: str
) -> None:
    with Wire(server.port) as wire:
        wire.send(request("GET", f"/ways?{way}", "Connection: keep-alive", version=version))
        response = wire.response()
        assert (response.status, response.body) == (200, b"onetwosix")
        if "sized" in way or way in ("list", "tuple", "long-list"):
            assert response.get("Content-Length") == "9"
        if response.framing != "close":
            wire.assert_open()


def test_an_app_may_start_its_response_when_it_is_iterated_over(wire: Wire) -> None:
    response = wire.get("/late-start")
    assert (response.line, response.body) == ("HTTP/1.1 201 Created", b"late")


@pytest.mark.parametrize("way", ["gated", "gated-write"])
def test_the_first_part_arrives_before_the_app_makes_the_second(
    server: Server, wire: Wire, way: str, name: str
) -> None:
    wire.send(request("GET", f"/{way}?{name}"))
    wire.head()
    assert wire.chunk() == b"first"
    (server.directory / f"go-{name}").touch()
    assert [wire.chunk(), wire.chunk()] == [b"second", b""]


def test_an_app_may_send_a_file(server: Server, wire: Wire) -> None:
    expected = Path(contract.__file__).read_bytes()
    assert wire.get("/file").body == expected
    wire.send(request("HEAD", "/file"))
    assert wire.response("HEAD").get("Content-Length") == str(len(expected))
    wire.assert_open()


def test_a_file_that_was_sent_is_closed(server: Server, wire: Wire) -> None:
    pid = int(wire.get("/pid").text)
    for method in ("GET", "HEAD"):
        wire.send(request(method, "/file"))
        wire.response(method)

    eventually(lambda: contract.__file__ not in open_files(pid), "the file to be closed")


def test_a_field_that_is_given_twice_is_sent_twice(wire: Wire) -> None:
    response = wire.get("/repeated")
    assert response.all("Set-Cookie") == ["a=1", "b=2"]
    assert response.get("X-Empty") == ""


def test_status_and_fields_may_hold_latin_1(wire: Wire) -> None:
    response = wire.get("/latin")
    assert response.line == "HTTP/1.1 200 D'accord \xe0 toi"
    assert response.get("X-Word") == "caf\xe9"


def test_a_large_response_arrives_whole(wire: Wire) -> None:
    assert wire.get("/large?20000000").body == b"x" * 20_000_000
    wire.assert_open()


# close().


def closings(server: Server, name: str) -> int:
    """How often the iterable with this name was closed."""
    path = server.directory / f"closed-{name}"
    return len(path.read_text()) if path.exists() else 0


@pytest.mark.parametrize(
    "fate", ["succeeds", "fails-before", "fails-after", "not-iterable", "never-starts"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_iterable_is_closed_once_whatever_becomes_of_it(
    server: Server, name: str, fate: str, method: str
) -> None:
    with Wire(server.port) as wire:
        wire.send(request(method, f"/closed?{name}/{fate}"))
        wire.head()
        eventually(lambda: closings(server, name), "close()")
    with Wire(server.port) as other:
        other.assert_open()
    assert closings(server, name) == 1


def test_an_iterable_is_closed_when_its_client_is_gone(server: Server, name: str) -> None:
    with Wire(server.port) as wire:
        wire.send(request("GET", f"/endless?{name}/65536"))
        wire.head()
    eventually(lambda: closings(server, name), "close()")
    with Wire(server.port) as other:
        other.assert_open()
    assert closings(server, name) == 1
    assert "Traceback" not in server.log[server.log.rfind(name) :], "a client may always go"


# Mistakes of an app: they cost one response, never the worker.


def assert_failed(response: Response) -> None:
    """It is an answer that tells the client nothing about the app."""
    assert response.status == 500
    assert response.get("Connection") == "close"
    assert "mistake" not in response.text
    assert "Traceback" not in response.text


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_the_app_is_a_500_and_a_traceback_in_the_log(
    server: Server, mistake: str
) -> None:
    with Wire(server.port) as other, Wire(server.port) as wire:
        pid = other.get("/pid").body
        since = server.mark()
        response = wire.get(f"/mistake?{mistake}")
        assert_failed(response)
        assert response.get("X-Promise") is None
        wire.assert_closed()
        logged = server.wait_for(
            rf"ERROR worker=1 gen=1 pid=\d+: GET /mistake\?{mistake}: .*\n(?s:.*?)\n\w\S*: .*",
            since,
        )[0]
        assert "Traceback (most recent call last)" in logged
        if "raises" in mistake:
            assert re.search(r"contract_mistakes.py\", line \d+, in raises_", logged)
            assert logged.endswith(": a mistake of the app")
        assert other.get("/pid").body == pid, "the worker goes on"


def test_a_mistake_in_a_response_to_head_is_a_500_without_a_body(wire: Wire) -> None:
    wire.send(request("HEAD", "/mistake?raises-before-start-response"))
    assert_failed(wire.response("HEAD"))
    wire.assert_closed()


def test_a_request_pipelined_behind_a_mistake_is_not_answered(wire: Wire) -> None:
    wire.send(request("GET", "/mistake?never-starts") + request("GET", "/pid"))
    assert wire.response().status == 500
    wire.assert_closed()


@pytest.mark.parametrize("status", BAD_STATUS)
def test_a_bad_status_is_a_500(server: Server, wire: Wire, status: str) -> None:
    since = server.mark()
    assert_failed(wire.get(f"/bad-status?{status}"))
    wire.assert_closed()
    server.wait_for(rf"bad-status\?{status}: ", since)


@pytest.mark.parametrize("path", ["bad-headers", "bad-in-a-stream"])
@pytest.mark.parametrize("headers", BAD_HEADERS)
def test_headers_that_must_not_be_sent_are_a_500(
    server: Server, wire: Wire, path: str, headers: str
) -> None:
    since = server.mark()
    response = wire.get(f"/{path}?{headers}")
    assert_failed(response)
    assert response.get("X-Injected") is None
    wire.assert_closed()
    server.wait_for(rf"{path}\?{headers}: ", since)


def test_an_app_is_told_of_a_bad_status_at_once(wire: Wire) -> None:
    assert wire.get("/sees-bad-status").text == "told"


# exc_info.


@pytest.mark.parametrize("when", ["at-first", "before-the-head"])
def test_an_app_may_start_over_as_long_as_nothing_is_out(wire: Wire, when: str) -> None:
    response = wire.get(f"/exc-info?{when}")
    assert (response.status, response.body) == (503, b"sorry")
    assert (response.get("X-First"), response.get("X-Second")) == (None, "1")
    wire.assert_open()


def test_an_app_that_starts_over_too_late_gets_its_exception_back(
    server: Server, wire: Wire
) -> None:
    since = server.mark()
    wire.send(request("GET", "/exc-info?too-late"))
    assert wire.head()[0] == "HTTP/1.1 200 OK"
    assert wire.chunk() == b"part"
    assert wire.assert_cut() == b""
    server.wait_for("RuntimeError: to be recovered from", since)


# Bodies that are not what was said: a client must be able to tell.


@pytest.mark.parametrize("length", ["", "100"])
def test_a_response_that_fails_in_its_body_is_cut(server: Server, wire: Wire, length: str) -> None:
    since = server.mark()
    wire.send(request("GET", f"/fails-in-the-body?{length}"))
    assert wire.head()[0] == "HTTP/1.1 200 OK"
    assert wire.assert_cut() == (b"part" if length else b"4\r\npart\r\n")
    logged = server.wait_for(r"fails-in-the-body\S*: .*\n(?s:.*?)\nRuntimeError: .*", since)[0]
    assert "in _fails_in_the_body" in logged


def test_a_response_that_would_end_with_the_connection_is_cut_too(wire: Wire) -> None:
    wire.send(request("GET", "/fails-in-the-body?", version="1.0"))
    wire.head()
    assert wire.assert_cut() == b"part"


@pytest.mark.parametrize("way", ["list", "write", "generator"])
def test_a_body_shorter_than_its_length_is_cut(server: Server, wire: Wire, way: str) -> None:
    since = server.mark()
    wire.send(request("GET", f"/lengths?{way}/9/4"))
    wire.head()
    assert wire.assert_cut() == b"0123"
    server.wait_for(rf"/lengths\?{way}/9/4: .* 5 bytes less", since)


@pytest.mark.parametrize("way", ["list", "write", "generator"])
@pytest.mark.parametrize("length", [4, 0])
def test_a_body_longer_than_its_length_ends_with_it(
    server: Server, wire: Wire, way: str, length: int
) -> None:
    since = server.mark()
    assert wire.get(f"/lengths?{way}/{length}/9").body == b"0123456789"[:length]
    wire.assert_open()
    server.wait_for(rf"/lengths\?{way}/{length}/9: .* more than its Content-Length", since)


@pytest.mark.parametrize("way", ["bytearray", "list", "stream"])
def test_what_holds_bytes_counts_by_its_bytes(wire: Wire, way: str) -> None:
    response = wire.get(f"/memory?{way}")
    assert len(response.body) == 8
    wire.assert_open()


# Early hints.


def test_early_hints_come_before_the_final_head_and_not_after_it(wire: Wire) -> None:
    wire.send(request("GET", "/hints"))
    links = [("Link", "</a>; rel=preload"), ("Link", "</b>; rel=preload")]
    assert wire.head() == ("HTTP/1.1 103 Early Hints", links)
    assert wire.head() == ("HTTP/1.1 103 Early Hints", [("X-Second", "1")])
    response = wire.response()
    assert (response.status, response.body) == (200, b"body")
    wire.assert_open()


def test_a_client_of_http_1_0_gets_no_early_hints(wire: Wire) -> None:
    wire.send(request("GET", "/hints", version="1.0"))
    assert wire.response().body == b"body"


def test_an_app_that_fails_after_early_hints_is_a_500(wire: Wire) -> None:
    wire.send(request("GET", "/hints-then-fails"))
    assert wire.head()[0] == "HTTP/1.1 103 Early Hints"
    assert_failed(wire.response())


def test_early_hints_from_elsewhere_are_left_out(wire: Wire) -> None:
    assert wire.get("/hints-elsewhere").text == "done"


@pytest.mark.parametrize("mistake", ["crlf-in-value", "lf-in-name", "connection", "length"])
def test_early_hints_that_must_not_be_sent_are_a_500(wire: Wire, mistake: str) -> None:
    response = wire.get(f"/hints?{mistake}")
    assert_failed(response)
    assert response.get("X-Injected") is None


# With the validator of the standard library in between.


@pytest.fixture(scope="module")
def validated(mode: Mode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("validated")
    with running("tests.apps.contract:validated", directory, **mode.settings) as server:
        yield server


def test_the_validator_of_the_standard_library_finds_nothing(validated: Server) -> None:
    with Wire(validated.port) as wire:
        for data in (
            request("GET", "/some%20path?query", "Cookie: a=1", "Cookie: b=2"),
            request("HEAD", "/"),
            request("OPTIONS", "/"),
            request("POST", "/", "Content-Type: text/plain", body=b"hello"),
            request("POST", "/", "Transfer-Encoding: chunked") + chunked(b"a", b"b"),
            *(request("GET", f"/ways?{way}") for way in ("list", "generator", "write", "tuple")),
            *(request("POST", f"/read?{way}", body=b"a\nb\n") for way in ("read-all", "readline")),
            request("GET", "/late-start"),
            request("GET", "/errors"),
            request("GET", "/repeated"),
        ):
            wire.send(data)
            response = wire.response(data.split()[0].decode())
            assert response.status in (200, 201), (data, validated.log)
        wire.send(request("GET", "/status?304//"))
        assert wire.response().status == 304
    assert "Error" not in validated.log
    assert "WARNING" not in validated.log
