"""`reload`: what somebody sees who changes the code, breaks it and mends it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.command import run
from tests.support.server import Server, alive, children, eventually

APP = """
def app(environ, start_response):
    body = {body!r}
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
BROKEN = "import nowhere_to_be_<found>\n"
MISSING = "import nowhere_to_be_found\n"


def write(directory: Path, text: str) -> None:
    """Write the app as editors do: a new file takes the place of the old one."""
    (directory / "app.py.new").write_text(text)
    os.replace(directory / "app.py.new", directory / "app.py")


def says(body: bytes) -> str:
    return APP.format(body=body)


def shows(server: Server, body: bytes) -> None:
    def asked() -> bool:
        with server.client() as client:
            return body in client.ask("/").body

    eventually(asked, f"{body!r} from the app")


def watcher(server: Server) -> int:
    """The pid of the watcher, once it watches."""
    pids = server.wait_for(r"watcher pid=(\d+).* watching ")
    return int(pids[1])


def test_an_app_is_broken_and_mended_without_a_word_to_the_server(
    tmp_path: Path, serve: Serve
) -> None:
    (tmp_path / "app.py").write_text(MISSING)
    server = serve("app", reload=True, wait_ready=True, ready_path="/ready")
    watcher(server)
    with server.client() as client:
        response = client.ask("/")
    assert response.status == 500
    assert b'<meta http-equiv="refresh"' in response.body
    assert b"ModuleNotFoundError: No module named &#x27;nowhere_to_be_found&#x27;" in response.body
    assert "No module named 'nowhere_to_be_found'" in server.log
    write(tmp_path, "import prefork\nprefork.ready()\n" + says(b"mended"))
    shows(server, b"mended")
    write(tmp_path, BROKEN)
    shows(server, b"nowhere_to_be_&lt;found&gt;")
    write(tmp_path, "import prefork\nprefork.ready()\n" + says(b"mended again"))
    shows(server, b"mended again")


@pytest.mark.parametrize("engine", ["auto", "poll"])
def test_files_of_other_kinds_and_directories_are_watched_if_they_are_named(
    tmp_path: Path, serve: Serve, engine: str
) -> None:
    site, library = tmp_path / "site", tmp_path / "library"
    site.mkdir()
    library.mkdir()
    (site / "app.py").write_text(
        "import greeting\nfrom pathlib import Path\n"
        + says(b"").replace("b''", "greeting.BODY + Path('name.txt').read_bytes()")
    )
    (site / "name.txt").write_text("you")
    (library / "greeting.py").write_text("BODY = b'hello '")
    server = serve(
        "app",
        reload=True,
        reload_engine=engine,
        reload_extra_files=["name.txt"],
        chdir="site",
        pythonpath=["../library"],
        preload=True,
    )
    watcher(server)
    shows(server, b"hello you")
    since = server.mark()
    (site / "name.txt").write_text("everybody")
    server.wait_for(r"name.txt has changed", since)
    shows(server, b"hello everybody")
    (library / "greeting.py").write_text("BODY = b'goodbye '")
    shows(server, b"goodbye everybody")


def test_there_is_one_watcher_whatever_happens(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "app.py").write_text(says(b"same"))
    server = serve("app", reload=True)
    first = watcher(server)
    assert first in children(server.pid)
    since = server.mark()
    server.send(signal.SIGUSR2)
    server.wait_for(r"reload \S+ ?\S* ?\S* ?done", since)
    second = int(server.wait_for(r"watcher pid=(\d+).* watching ", since)[1])
    assert not alive(first)
    assert len(children(server.pid)) == 2
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: not alive(second), "the end of the watcher without a master")


def test_it_ends_with_the_service_and_with_the_setting(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "app.py").write_text(says(b"same"))
    server = serve("app", reload=True)
    pid = watcher(server)
    server.configure({"reload": False})
    server.reload()
    eventually(lambda: not alive(pid), "the end of the watcher")
    server.configure({"reload": True})
    since = server.mark()
    server.reload()
    pid = int(server.wait_for(r"watcher pid=(\d+).* watching ", since)[1])
    assert server.stop() == 0
    assert not alive(pid)


def test_without_watchfiles_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(says(b"same"))
    # As if it were not installed: what find_spec looks for by this.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['watchfiles'] = None\n")
    result = run(tmp_path, "--reload", environ={"PYTHONPATH": str(tmp_path)})
    assert result.returncode == 2
    assert "reload needs watchfiles: pip install 'prefork[dev]'" in result.stderr
