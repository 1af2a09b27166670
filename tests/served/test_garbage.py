"""What is over leaves nothing behind that only the collector would free: a worker would grow until
that comes."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Serve
from tests.support.modes import Mode
from tests.support.rawhttp import Wire, chunked, request

# What of ours there is in the worker, when an app is called and nothing has been collected.
_COUNTS = """
import gc
gc.disable()
def app(environ, start_response):
    environ['wsgi.input'].read()
    kinds = [type(each) for each in gc.get_objects()]
    start_response('200 OK', [])
    return [b'%d' % sum(kind.__name__.endswith(('Connection', 'RequestParser')) for kind in kinds)]
"""
_ENDS = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
    request("GET", "/") + b"nonsense\r\n\r\n",
    request("POST", "/", "Transfer-Encoding: chunked") + b"x\r\n",
    request("POST", "/", "Transfer-Encoding: chunked") + chunked(b"a"),
    request("POST", "/", "Upgrade: h2c", "Connection: upgrade", body=b"a"),
    request("POST", "/", body=b"abc")[:-1],
    request("GET", "/", "Connection: close"),
    b"GET",
)


def test_however_a_connection_ends_nothing_is_left_to_collect(
    serve: Serve, kind: Mode, tmp_path: Path
) -> None:
    (tmp_path / "counts.py").write_text(_COUNTS)
    server = serve("counts:app", workers=1, **kind.settings)
    for data in _ENDS:
        for _ in range(5):
            with Wire(server.port) as wire:
                wire.send(data)
                wire.half_close()
                while wire.sock.recv(65536):
                    pass
        with Wire(server.port) as wire:
            # This connection and its parser; and what a thread or greenlet has last seen.
            assert int(wire.get("/").text) <= 5, data
