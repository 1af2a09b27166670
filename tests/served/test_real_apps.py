"""Real apps: what a Flask and a Django site do must work over TCP, a unix socket and nginx, with
every kind of worker.

The two sites answer the same paths alike, so each behaviour is told once and runs for all.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Answer, Client, UnixClient
from tests.support.modes import Mode
from tests.support.nginx import Nginx, needs_nginx
from tests.support.server import PATIENCE, Server, eventually, open_files, stat

SITES = {
    "flask": "tests.apps.flask_site:app",
    "django": "tests.apps.django_site:application",
}
SMALL = b"a few bytes \x00\xff"
# Beyond what is kept in memory, and beyond Django's own bound for that.
LARGE = os.urandom(3 << 20)
SIZES = pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
STREAM = "".join(f"line {number}\n" for number in range(20))
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Site:
    """A served site; `nginx` is in front of it or None, `unix_path` empty with TCP."""

    server: Server
    unix_path: str
    nginx: Nginx | None

    def client(self) -> Client:
        """A new keep-alive client of the site."""
        if self.nginx is not None:
            return self.nginx.client()
        if self.unix_path:
            return UnixClient(self.unix_path, PATIENCE)
        return self.server.client()

    def ask(self, path: str, method: str = "GET") -> Answer:
        """The answer to a request on a connection of its own."""
        with self.client() as client:
            return client.ask(path, method)


@pytest.fixture(scope="module", params=SITES)
def framework(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=["tcp", "unix", pytest.param("nginx", marks=needs_nginx)])
def served(request: pytest.FixtureRequest, framework: str, kind: Mode) -> Iterator[Site]:
    """One server for all tests of this file: starting one for each would take the most time."""
    with ExitStack() as stack:
        # Not pytest's directory: the path of a unix socket has to be short, unix(7).
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prefork-")))
        unix_path = f"{directory}/socket" if request.param == "unix" else ""
        bind = f"unix:{unix_path}" if unix_path else "127.0.0.1:0"
        server = Server(SITES[framework], directory, {"bind": bind, **kind.settings})
        stack.callback(server.kill)
        server.started()
        nginx = None
        if request.param == "nginx":
            # Bodies are passed on as they come, so that the chunked ones stay what they are.
            nginx = Nginx(f"127.0.0.1:{server.port}", directory, {"proxy_request_buffering": "off"})
            stack.enter_context(nginx)
        yield Site(server, unix_path, nginx)


@pytest.fixture
def site(served: Site) -> Iterator[Site]:
    since = served.server.mark()
    yield served
    print(f"----- the server's log -----\n{served.server.log[since:]}")
    if served.nginx is not None:
        assert served.nginx.errors == []


def post(client: Client, path: str, body: bytes, content_type: str) -> Answer:
    return client.ask(path, "POST", body, {"Content-Type": content_type})


def post_chunked(client: Client, path: str, body: bytes, content_type: str = "") -> Answer:
    """Send the body in chunks, without saying how long it is."""
    chunks = (body[start : start + 50_000] for start in range(0, len(body), 50_000))
    client.request("POST", path, body=chunks, headers={"Content-Type": content_type})
    response = client.getresponse()
    return Answer(response.status, response.msg, response.read())


def upload(client: Client, name: str, body: bytes) -> Answer:
    """Send a form with a file and a note, as a browser does: RFC 7578."""
    line = b"--the-boundary"
    data = b"\r\n".join(
        [
            line,
            b'Content-Disposition: form-data; name="note"',
            b"",
            b"kept",
            line,
            b'Content-Disposition: form-data; name="file"; filename="%b"' % name.encode(),
            b"Content-Type: application/octet-stream",
            b"",
            body,
            line + b"--",
            b"",
        ]
    )
    return post(client, "/files", data, "multipart/form-data; boundary=the-boundary")


def log_in(client: Client, name: str) -> str:
    """Post the log-in form: the session cookie that comes of it."""
    answer = post(client, "/login", f"name={name}".encode(), FORM)
    assert (answer.status, answer.headers["Location"]) == (302, "/me")
    return answer.headers["Set-Cookie"].partition(";")[0]


def test_a_form_post_is_remembered_by_the_session_cookie(site: Site) -> None:
    with site.client() as client:
        cookie = log_in(client, "Marie+Curie")
        assert client.ask("/me", headers={"Cookie": cookie}).text == "Marie Curie"
        assert client.ask("/me").text == "nobody"


def test_a_session_and_its_connection_outlive_a_reload(site: Site) -> None:
    with site.client() as client:
        cookie = log_in(client, "Ada")
        sock = client.sock
        generation, pid, _ = client.ask("/who").text.split()
        site.server.reload()
        assert client.ask("/me", headers={"Cookie": cookie}).text == "Ada"
        assert client.sock is sock
        new_generation, new_pid, _ = client.ask("/who").text.split()
        assert int(new_generation) == int(generation) + 1
        assert new_pid != pid


@SIZES
def test_an_uploaded_file_can_be_downloaded(site: Site, body: bytes) -> None:
    with site.client() as client:
        assert upload(client, "uploaded.bin", body).text == "kept"
        answer = client.ask("/files/uploaded.bin")
    assert answer.status == 200
    assert answer.headers["Content-Length"] == str(len(body))
    assert answer.headers.get_filename() == "uploaded.bin"
    assert answer.body == body


@SIZES
def test_a_chunked_body_reaches_the_app(site: Site, body: bytes) -> None:
    with site.client() as client:
        answer = post_chunked(client, "/digest", body)
        assert answer.text == hashlib.sha256(body).hexdigest()
        assert client.ask("/").text == "home\n"


def test_a_chunked_form_reaches_the_app(site: Site) -> None:
    with site.client() as client:
        assert post_chunked(client, "/login", b"name=Grace", FORM).status == 302


@SIZES
def test_a_body_that_the_app_does_not_read_spoils_no_later_request(site: Site, body: bytes) -> None:
    with site.client() as client:
        assert client.ask("/", "POST", body).status == 405
        if "gevent" in site.server.log:
            # Its answer may come before the body has: then nginx closes the client's connection
            # behind it, without having said so.
            client.close()
        assert client.ask("/").text == "home\n"


def test_a_large_download_comes_whole(site: Site) -> None:
    """More than the client's and the server's buffers hold, so the server has to wait."""
    content = LARGE * 10
    keep(site, "large.bin", content)
    answer = site.ask("/files/large.bin")
    assert len(answer.body) == len(content)
    assert answer.body == content


def test_a_client_that_leaves_in_the_middle_of_a_download_leaves_no_open_file(site: Site) -> None:
    keep(site, "left.bin", LARGE * 10)
    pid = int(site.ask("/who").text.split()[1])
    client = site.client()
    client.request("GET", "/files/left.bin")
    client.getresponse().read(1000)
    path = str(site.server.directory / "files" / "left.bin")
    assert path in open_files(pid)
    client.close()
    eventually(lambda: path not in open_files(pid), "the file to be closed")
    assert site.ask("/").text == "home\n"


def test_a_part_of_a_stream_arrives_before_the_next_one_is_made(site: Site) -> None:
    awaited = site.server.directory / "go"
    with site.client() as client:
        client.request("GET", "/held/go")
        response = client.getresponse()
        assert response.readline() == b"first\n"
        awaited.touch()
        assert response.read() == b"last\n"
    awaited.unlink()


def test_after_a_stream_the_connection_serves_on(site: Site) -> None:
    with site.client() as client:
        for _ in range(2):
            answer = client.ask("/stream")
            assert answer.headers["Transfer-Encoding"] == "chunked"
            assert answer.text == STREAM
            sock = client.sock
        assert client.ask("/").text == "home\n"
        assert client.sock is sock


@pytest.mark.parametrize("kind", ["sync"], indirect=True)
@pytest.mark.parametrize("served", ["unix"], indirect=True)
def test_a_slow_client_makes_a_stream_of_small_parts_cost_no_more(site: Site) -> None:
    """On a unix socket, as that holds little: nearly all of the rows are kept by the server."""
    count = 30_000
    pid = int(site.ask("/who").text.split()[1])
    before = cpu_ticks(pid)
    site.ask(f"/rows/{count}")
    quick = cpu_ticks(pid) - before
    with site.client() as slow:
        slow.request("GET", f"/rows/{count}")
        response = slow.getresponse()
        # A single sync worker answers this when it has got all rows from the app.
        site.ask("/")
        held = cpu_ticks(pid) - before - quick
        assert response.read().endswith(b"\n%d,row\n" % (count - 1))
    assert held < 8 * quick


@pytest.mark.parametrize("path", ["/", "/files/asked.bin", "/stream"])
def test_a_head_request_gets_the_fields_of_a_get_and_no_body(site: Site, path: str) -> None:
    keep(site, "asked.bin", SMALL)
    with site.client() as client:
        whole = client.ask(path)
        head = client.ask(path, "HEAD")
        assert client.ask("/").text == "home\n"
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Type", "Content-Length", "Content-Disposition"):
        assert head.headers[name] == whole.headers[name]


def test_a_page_that_has_not_changed_is_not_sent_again(site: Site) -> None:
    with site.client() as client:
        tag = client.ask("/").headers["ETag"]
        answer = client.ask("/", headers={"If-None-Match": tag})
        assert (answer.status, answer.body) == (304, b"")
        assert client.ask("/").text == "home\n"


def test_a_path_and_a_query_beyond_ascii_reach_the_app(site: Site) -> None:
    assert site.ask("/hello/%C5%BDofie?q=%C3%A9t%C3%A9").text == "Žofie été"


def test_an_error_of_a_view_is_answered_by_the_framework_and_logged(
    site: Site, framework: str
) -> None:
    since = site.server.mark()
    with site.client() as client:
        answer = client.ask("/broken")
        assert answer.status == 500
        assert answer.headers["Content-Type"].startswith("text/html")
        # Django shows what DEBUG has it show, Flask what is for the public.
        expected = {
            "django": "<title>RuntimeError",
            "flask": "<h1>Internal Server Error</h1>",
        }
        assert expected[framework] in answer.text
        assert client.ask("/").text == "home\n"
    site.server.wait_for("RuntimeError: broken on purpose", since)


def keep(site: Site, name: str, content: bytes) -> None:
    """Put a file where the site has its uploads."""
    (site.server.directory / "files").mkdir(exist_ok=True)
    (site.server.directory / "files" / name).write_bytes(content)


def cpu_ticks(pid: int) -> int:
    """The CPU time that a process has used, in the kernel too: proc(5)."""
    fields = stat(pid)
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("app", ["flask", "django", "shown"])
def test_the_validator_of_the_standard_library_finds_nothing(
    serve: Serve, kind: Mode, app: str
) -> None:
    server = serve(f"tests.apps.validated:{app}", workers=1, **kind.settings)
    with server.client() as client:
        for _ in range(3):
            assert client.ask("/").status < 500
    assert "AssertionError" not in server.log
