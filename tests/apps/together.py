"""An app whose requests meet each other, and read their bodies while these arrive.

What happens is left behind as files (see `contract`), and some paths wait for a file to appear.
"""

from __future__ import annotations

import os
import queue
import select
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator

from tests.apps.contract import leave, wait_for
from tests.apps.contract_mistakes import PLAIN, Environ, StartResponse

# Bound when the app is imported, as `from socket import socket` binds it.
Socket = socket.socket

_lock = threading.Lock()
_local = threading.local()
_queue: queue.Queue[str] = queue.Queue()
_barriers: dict[str, threading.Barrier] = {}
_ends = socket.socketpair()
_running = _peak = 0


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _DEEDS[environ["PATH_INFO"]](environ, start_response)


def _text(start_response: StartResponse, text: str) -> list[bytes]:
    start_response("200 OK", PLAIN)
    return [text.encode()]


def _pid(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _text(start_response, str(os.getpid()))


def _die(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def _hold(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Leave begun-NAME, and answer when there is go-NAME."""
    name = environ["QUERY_STRING"]
    leave(f"begun-{name}")
    wait_for(f"go-{name}")
    return _text(start_response, "held")


def _thread(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _text(start_response, threading.current_thread().name)


def _large(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _text(start_response, "x" * int(environ["QUERY_STRING"]))


def _sleep(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    time.sleep(float(environ["QUERY_STRING"]))
    return _text(start_response, "slept")


# Requests that meet.


def _barrier(name: str, count: int) -> threading.Barrier:
    with _lock:
        return _barriers.setdefault(name, threading.Barrier(count, timeout=60))


def _meet(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """`name/count`: answered when so many of them run at once."""
    name, count = environ["QUERY_STRING"].split("/")
    _barrier(name, int(count)).wait()
    return _text(start_response, "met")


def _count(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """How many of these have run at once so far."""
    global _running, _peak
    with _lock:
        _running += 1
        _peak = max(_peak, _running)
    time.sleep(0.05)
    with _lock:
        _running -= 1
        return _text(start_response, str(_peak))


def _local_of(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Set a thread's own variable, meet another one that does, and see what it is then."""
    _local.value = environ["QUERY_STRING"]
    _barrier("local", 2).wait()
    return _text(start_response, _local.value)


def _take(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    leave("taking")
    return _text(start_response, _queue.get(timeout=60))


def _put(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    _queue.put(environ["QUERY_STRING"])
    return _text(start_response, "put")


def _fetch(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Ask another server, by its port."""
    with urllib.request.urlopen(f"http://127.0.0.1:{environ['QUERY_STRING']}/") as answer:
        return _text(start_response, answer.read().decode())


def _resolve(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _text(start_response, str(len(socket.getaddrinfo("localhost", 80))))


def _by_select(sock: socket.socket) -> None:
    select.select([sock], [], [], 60)


def _by_poll(sock: socket.socket) -> None:
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    poller.poll(60_000)


def _by_wait_read(sock: socket.socket) -> None:
    """As psycopg's callback for gevent waits."""
    from gevent.socket import wait_read

    wait_read(sock.fileno(), timeout=60)


_WAITS: dict[str, Callable[[socket.socket], None]] = {
    "select": _by_select,
    "poll": _by_poll,
    "wait_read": _by_wait_read,
    "recv": lambda sock: None,
}


def _await_byte(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Wait in this way for what another request sends."""
    leave("awaiting")
    _WAITS[environ["QUERY_STRING"]](_ends[0])
    return _text(start_response, _ends[0].recv(100).decode())


def _send_byte(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    _ends[1].send(b"byte")
    return _text(start_response, "sent")


def _threads_that_write(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """`threads/parts/size`: each thread writes its own letter."""
    threads, parts, size = map(int, environ["QUERY_STRING"].split("/"))
    write = start_response("200 OK", PLAIN)

    def work(letter: bytes) -> None:
        for number in range(parts):
            write(b"%b%d" % (letter, number) + letter * size)

    workers = [threading.Thread(target=work, args=(bytes([65 + n]),)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return []


# Bodies that are read while they arrive.


def _first_line(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Leave the first line as a file's name, and then give back the rest."""
    body = environ["wsgi.input"]
    leave(body.readline().decode().strip())
    return _text(start_response, body.read().decode())


def _echo_parts(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Each line goes back before the next one is asked for."""
    start_response("200 OK", PLAIN)
    yield from environ["wsgi.input"]


def _start_and_read(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Begin the response, and only then ask for the body."""
    start_response("200 OK", PLAIN)
    yield b"first"
    yield environ["wsgi.input"].read()


def _hold_and_read(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Leave begun-NAME; when there is go-NAME, read the body: its size."""
    name = environ["QUERY_STRING"]
    leave(f"begun-{name}")
    wait_for(f"go-{name}")
    size = 0
    while part := environ["wsgi.input"].read(65536):
        size += len(part)
    return _text(start_response, str(size))


def _ignore(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _text(start_response, "ignored")


def _read(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _text(start_response, environ["wsgi.input"].read().decode())


def _read_and_tell(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Leave what reading the body raises, and answer nevertheless."""
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        leave(type(error).__name__)
        return _text(start_response, type(error).__name__)
    return _text(start_response, "read")


def _read_elsewhere(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Have another thread read the body."""
    parts: list[bytes] = []
    reader = threading.Thread(target=lambda: parts.append(environ["wsgi.input"].read()))
    reader.start()
    reader.join()
    return _text(start_response, parts[0].decode())


# What there is only with gevent.


def _patched(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _text(start_response, f"{Socket.__module__} {Socket is socket.socket}")


def _timeout(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Give up, in this way, what takes too long."""
    import gevent

    how = environ["QUERY_STRING"]
    if how == "uncaught":
        gevent.Timeout(0.05).start()
        time.sleep(60)
    with gevent.Timeout(0.05, False):
        if how == "body":
            environ["wsgi.input"].read()
        else:
            time.sleep(60)
        return _text(start_response, "in time")
    return _text(start_response, "too late")


def _spawn(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Leave a file after the response."""
    import gevent

    name = environ["QUERY_STRING"]

    def later() -> None:
        wait_for(f"go-{name}")
        leave(f"spawned-{name}")

    gevent.spawn(later)
    return _text(start_response, "spawned")


def _block(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Leave begun-NAME and stand still, so that nobody else can run."""
    leave(f"begun-{environ['QUERY_STRING']}")
    while True:
        pass


_DEEDS: dict[str, Callable[[Environ, StartResponse], Iterable[bytes]]] = {
    "/": _pid,
    "/block": _block,
    "/count": _count,
    "/die": _die,
    "/echo-parts": _echo_parts,
    "/fetch": _fetch,
    "/first-line": _first_line,
    "/hold": _hold,
    "/hold-and-read": _hold_and_read,
    "/ignore": _ignore,
    "/large": _large,
    "/local": _local_of,
    "/meet": _meet,
    "/patched": _patched,
    "/put": _put,
    "/read": _read,
    "/read-and-tell": _read_and_tell,
    "/read-elsewhere": _read_elsewhere,
    "/resolve": _resolve,
    "/send-byte": _send_byte,
    "/sleep": _sleep,
    "/spawn": _spawn,
    "/start-and-read": _start_and_read,
    "/take": _take,
    "/thread": _thread,
    "/threads-that-write": _threads_that_write,
    "/timeout": _timeout,
    "/await-byte": _await_byte,
}
