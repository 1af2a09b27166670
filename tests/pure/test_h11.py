"""Whatever is accepted is understood as h11 understands it: method, target, fields, body, whether
the connection lives on, and where the next request begins. What is refused, h11 refuses too, or
there is a reason."""

from __future__ import annotations

import contextlib
import re
from typing import Any, NamedTuple

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus import CASES
from tests.fuzz.properties import field_values, parse

# What h11 accepts and we do not, as it is in the bytes, each with why.
STRICTER = {
    "a bare LF may be an end of a line to one and not to another": rb"(?<!\r)\n",
    "a line that is folded: RFC 9112, section 5.2": rb"\n[ \t]",
    "a method that asks for a proxy": rb"CONNECT ",
    "a version that is not spoken": rb" HTTP/(?!1)[0-9]\.",
    "a version that is treated as 1.1, which needs a Host": rb" HTTP/1\.[2-9]",
    "a target that is no path and no http URI": rb"[A-Z] (?!/|https?://)[!-~]+ HTTP/",
    "an invalid Host": rb"(?i)\nhost:|[A-Z] https?://",
    "a length and a coding": rb"(?is)content-length:.*transfer-encoding:|transfer-enc.*content-len",
    "lengths that are repeated": rb"(?is)content-length:(.*content-length:|[^\n]*,)",
}
# Fields for which we end a connection on which h11 goes on: where something else than HTTP/1.1 was
# to follow a body; and what llhttp takes for Connection.
ENDING = {"HTTP_UPGRADE", "HTTP_PROXY_CONNECTION"}


class Seen(NamedTuple):
    """A request, as either finds it; `fields` are meta-variables."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes
    persistent: bool


def mostly(usual: list[str], unusual: list[str]) -> st.SearchStrategy[str]:
    """One of the usual ones, but now and then one of the others."""
    return st.integers(0, 40).flatmap(lambda n: st.sampled_from(usual if n else unusual))


METHODS = mostly(["GET", "POST", "PUT", "HEAD", "BREW", "get"], ["OPTIONS", "P(ST", ""])
TARGETS = mostly(["/", "/a?b", "/%41//..", "http://b/c?d"], ["*", "a", "/ b", "/\x01", "/\xe9"])
VERSIONS = mostly(["HTTP/1.1"], ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 "])
SPACES = mostly([" "], ["  ", "\t", ""])
ENDS = mostly(["\r\n"], ["\n", "\r", "\r\r\n", "\r\n ", " \r\n"])
FIELDS = mostly(
    ["X: b", "X:", "x:\tb ", "X_Y: b", "X: é", "Cookie: a=b", "Expect: 100-continue", "Trailer: X"],
    [
        *("X : b", "X", " X: b", "X: \x01", "Host: a", "Upgrade: h2c", "Connection: close"),
        *("Connection: keep-alive", "Connection: Close, X", "Connection: upgrade"),
        *("Transfer-Encoding: chunked", "Content-Length: 5"),
    ],
)
FRAMINGS = mostly(
    ["", "Content-Length: 5", "Transfer-Encoding: chunked", "transfer-encoding: Chunked"],
    [
        *("Content-Length: 05", "Content-Length: +5", "Content-Length: -1", "Content-Length: 5, 5"),
        *("Content-Length: 0x5", "Content-Length: 5 ", "Content-Length:", "Content-Length: 2"),
        *("Transfer-Encoding: gzip", "Transfer-Encoding: gzip, chunked"),
        *("Transfer-Encoding: chunked, chunked", "Transfer-Encoding: xchunked"),
        "Content-Length: " + "9" * 30,
    ],
)
HOSTS = mostly(["Host: a"], ["X: a", "Host: a b", "Host:", "Host: a:80"])
CHUNKS = mostly(
    ["5\r\nhello\r\n", "5;x=y\r\nhello\r\n", "A\r\n0123456789\r\n", "05\r\nhello\r\n"],
    [
        *("5 \r\nhello\r\n", "5\nhello\r\n", "6\r\nhello\r\n", "5\r\nhello", "x\r\n"),
        *("-1\r\n", "5\r\nhello\n", "fffffffffffffffff\r\n", "4\r\nhello\r\n"),
    ],
)
LAST = mostly(["0\r\n\r\n", "0\r\nX: b\r\n\r\n"], ["0\r\nX : b\r\n\r\n", "0\n\n", "0\r\n", ""])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that is nearly valid."""
    first, second = draw(SPACES), draw(SPACES)
    line = f"{draw(METHODS)}{first}{draw(TARGETS)}{second}{draw(VERSIONS)}"
    framing = draw(FRAMINGS)
    fields = [*draw(st.lists(FIELDS, max_size=3)), framing] if framing else draw(st.lists(FIELDS))
    head = "".join(each + draw(ENDS) for each in [line, draw(HOSTS), *fields, ""])
    if "hunked" in framing:
        body = "".join(draw(st.lists(CHUNKS, max_size=3))) + draw(LAST)
    else:
        body = "hello" if framing else ""
    return (head + body).encode("latin-1")


