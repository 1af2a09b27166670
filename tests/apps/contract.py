"""An app that does with WSGI what an app may do, and what it must not do.

The path names the deed, the query its argument. What happens inside the app is left behind as
empty files in its directory, and some paths wait for a file to appear, so that tests can tell
what happened before what.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from pathlib import Path
from threading import Thread
from typing import Any
from wsgiref.validate import validator

from tests.apps import contract_mistakes
from tests.apps.contract_mistakes import PLAIN, Environ, StartResponse


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    deed = _DEEDS.get(environ["PATH_INFO"], _environ)
    return deed(environ, start_response)


def _text(start_response: StartResponse, text: str) -> list[bytes]:
    start_response("200 OK", PLAIN)
    return [text.encode()]


# What the app is given.


def _environ(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The environ as JSON; what JSON has no word for is the name of its type."""
    shown = json.dumps(environ, default=lambda value: type(value).__name__)
    return _text(start_response, shown)


def _pid(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _text(start_response, str(os.getpid()))


def _echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [environ["wsgi.input"].read()]


def _digest(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The sum and the size of the body, and whether the body is in memory."""
    body = environ["wsgi.input"]
    in_memory = isinstance(body, io.BytesIO)
    size, digest = 0, hashlib.sha256()
    while data := body.read(65536):
        size += len(data)
        digest.update(data)
    return _text(start_response, f"{digest.hexdigest()} {size} {in_memory}")


_WAYS_TO_READ: dict[str, Callable[[Any], list[bytes]]] = {
    "read": lambda body: [body.read(), body.read()],
    "read-size": lambda body: [body.read(4), body.read(0), body.read(1000), body.read(1)],
    "read-all": lambda body: [body.read(-1), body.read(-1)],
    "readline": lambda body: [body.readline() for _ in range(5)],
    "readline-size": lambda body: [body.readline(2), body.readline(100), body.readline(0)],
    "readlines": lambda body: body.readlines(),
    "readlines-hint": lambda body: body.readlines(5),
    "iteration": list,
    "mixed": lambda body: [body.read(1), body.readline(), next(body), body.read()],
}


def _read(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    parts = _WAYS_TO_READ[environ["QUERY_STRING"]](environ["wsgi.input"])
    return _text(start_response, json.dumps([part.decode() for part in parts]))


def _errors(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    errors = environ["wsgi.errors"]
    errors.write("a word to wsgi.errors: ")
    errors.writelines(["one, ", "two \N{SNOWMAN}\n"])
    errors.flush()
    return _text(start_response, "said")


def _mutate(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """What an app changes in its environ is its own affair: PEP 3333, "Specification Details"."""
    before = sorted(key for key in environ if key.startswith("mutated"))
    what = environ["QUERY_STRING"]
    environ["mutated"] = True
    environ["SCRIPT_NAME"] = "/mutated"
    if what == "method":
        environ["REQUEST_METHOD"] = "GET" if environ["REQUEST_METHOD"] == "HEAD" else "HEAD"
    elif what in ("clear", "fail"):
        environ.clear()
    if what == "fail":
        raise RuntimeError("with nothing left")
    return _text(start_response, json.dumps(before))


# What the app gives.


class Parts:
    """An iterable of parts that leaves a file when it is closed.

    Args:
        name: of the file.
        parts: called for the iterator.
    """

    def __init__(self, name: str, parts: Callable[[], Iterator[bytes]]) -> None:
        self._name = name
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        return self._parts()

    def close(self) -> None:
        leave(f"closed-{self._name}")


def leave(name: str) -> None:
    """Leave a file: a test may wait for it, or find that it is not there, or how often it was."""
    with open(name, "a") as file:
        file.write("x")


def wait_for(name: str) -> None:
    """Wait until a test has made the file."""
    while not Path(name).exists():
        time.sleep(0.005)


def _ways(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The same nine bytes in each way that there is to give a body."""
    way = environ["QUERY_STRING"]
    sized = [*PLAIN, ("Content-Length", "9")]
    if way in ("write", "write-sized", "write-and-more"):
        write = start_response("200 OK", sized if way == "write-sized" else PLAIN)
        write(b"one")
        write(b"")
        write(b"two")
        if way == "write-and-more":
            return [b"six"]
        write(b"six")
        return []
    start_response("200 OK", sized if way.endswith("-sized") else PLAIN)
    return _PARTS[way]()


class _Sequence:
    """Iterable by `__getitem__` alone, as PEP 3333 allows."""

    def __getitem__(self, index: int) -> bytes:
        return (b"one", b"two", b"six")[index]


_PARTS: dict[str, Callable[[], Any]] = {
    "list": lambda: [b"onetwosix"],
    "list-sized": lambda: [b"onetwosix"],
    "long-list": lambda: [b"one", b"", b"two", b"six"],
    "tuple": lambda: (b"onetwosix",),
    "long-tuple": lambda: (b"one", b"", b"two", b"six"),
    "generator": lambda: (part for part in (b"", b"one", b"", b"two", b"six", b"")),
    "generator-sized": lambda: (part for part in (b"one", b"two", b"six")),
    "sequence": _Sequence,
    "file": lambda: io.BytesIO(b"onetwosix"),
}


def _empty(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """No body, in each way that there is to give none."""
    start_response("200 OK", PLAIN)
    nothings: dict[str, Iterable[bytes]] = {
        "list": [],
        "tuple": (),
        "bytes": [b""],
        "generator": iter(()),
        "generator-of-nothing": (part for part in (b"", b"")),
    }
    return nothings[environ["QUERY_STRING"]]


def _late_start(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """A generator: it starts its response when it is asked for the first part."""
    start_response("201 Created", PLAIN)
    yield b"late"


def _file(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    file = open(__file__, "rb")  # noqa: SIM115  the server closes it
    start_response("200 OK", [*PLAIN, ("Content-Length", str(os.path.getsize(__file__)))])
    body = environ["wsgi.file_wrapper"](file, 1000)
    if environ["QUERY_STRING"] == "watched":
        name = f"/proc/self/fd/{file.fileno()}"
        return Parts(f"file-{os.path.exists(name)}", lambda: _and_close(body))
    return body


def _and_close(body: Any) -> Iterator[bytes]:
    yield from body
    body.close()


def _status(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """`status/length/body`: a status with this Content-Length, if any, and this body."""
    status, length, body = environ["QUERY_STRING"].split("/")
    headers = [("Content-Length", length)] if length else []
    start_response(f"{status} Whatever", headers)
    return (part for part in (body.encode(),))


def _headers(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The headers of the body, which is a JSON list of pairs."""
    pairs = json.loads(environ["wsgi.input"].read())
    start_response("200 OK", [tuple(pair) for pair in pairs])
    return [b"body"]


def _repeated(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    headers = [*PLAIN, ("Set-Cookie", "a=1"), ("X-Empty", ""), ("Set-Cookie", "b=2")]
    start_response("200 OK", headers)
    return [b""]


def _latin(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 D'accord \xe0 toi", [*PLAIN, ("X-Word", "caf\xe9")])
    return [b""]


def _gated(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """The second part is made only when the test says so, having got the first."""
    name = environ["QUERY_STRING"]
    start_response("200 OK", PLAIN)
    yield b"first"
    wait_for(f"go-{name}")
    yield b"second"


def _gated_write(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", PLAIN)
    write(b"first")
    wait_for(f"go-{environ['QUERY_STRING']}")
    write(b"second")
    return []


def _large(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", PLAIN)
    return [b"x" * int(environ["QUERY_STRING"])]


def _endless(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """`name/size`: parts of this size, which end only when they can't be sent any more."""
    start_response("200 OK", PLAIN)
    name, size = environ["QUERY_STRING"].split("/")
    return Parts(name, lambda: repeat(b"x" * int(size)))


def _closed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """`name/fate`: an iterable whose close() leaves a file, and its fate before that."""
    name, fate = environ["QUERY_STRING"].split("/")

    def parts() -> Iterator[bytes]:
        if fate == "fails-before":
            raise RuntimeError("before the first part")
        yield b"part"
        if fate == "fails-after":
            raise RuntimeError("after the first part")

    def not_iterable() -> Iterator[bytes]:
        raise RuntimeError("not to be iterated over")

    if fate != "never-starts":
        start_response("200 OK", PLAIN)
    return Parts(name, not_iterable if fate == "not-iterable" else parts)


def _hints(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Early hints, before and after the head; the query is a mistake to make in them."""
    mistake = environ["QUERY_STRING"]
    hints = environ["wsgi.early_hints"]
    if mistake == "length":
        hints([("Content-Length", "4")])
    elif mistake:
        hints(contract_mistakes.BAD_HEADERS[mistake])
    hints([("Link", "</a>; rel=preload"), ("Link", "</b>; rel=preload")])
    hints([("X-Second", "1")])
    start_response("200 OK", PLAIN)
    yield b"body"
    hints([("X-Late", "1")])


def _hints_then_fails(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    environ["wsgi.early_hints"]([("X-Early", "1")])
    raise RuntimeError("a mistake of the app")


def _hints_elsewhere(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """From a thread that has nothing to do with the request, as far as can be known."""
    thread = Thread(target=environ["wsgi.early_hints"], args=([("X-Early", "1")],))
    thread.start()
    thread.join()
    return _text(start_response, "done")


def _memory(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Bytes that are not `bytes`, and whose len() is not their number."""
    start_response("200 OK", PLAIN)
    way = environ["QUERY_STRING"]
    body = bytearray(b"12345678") if way == "bytearray" else memoryview(array("I", [1, 2]))
    return [body] if way != "stream" else (part for part in (body,))  # type: ignore[list-item, misc]


_DEEDS: dict[str, Callable[[Environ, StartResponse], Iterable[bytes]]] = {
    "/pid": _pid,
    "/echo": _echo,
    "/digest": _digest,
    "/read": _read,
    "/errors": _errors,
    "/mutate": _mutate,
    "/ways": _ways,
    "/empty": _empty,
    "/late-start": _late_start,
    "/file": _file,
    "/status": _status,
    "/headers": _headers,
    "/repeated": _repeated,
    "/latin": _latin,
    "/gated": _gated,
    "/gated-write": _gated_write,
    "/large": _large,
    "/endless": _endless,
    "/closed": _closed,
    "/hints": _hints,
    "/hints-then-fails": _hints_then_fails,
    "/hints-elsewhere": _hints_elsewhere,
    "/memory": _memory,
    **contract_mistakes.DEEDS,
}

WAYS = ("write", "write-sized", "write-and-more", *_PARTS)

# The same app, with an advocate of PEP 3333 between it and the server.
validated = validator(app)  # type: ignore[arg-type]
