"""TLS: spoken by a process of its own, so that all that holds for connections holds for these."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.support.clients import Load
from tests.support.modes import KINDS, Mode
from tests.support.server import Server, alive, eventually
from tests.support.tls import Authority, TLSClient, connect

CONTRACT = "tests.apps.contract:app"
TOGETHER = "tests.apps.together:app"

Secure = Callable[..., Server]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secure(serve: Serve, authority: Authority) -> Secure:
    """Starts a server that speaks TLS, with these settings in [tls]."""
    certificate = authority.certify("server.pem", "localhost")

    def begin(app: str, tls: dict[str, Any] | None = None, **settings: Any) -> Server:
        return serve(app, tls={"certificate": certificate, **(tls or {})}, **settings)

    return begin


def terminators(server: Server) -> list[int]:
    """The pids of those that were spawned and live."""
    return [int(pid) for pid in re.findall(r"tls pid=(\d+) spawned", server.log) if alive(int(pid))]


@pytest.mark.parametrize("kind", KINDS)
def test_the_app_is_told_of_tls(secure: Secure, authority: Authority, kind: str) -> None:
    server = secure(
        CONTRACT, {"ca": str(authority.path), "verify": "optional"}, **Mode(kind).settings
    )
    mine = authority.certify("client.pem", "me@example.org", common_name="me")
    with TLSClient(server.port, authority.context(mine)) as client:
        told = json.loads(client.ask().body)
    with TLSClient(server.port, authority.context()) as client:
        of_nobody = json.loads(client.ask().body)
    expected = {
        "wsgi.url_scheme": "https",
        "HTTPS": "on",
        "SSL_PROTOCOL": "TLSv1.3",
        "SSL_TLS_SNI": "localhost",
        "SSL_CLIENT_VERIFY": "SUCCESS",
        "SSL_CLIENT_S_DN_CN": "me",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_PORT": str(server.port),
    }
    assert {key: told[key] for key in expected} == expected
    assert ssl.PEM_cert_to_DER_cert(told["SSL_CLIENT_CERT"]) in _certificates(mine)
    assert of_nobody["SSL_CLIENT_VERIFY"] == "NONE"
    assert "SSL_CLIENT_CERT" not in of_nobody


def _certificates(path: str) -> list[bytes]:
    found = re.findall(
        "-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n",
        Path(path).read_text(),
        re.DOTALL,
    )
    return [ssl.PEM_cert_to_DER_cert(each) for each in found]


@pytest.mark.parametrize("kind", KINDS)
def test_no_request_is_lost_in_reloads_and_connections_live_on(
    secure: Secure, authority: Authority, kind: str
) -> None:
    server = secure(TOGETHER, workers=2, **Mode(kind).settings)
    context = authority.context()

    def ask(client: Any) -> None:
        assert client.ask("/").status == 200

    with TLSClient(server.port, context) as idle:
        idle.ask()
        before = idle.sock
        with Load(lambda: TLSClient(server.port, context), [ask], clients=10) as load:
            for _ in range(3):
                load.answer(50)
                server.reload()
        assert load.losses == []
        idle.ask()
        assert idle.sock is before


@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_costs_only_the_request_that_was_executed(
    secure: Secure, authority: Authority, kind: str
) -> None:
    server = secure(TOGETHER, **Mode(kind).settings)
    context = authority.context()
    with TLSClient(server.port, context) as idle, TLSClient(server.port, context) as victim:
        first = idle.ask().text
        before = idle.sock
        assert victim.ask("/die").status == 502
        assert idle.ask().text != first
        assert idle.sock is before


@pytest.mark.parametrize("kind", KINDS)
def test_a_response_that_is_cut_does_not_look_whole(
    secure: Secure, authority: Authority, kind: str
) -> None:
    """Over HTTP/1.0, where its end is that of the connection."""
    server = secure(CONTRACT, **Mode(kind).settings)
    with connect(server.port, authority.context()) as sock:
        sock.sendall(b"GET /gated?x HTTP/1.0\r\n\r\n")
        received = b""
        while not received.endswith(b"first"):
            received += sock.recv(4096)
        os.kill(server.workers()[1], signal.SIGKILL)
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            while sock.recv(4096):
                pass


def test_a_response_that_ends_with_its_connection_is_ended_by_tls(
    secure: Secure, authority: Authority
) -> None:
    server = secure(CONTRACT)
    with connect(server.port, authority.context()) as sock:
        sock.sendall(b"GET /pid HTTP/1.0\r\n\r\n")
        received = b""
        while part := sock.recv(4096):  # raises where the connection just ends
            received += part
    assert received.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("kind", KINDS)
def test_large_bodies_go_through_in_both_directions(
    secure: Secure, authority: Authority, kind: str
) -> None:
    server = secure(CONTRACT, **Mode(kind).settings)
    body = os.urandom(8 << 20)
    with TLSClient(server.port, authority.context()) as client:
        assert hashlib.sha256(client.ask("/echo", "POST", body).body).digest() == (
            hashlib.sha256(body).digest()
        )


def test_a_file_goes_through(secure: Secure, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content := os.urandom(1 << 22))
    server = secure("tests.apps.files:app")
    with TLSClient(server.port, authority.context()) as client:
        assert client.ask(f"/?path={tmp_path / 'file'}").body == content


def test_clients_get_the_certificate_of_the_name_that_they_ask_for(
    secure: Secure, authority: Authority
) -> None:
    hosts = {
        "a.example": authority.certify("a.pem", "a.example"),
        "*.b.example": authority.certify("b.pem", "*.b.example"),
    }
    server = secure(CONTRACT, {"hosts": hosts})
    for name in ("localhost", "a.example", "A.example", "x.b.example"):
        with TLSClient(server.port, authority.context(), name) as client:
            assert json.loads(client.ask("/").body)["SSL_TLS_SNI"] == name
    with pytest.raises(ssl.SSLCertVerificationError):
        TLSClient(server.port, authority.context(), "b.example").ask()


def test_a_reload_brings_new_certificates_and_old_connections_live_on(
    secure: Secure, authority: Authority
) -> None:
    server = secure(CONTRACT)
    context = authority.context()
    (first,) = terminators(server)
    with TLSClient(server.port, context) as old:
        old.ask()
        serial = old.serial
        authority.certify("server.pem", "localhost")
        server.reload()
        with TLSClient(server.port, context) as new:
            new.ask()
            assert new.serial != serial
        before = old.sock
        old.ask()
        assert old.sock is before
        assert alive(first)
    eventually(lambda: not alive(first), "the end of the old terminator with its last connection")


def test_a_reload_without_new_certificates_leaves_the_terminator_alone(secure: Secure) -> None:
    server = secure(CONTRACT)
    before = terminators(server)
    server.reload()
    assert terminators(server) == before


def test_a_reload_with_a_bad_certificate_is_refused(secure: Secure, authority: Authority) -> None:
    server = secure(CONTRACT)
    context = authority.context()
    workers = server.workers()
    certificate = server.directory / "server.pem"
    good = certificate.read_text()
    for bad in ("nonsense", good.partition("-----BEGIN CERTIFICATE-----")[0]):
        certificate.write_text(bad)
        since = server.mark()
        server.send(signal.SIGHUP)
        server.wait_for("reload refused, nothing changes: tls pid", since)
        assert r"[tls] certificate = " in server.log[since:]
        with TLSClient(server.port, context) as client:
            assert client.ask().status == 200
    assert server.workers() == workers
    certificate.write_text(good)
    server.reload()
    with TLSClient(server.port, context) as client:
        assert client.ask().status == 200


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        ({"certificate": "missing.pem"}, r"conf.toml:\d+: \[tls\] certificate = .*No such file"),
        ({"ca": "server.pem", "ciphers": "NONE"}, r"\[tls\] ciphers = NONE: "),
        ({"hosts": {"a.example": "missing.pem"}}, r"\[tls\] hosts = .*No such file"),
        ({"verify": "maybe"}, "'none' or 'optional' or 'required'"),
        ({"certificat": "x"}, "unknown setting 'tls_certificat'"),
    ],
)
def test_a_mistake_in_the_settings_is_named_and_nothing_starts(
    start: Serve, authority: Authority, tls: dict[str, Any], said: str
) -> None:
    certificate = authority.certify("server.pem", "localhost")
    server = start(CONTRACT, tls={"certificate": certificate, **tls})
    assert server.wait() == 2
    assert re.search(said, server.log)
    assert "Traceback" not in server.log


def test_clients_have_to_show_a_certificate_where_it_is_required(
    secure: Secure, authority: Authority
) -> None:
    server = secure(CONTRACT, {"ca": str(authority.path), "verify": "required"})
    with pytest.raises((ssl.SSLError, OSError)):
        TLSClient(server.port, authority.context()).ask()
    elsewhere = server.directory / "elsewhere"
    elsewhere.mkdir()
    other = Authority(elsewhere)
    with pytest.raises((ssl.SSLError, OSError)):
        context = authority.context(other.certify("client.pem", "me@example.org"))
        TLSClient(server.port, context).ask()
    mine = authority.certify("client.pem", "me@example.org")
    with TLSClient(server.port, authority.context(mine)) as client:
        assert client.ask().status == 200


def test_old_versions_are_not_spoken(secure: Secure, authority: Authority) -> None:
    server = secure(CONTRACT, {"min_version": "TLSv1.3"})
    context = authority.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        TLSClient(server.port, context).ask()


def test_alpn_says_http_1_1(secure: Secure, authority: Authority) -> None:
    server = secure(CONTRACT)
    context = authority.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with connect(server.port, context) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"


def test_silent_and_senseless_clients_hold_up_nobody_and_are_let_go(
    secure: Secure, authority: Authority
) -> None:
    server = secure(CONTRACT, header_timeout=1)
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    for sock in silent:
        sock.settimeout(30)
        sock.sendall(b"\x16\x03\x01")  # the beginning of a handshake
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with TLSClient(server.port, authority.context()) as client:
        assert client.ask().status == 200
    for sock in [*silent, plain]:
        try:
            while sock.recv(4096):
                pass
        except ConnectionResetError:
            pass
        sock.close()
    assert "Traceback" not in server.log


def test_an_upgrade_of_the_master_keeps_tls_connections(
    secure: Secure, authority: Authority
) -> None:
    server = secure(CONTRACT)
    with TLSClient(server.port, authority.context()) as client:
        client.ask()
        before = client.sock
        since = server.mark()
        server.send(signal.SIGUSR2)
        server.wait_for("taken over by", since)
        server.wait_for(r"reload to generation \d+ done", since)
        assert json.loads(client.ask("/").body)["SSL_PROTOCOL"]
        assert client.sock is before
    with TLSClient(server.port, authority.context()) as client:
        assert client.ask().status == 200


def test_a_terminator_that_dies_is_replaced(secure: Secure, authority: Authority) -> None:
    server = secure(CONTRACT)
    (first,) = terminators(server)
    os.kill(first, signal.SIGKILL)
    # Whoever comes before that is noticed may be given to the dead one.
    server.wait_for(f"tls pid={first} was killed by SIGKILL")
    with TLSClient(server.port, authority.context()) as client:
        assert client.ask().status == 200
    assert terminators(server) != [first]


def test_those_who_come_while_there_is_no_terminator_wait_for_the_next_one(
    secure: Secure, authority: Authority
) -> None:
    """None of them is put off by others who come after it, and go on coming."""
    server = secure(CONTRACT)
    (first,) = terminators(server)
    served = threading.Event()
    others: list[socket.socket] = []

    def come() -> None:
        while not served.wait(0.02) and len(others) < 900:
            others.append(socket.create_connection(("127.0.0.1", server.port)))
            others[-1].sendall(b"\x16\x03\x01")  # the beginning of a handshake

    coming = threading.Thread(target=come)
    coming.start()
    os.kill(first, signal.SIGKILL)
    server.wait_for(f"tls pid={first} was killed by SIGKILL")
    with TLSClient(server.port, authority.context()) as client:
        assert client.ask().status == 200
    assert coming.is_alive()
    served.set()
    coming.join()
    for sock in others:
        sock.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_at_the_end_nobody_is_left(
    secure: Secure, authority: Authority, number: signal.Signals
) -> None:
    server = secure(CONTRACT)
    with TLSClient(server.port, authority.context()) as client:
        client.ask()
        pids = [*terminators(server), *server.workers().values()]
        assert server.stop(number) == 0
    assert not any(map(alive, pids))


def test_when_the_master_is_killed_its_terminators_end(secure: Secure) -> None:
    server = secure(CONTRACT)
    pids = terminators(server)
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: not any(map(alive, pids)), "the end of the terminators")


def test_plain_http_is_spoken_beside_it(secure: Secure, authority: Authority) -> None:
    server = secure(CONTRACT, bind=["127.0.0.1:0", "http://127.0.0.1:0"])
    with TLSClient(server.port, authority.context()) as client:
        assert json.loads(client.ask("/").body)["wsgi.url_scheme"] == "https"
    port = int(server.wait_for(r"listening on http://\S+:(\d+)")[1])
    output = subprocess.run(
        ["curl", "-sS", f"http://127.0.0.1:{port}/"], capture_output=True, check=True, timeout=30
    ).stdout
    assert json.loads(output)["wsgi.url_scheme"] == "http"


def test_curl_and_openssl_get_along_with_it(secure: Secure, authority: Authority) -> None:
    server = secure(CONTRACT)
    where = f"https://localhost:{server.port}/pid"
    curl = ["curl", "-sS", "--fail", "--cacert", str(authority.path), where, where]
    for option in ("--tlsv1.2", "--tlsv1.3", "--http1.0", "--http2"):
        subprocess.run([*curl, option], capture_output=True, check=True, timeout=30)
    shown = subprocess.run(
        ["openssl", "s_client", "-connect", f"localhost:{server.port}", "-CAfile",
         str(authority.path), "-verify_return_error", "-ign_eof"],
        input=b"GET /pid HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        capture_output=True, check=True, timeout=30,
    ).stdout  # fmt: skip
    assert b"HTTP/1.1 200 OK" in shown
    assert b"Verify return code: 0 (ok)" in shown


def test_dispatch_shared_is_refused_with_it(start: Serve, authority: Authority) -> None:
    certificate = authority.certify("server.pem", "localhost")
    server = start(CONTRACT, tls={"certificate": certificate}, dispatch="shared")
    assert server.wait() == 2
    assert 'dispatch = "shared" does not go with tls_certificate' in server.log