CORPUS = st.sampled_from([case.data for cases in CASES.values() for case in cases])


def theirs(data: bytes) -> list[Seen]:
    """The requests that h11 finds."""
    found: list[Seen] = []
    with contextlib.suppress(h11.RemoteProtocolError):
        while not found or found[-1].persistent:
            connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
            # Empty lines before a request are passed over, not by h11: RFC 9112, section 2.2.
            connection.receive_data(re.sub(rb"\A(?:\r\n)+", b"", data))
            request: Any = connection.next_event()
            if not isinstance(request, h11.Request):
                break
            body = b""
            while isinstance(part := connection.next_event(), h11.Data):
                body += part.data
            if not isinstance(part, h11.EndOfMessage):
                break
            # Whatever is asked for instead of HTTP/1.1, it is not given.
            connection.send(h11.Response(status_code=400, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            method, target = request.method.decode(), request.target.decode("latin-1")
            fields = variables(request.headers, target, body)
            found.append(Seen(method, target, fields, body, connection.our_state is h11.DONE))
            data, _ = connection.trailing_data
    return found


def variables(headers: Any, target: str, body: bytes) -> dict[str, str]:
    """The header fields that h11 finds, as meta-variables: RFC 3875, section 4.1.18."""
    fields: dict[str, str] = {}
    for name, value in headers:
        key = name.decode().upper().replace("-", "_")
        if b"_" in name:
            continue
        if key not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
            key = "HTTP_" + key
        separator = "; " if key == "HTTP_COOKIE" else ", "
        before = [fields[key]] if key in fields else []
        fields[key] = separator.join([*before, value.decode("latin-1")])
    if fields.pop("HTTP_TRANSFER_ENCODING", None):
        fields["CONTENT_LENGTH"] = str(len(body))
    if not target.startswith("/") and target != "*":
        fields["HTTP_HOST"] = re.split("[/?]", target.partition("://")[2])[0]
    return fields


def check(data: bytes) -> None:
    found, status = parse([data])
    others = theirs(data)
    for number, (environ, body, persistent) in enumerate(found):
        method, target = environ["REQUEST_METHOD"], environ["RAW_URI"]
        assert number < len(others), "it is no request to h11"
        other = others[number]
        ours = Seen(method, target, field_values(environ), body, other.persistent)
        assert ours == other
        if environ["SERVER_PROTOCOL"] == "HTTP/1.0" and persistent:
            return  # h11 knows nothing of "Connection: keep-alive"
        if persistent != other.persistent:
            assert not persistent and set(environ) & ENDING
        if not persistent:
            return
    if len(others) > len(found):
        assert status, "we wait for more"
        explained = any(re.search(pattern, data) for pattern in STRICTER.values())
        assert explained, f"only we refuse this, with {status}"


@settings(max_examples=400)
@given(st.lists(requests() | CORPUS, min_size=1, max_size=3))
def test_whatever_is_accepted_is_understood_as_h11_does(parts: list[bytes]) -> None:
    check(b"".join(parts))


def test_so_is_the_corpus() -> None:
    for case in (case for cases in CASES.values() for case in cases):
        check(case.data)
