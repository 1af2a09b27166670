"""Whatever is accepted is understood as h11 understands it: method, target, fields, body, and where
the next request begins."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus import CASES
from tests.fuzz.properties import parse


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


def theirs(data: bytes) -> tuple[list[tuple[str, str, dict[str, str], bytes, bool]], bool]:
    """The requests that h11 finds, and whether it found an error behind them."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    found = []
    try:
        while True:
            event: Any = connection.next_event()
            if not isinstance(event, h11.Request):
                return found, False
            body = b""
            while isinstance(part := connection.next_event(), h11.Data):
                body += part.data
            if not isinstance(part, h11.EndOfMessage):
                return found, False
            connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            persistent = connection.our_state is h11.DONE
            fields = {key.decode(): value.decode("latin-1") for key, value in event.headers}
            target = event.target.decode("latin-1")
            found.append((event.method.decode(), target, fields, body, persistent))
            if not persistent:
                return found, False
            connection.start_next_cycle()
    except h11.RemoteProtocolError:
        return found, True


def check(data: bytes) -> None:
    ours, _ = parse([data])
    others, _ = theirs(data)
    # What we refuse, h11 may accept; not the other way round.
    for (environ, body, persistent), other in zip_longest(ours, others[: len(ours)]):
        method, target, fields, their_body, their_persistent = other
        assert (environ["REQUEST_METHOD"], environ["RAW_URI"]) == (method, target)
        assert body == their_body
        if environ["SERVER_PROTOCOL"] == "HTTP/1.0":
            return  # h11 knows nothing of "Connection: keep-alive"
        # We end some connections on which h11 would go on, never the other way round.
        assert their_persistent or not persistent
        for name, value in fields.items():
            key = "HTTP_" + name.upper().replace("-", "_")
            if environ.get(key) and "_" not in name and target.startswith("/"):
                assert value in environ[key]


@settings(max_examples=400)
@given(st.lists(requests() | CORPUS, min_size=1, max_size=3))
def test_whatever_is_accepted_is_understood_as_h11_does(parts: list[bytes]) -> None:
    check(b"".join(parts))
