"""What is built, and what somebody has who installs it.

The environment has what prefork depends on from that of the tests; prefork itself it has from the
wheel alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from prefork import __version__
from tests.support.server import PATIENCE, ROOT, Server

PAGES = {"prefork": "1", "preforkctl": "1", "prefork.toml": "5"}
MAN = shutil.which("man") or shutil.which("mman")


def execute(*words: str | Path) -> str:
    """Run a command to its end, where there is no clone, and without the test's own variables."""
    done = subprocess.run(
        words,
        cwd="/",
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist, and the wheel that is made of it."""
    directory = tmp_path_factory.mktemp("dist")
    execute(sys.executable, "-m", "build", "--no-isolation", "-o", directory, ROOT)
    return directory


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (wheel,) = built.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Installation:
    """An environment in which prefork is installed."""

    prefix: Path

    def __call__(self, program: str, *arguments: str) -> str:
        """Run one of its programs."""
        return execute(self.prefix / "bin" / program, *arguments)


@pytest.fixture(scope="module")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    prefix = tmp_path_factory.mktemp("environment")
    execute(sys.executable, "-m", "venv", "--without-pip", prefix)
    python = prefix / "bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    execute(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel)
    packages = Path(execute(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
    # A path in such a file is that of modules: that the tests' prefork is installed there, by a
    # file like it, has no effect here.
    dependencies = f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n"
    Path(str(packages).strip(), "dependencies.pth").write_text(dependencies)
    return Installation(prefix)


class Installed(Server):
    """A server that is started as somebody would who has installed it."""

    def __init__(self, directory: Path, words: Sequence[str]) -> None:
        self.directory = directory
        self._log_path = directory / "error.log"
        with open(self._log_path, "ab") as log:
            self.process = subprocess.Popen(
                words,
                cwd=directory,
                env={"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(directory)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@pytest.fixture
def server(installation: Installation, tmp_path: Path) -> Iterator[Server]:
    words = [str(installation.prefix / "bin/prefork"), "prefork.demo:app", "-b", "127.0.0.1:0"]
    server = Installed(tmp_path, words)
    yield server
    server.kill()


def test_the_wheel_has_what_is_needed_to_run_and_to_read(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    shared = f"prefork-{__version__}.data/data/share"
    assert {"prefork/py.typed", "prefork/demo.html", "prefork/cli.py"} <= {*names}
    assert {f"{shared}/man/man{section}/{name}.{section}" for name, section in PAGES.items()} <= {
        *names
    }
    assert {f"{shared}/doc/prefork/{path.name}" for path in (ROOT / "conf").iterdir()} <= {*names}
    own = {name.split("/")[0] for name in names}
    assert own == {"prefork", *(f"prefork-{__version__}.{kind}" for kind in ("data", "dist-info"))}
    assert not [name for name in names if "__pycache__" in name]


def test_the_sdist_has_what_is_needed_to_work_on_it(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for tree in ("prefork", "tests", "conf", "docs", "man", "completions", "reference"):
        files = {path for path in (ROOT / tree).rglob("*") if path.is_file()}
        missing = {str(path.relative_to(ROOT)) for path in files} - names
        assert not [name for name in missing if "__pycache__" not in name]
    assert {"Makefile", "pyproject.toml", "DESIGN.md", "CHANGELOG.md", "LICENSE"} <= names


def test_the_wheel_of_a_clone_is_that_of_the_sdist(wheel: Path, tmp_path: Path) -> None:
    """So who installs the one has what he would have by the other."""
    execute(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", tmp_path, ROOT)
    (other,) = tmp_path.glob("*.whl")
    record = f"prefork-{__version__}.dist-info/RECORD"
    assert zipfile.ZipFile(other).read(record) == zipfile.ZipFile(wheel).read(record)


def test_what_was_installed_says_its_version(installation: Installation) -> None:
    assert installation("prefork", "--version") == f"prefork {__version__}\n"
    assert installation("preforkctl", "--version") == f"preforkctl {__version__}\n"
    assert installation("python", "-m", "prefork", "--version") == f"prefork {__version__}\n"
    where = installation("python", "-c", "import prefork; print(prefork.__file__)")
    assert where.startswith(str(installation.prefix))


def test_what_was_installed_serves(server: Server) -> None:
    client = server.started().client()
    assert json.loads(client.ask("/status").text)["slot"] == 1
    assert "<title>" in client.ask("/").text
    assert server.stop() == 0


@pytest.mark.skipif(MAN is None, reason="there is no man")
@pytest.mark.parametrize("name", PAGES)
def test_man_finds_its_pages(installation: Installation, name: str) -> None:
    assert MAN is not None
    found = execute(MAN, "-M", installation.prefix / "share/man", "-w", PAGES[name], name)
    file = f"{name}.{PAGES[name]}"
    assert Path(found.strip()) == installation.prefix / f"share/man/man{PAGES[name]}/{file}"


@pytest.mark.parametrize("command", ["prefork", "preforkctl"])
def test_shells_find_the_completion_of_a_command(installation: Installation, command: str) -> None:
    shared = installation.prefix / "share"
    script = shared / f"bash-completion/completions/{command}"
    assert f"complete -o default -F _{command} {command}\n" in execute(
        "bash", "--norc", "-c", f"source {script}; complete -p {command}"
    )
    assert (shared / f"fish/vendor_completions.d/{command}.fish").exists()


def test_type_checkers_see_its_types(installation: Installation, tmp_path: Path) -> None:
    """mypy tells of an `ignore` without an error, as there would be if it saw no types."""
    pytest.importorskip("mypy")
    program = tmp_path / "app.py"
    program.write_text(
        "import prefork\n\n\n"
        "def begin() -> None:\n"
        "    prefork.ready()\n"
        "    prefork.ready(1)  # type: ignore[call-arg]\n\n\n"
        "def work(seconds: int) -> bool:\n"
        "    try:\n"
        "        return seconds > 1\n"
        "    except prefork.RequestTimeout:\n"
        "        return False\n"
    )
    mypy = (sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache")
    said = execute(*mypy, "--python-executable", installation.prefix / "bin/python", program)
    assert re.match("Success: no issues found in 1 source file", said)
