"""The PROXY protocol: what the proxy says of a client is known wherever its connection goes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from prefork.wire.introduction import Introduction, Secure, encode
from tests.conftest import Serve
from tests.support.clients import Client
from tests.support.modes import KINDS, Mode
from tests.support.server import PATIENCE, at_rest, eventually
from tests.support.tls import Authority, TLSClient

CONTRACT = "tests.apps.contract:app"
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n"
BINARY = encode(Introduction("2001:db8::7", 4711, "2001:db8::1", 443, None))
OF_TLS = encode(
    Introduction(
        "192.0.2.7",
        4711,
        "198.51.100.1",
        443,
        Secure("TLSv1.2", "AES", "a.example", "me", True, b""),
    )
)


class Introduced(Client):
    """A client whose connection begins with this."""

    def __init__(self, port: int, header: bytes, pause: float = 0.0) -> None:
        super().__init__(port, PATIENCE)
        self._header = header
        self._pause = pause

    def connect(self) -> None:
        super().connect()
        if self._pause:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in self._header:
                self.sock.sendall(bytes([byte]))
                time.sleep(self._pause)
        else:
            self.sock.sendall(self._header)


def is_closed(sock: socket.socket) -> bool:
    """Wait until the server ends the connection: whether it does so without an answer."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def environ_of(client: Client) -> dict[str, str]:
    found: dict[str, str] = json.loads(client.ask("/").body)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pause", [0.0, 0.001], ids=["at once", "byte by byte"])
def test_the_client_is_the_one_that_the_proxy_names(serve: Serve, kind: str, pause: float) -> None:
    server = serve(CONTRACT, proxy_protocol=True, **Mode(kind).settings)
    for header, host in ((LINE, "192.0.2.7"), (BINARY, "2001:db8::7")):
        with Introduced(server.port, header, pause) as client:
            for _ in range(2):
                told = environ_of(client)
                assert (told["REMOTE_ADDR"], told["REMOTE_PORT"]) == (host, "4711")
                assert told["wsgi.url_scheme"] == "http"
    with Introduced(server.port, b"PROXY UNKNOWN\r\n") as client:
        assert environ_of(client)["REMOTE_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_proxy_knows_of_tls_reaches_the_app_and_no_other_clients(
    serve: Serve, kind: str
) -> None:
    server = serve(CONTRACT, proxy_protocol=True, **Mode(kind).settings)
    with Introduced(server.port, OF_TLS) as one, Introduced(server.port, LINE) as other:
        for _ in range(3):
            told, of_other = environ_of(one), environ_of(other)
            assert told["wsgi.url_scheme"] == "https"
            assert (told["SSL_PROTOCOL"], told["SSL_TLS_SNI"]) == ("TLSv1.2", "a.example")
            assert (told["SSL_CLIENT_S_DN_CN"], told["SSL_CLIENT_VERIFY"]) == ("me", "SUCCESS")
            assert not [key for key in of_other if key.startswith(("SSL_", "HTTPS"))]
            assert of_other["wsgi.url_scheme"] == "http"


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_moves_takes_along_what_was_said(serve: Serve, kind: str) -> None:
    server = serve(CONTRACT, proxy_protocol=True, **Mode(kind).settings)
    with Introduced(server.port, OF_TLS) as client:
        before = environ_of(client)
        sock = client.sock
        server.reload()
        assert environ_of(client)["SSL_PROTOCOL"] == before["SSL_PROTOCOL"]
        pid = server.workers()[1]
        eventually(lambda: at_rest([pid]), "the worker to be done with what it has answered")
        os.kill(pid, signal.SIGKILL)
        assert environ_of(client)["REMOTE_ADDR"] == "192.0.2.7"
        since = server.mark()
        server.send(signal.SIGUSR2)
        server.wait_for(r"reload to generation \d+ done", since)
        assert environ_of(client)["REMOTE_PORT"] == "4711"
        assert client.sock is sock


@pytest.mark.parametrize(
    "header",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PROXY TCP4 a b 1 2\r\n",
        b"PROXY " + b"x" * 200,
        b"\0",
    ],
)
def test_who_sends_no_header_gets_no_answer(serve: Serve, header: bytes) -> None:
    server = serve(CONTRACT, proxy_protocol=True)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        sock.sendall(header)
        assert is_closed(sock)
    server.wait_for("no introduction of a client by 127.0.0.1: ")
    with Introduced(server.port, LINE) as client:
        assert client.ask().status == 200


def test_a_proxy_has_its_time_for_the_header(serve: Serve) -> None:
    server = serve(CONTRACT, proxy_protocol=True, header_timeout=1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        sock.sendall(b"PROXY")
        assert is_closed(sock)
    server.wait_for("none in time")


def test_who_is_not_allowed_may_not_introduce_anybody(serve: Serve) -> None:
    server = serve(CONTRACT, proxy_protocol=True, proxy_allow_ips=["192.0.2.0/24"])
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        sock.sendall(LINE + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert is_closed(sock)
    server.wait_for("127.0.0.1 may not connect")


def test_a_header_before_tls_names_the_client(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.certify("server.pem", "localhost")
    server = serve(CONTRACT, proxy_protocol=True, tls={"certificate": certificate})

    class Both(TLSClient):
        def connect(self) -> None:
            self.sock = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
            self.sock.sendall(LINE)
            self.sock = authority.context().wrap_socket(self.sock, server_hostname="localhost")

    with Both(server.port, authority.context()) as client:
        told = environ_of(client)
    assert (told["REMOTE_ADDR"], told["SSL_PROTOCOL"]) == ("192.0.2.7", "TLSv1.3")


HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIG = """\
defaults
    mode http
    timeout connect 10s
    timeout client 30s
    timeout server 30s
frontend front
    bind fd@{fd}
    default_backend back
backend back
    server one 127.0.0.1:{port} {option}
"""


@pytest.mark.skipif(HAPROXY is None, reason="there is no HAProxy: apt-get install -y haproxy")
@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
def test_haproxy_introduces_its_clients(serve: Serve, tmp_path: Path, option: str) -> None:
    server = serve(CONTRACT, proxy_protocol=True)
    assert HAPROXY is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = tmp_path / "haproxy.cfg"
        fd = listener.fileno()
        config.write_text(CONFIG.format(fd=fd, port=server.port, option=option))
        process = subprocess.Popen([HAPROXY, "-f", str(config), "-db"], pass_fds=[fd])
        try:
            with Client(listener.getsockname()[1], PATIENCE) as client:
                told = environ_of(client)
                assert told["REMOTE_ADDR"] == "127.0.0.1"
                assert told["REMOTE_PORT"] == str(client.sock.getsockname()[1])
                server.reload()
                assert environ_of(client)["REMOTE_PORT"] == told["REMOTE_PORT"]
        finally:
            process.terminate()
            process.wait(PATIENCE)
