"""What a request costs of the kernel, in every mode: nothing but a read and a write of its own."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.modes import Mode
from tests.support.rawhttp import Wire
from tests.support.server import PATIENCE

REQUESTS = 200
TRACED = "epoll_ctl,read,recvfrom,recvmsg,write,writev,sendto,sendmsg"

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="system calls are not counted, as there is no strace"
)


@contextmanager
def traced(pid: int, file: Path) -> Iterator[None]:
    """For as long as this lasts the system calls of the process are written down."""
    arguments = ["strace", "-f", "-s", "100", "-e", f"trace={TRACED}", "-o", str(file)]
    with subprocess.Popen(
        [*arguments, "-p", str(pid)], stderr=subprocess.PIPE, text=True
    ) as tracer:
        assert tracer.stderr is not None
        if "attached" not in tracer.stderr.readline():
            pytest.skip("system calls are not counted, as nobody may trace here")
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(PATIENCE)


def test_a_request_on_a_kept_connection_costs_one_read_and_one_write(
    serve: Serve, mode: Mode, tmp_path: Path
) -> None:
    server = serve("tests.apps.mix:app", workers=1, **mode.settings)
    with Wire(server.port) as wire:
        wire.assert_open()
        with traced(server.workers()[1], tmp_path / "calls"):
            for _ in range(REQUESTS):
                assert wire.get("/").body == b"fast\n"
    calls = (tmp_path / "calls").read_text()
    # A call that another thread has interrupted takes two lines; its data is in one of them.
    assert len(re.findall(r"GET / HTTP/1\.1", calls)) == REQUESTS
    assert len(re.findall(r"HTTP/1\.1 200 OK", calls)) == REQUESTS
    # Never a read that finds nothing, nor a change of what is waited for.
    assert len(re.findall(r"\b(?:read|recvfrom|recvmsg)\(.*EAGAIN", calls)) < REQUESTS / 10
    assert calls.count("epoll_ctl(") < REQUESTS / 10
