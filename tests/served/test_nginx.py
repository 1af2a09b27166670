"""Behind a real nginx: no reload of any kind of worker is seen by it, and so none by its clients.

nginx keeps connections to the server and never tries a request twice here, so every connection
that the server cuts or refuses shows as a 502 and as a line in nginx's error log.
"""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Client, Load
from tests.support.modes import Mode
from tests.support.nginx import Nginx, needs_nginx
from tests.support.server import Server

pytestmark = needs_nginx

FLASK = "tests.apps.flask_site:app"
DJANGO = "tests.apps.django_site:application"
BODY = os.urandom(100_000)
DIGEST = hashlib.sha256(BODY).hexdigest()
STREAM = "".join(f"line {number}\n" for number in range(20))


def fast(client: Client) -> None:
    assert client.ask("/").text == "home\n"


def slow(client: Client) -> None:
    assert client.ask("/slow").text == "slow\n"


def streaming(client: Client) -> None:
    assert client.ask("/stream").text == STREAM


def upload(client: Client) -> None:
    assert client.ask("/digest", "POST", BODY).text == DIGEST


def chunked_upload(client: Client) -> None:
    client.request("POST", "/digest", body=iter([BODY[:10], BODY[10:]]))
    assert client.getresponse().read().decode() == DIGEST


def download(client: Client) -> None:
    assert client.ask("/files/body").body == BODY


MIX: list[Callable[[Client], None]] = [
    fast,
    fast,
    fast,
    slow,
    streaming,
    upload,
    chunked_upload,
    download,
]


@pytest.fixture
def directory() -> Iterator[Path]:
    """For nginx, the socket and the site's files; the path of a socket must be short, unix(7)."""
    with tempfile.TemporaryDirectory(prefix="prefork-") as name:
        path = Path(name)
        (path / "files").mkdir()
        (path / "files" / "body").write_bytes(BODY)
        yield path


def upstream(server: Server, unix: str) -> str:
    """Where nginx finds the server."""
    return unix or f"127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    ("app", "transport", "workers", "kind", "options"),
    [
        (FLASK, "tcp", 1, "sync", {}),
        (FLASK, "unix", 2, "sync", {"proxy_buffering": "off", "proxy_request_buffering": "off"}),
        (FLASK, "unix", 1, "gevent", {"proxy_buffering": "off", "proxy_request_buffering": "off"}),
        (FLASK, "tcp", 1, "threads", {}),
        (DJANGO, "tcp", 1, "gevent", {}),
        (DJANGO, "unix", 1, "threads", {}),
        # nginx's default: a connection for each request, and streams that end with it.
        (FLASK, "tcp", 1, "sync", {"proxy_http_version": "1.0"}),
    ],
    ids=[
        "flask-tcp-sync",
        "flask-unix-unbuffered-sync",
        "flask-unix-unbuffered-gevent",
        "flask-tcp-threads",
        "django-tcp-gevent",
        "django-unix-threads",
        "flask-http-1.0-sync",
    ],
)
def test_reloads_under_load_show_in_no_answer_and_no_error_line(
    serve: Serve,
    directory: Path,
    app: str,
    transport: str,
    workers: int,
    kind: str,
    options: dict[str, str],
) -> None:
    unix = f"unix:{directory}/socket" if transport == "unix" else ""
    bind = unix or "127.0.0.1:0"
    mode = Mode(kind).settings
    server = serve(app, workers=workers, bind=bind, chdir=str(directory), **mode)
    with Nginx(upstream(server, unix), directory, options) as nginx:
        with Load(nginx.client, MIX, clients=2 * len(MIX), pause=0.02) as clients:
            for _ in range(4):
                server.reload()
                clients.answer(len(MIX))
        answers = nginx.answers(clients.count)
        assert clients.losses == []
        assert nginx.errors == []
    assert {answer.split()[0] for answer in answers} == {"200"}


def test_the_connection_that_nginx_keeps_outlives_ten_reloads(
    serve: Serve, directory: Path, kind: Mode
) -> None:
    server = serve(FLASK, workers=1, **kind.settings)
    with Nginx(upstream(server, ""), directory) as nginx, nginx.client() as client:
        generation, _, port = client.ask("/who").text.split()
        for _ in range(10):
            server.reload()
        last_generation, _, last_port = client.ask("/who").text.split()
        assert nginx.errors == []
    assert int(last_generation) == int(generation) + 10
    assert last_port == port, "the server has closed nginx's connection"


def test_a_request_that_nginx_waits_for_during_the_reload_is_answered(
    serve: Serve, directory: Path, kind: Mode
) -> None:
    server = serve(FLASK, workers=1, **kind.settings)
    go = server.directory / "go"
    with Nginx(upstream(server, ""), directory) as nginx, nginx.client() as client:
        client.request("GET", "/held/go")
        response = client.getresponse()
        assert response.readline() == b"first\n"
        since = server.mark()
        server.send(signal.SIGHUP)
        server.wait_for("gen=1 pid=[0-9]+ draining", since)
        with nginx.client() as other:
            assert other.ask("/who").text.split()[0] == "2"
        go.touch()
        assert response.read() == b"last\n"
        server.wait_for("reload to generation 2 done", since)
        assert nginx.errors == []


def test_nginx_reports_a_server_that_is_not_there(serve: Serve, directory: Path) -> None:
    """Without this the other tests could pass by not seeing anything."""
    server = serve(FLASK, workers=1)
    with Nginx(upstream(server, ""), directory) as nginx, nginx.client() as client:
        assert server.stop() == 0
        assert client.ask("/").status == 502
        assert nginx.answers(1)[0].startswith("502 ")
        assert len(nginx.errors) == 1
