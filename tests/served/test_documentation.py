"""Every block of code in the README and in docs/ is executed, or says here why it is not.

Shell: what starts a prefork is a server, which is asked for a page, and stopped at the end; where
none is started, one runs already. A Procfile's lines are such servers. TOML and Python that begin
with the name of a file, as a comment, are there under that name for the other blocks of their page.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from prefork import config, hooks
from prefork.ctl.main import parser as ctl_parser
from prefork.settings import TABLE
from tests.support.machine import Machine
from tests.support.nginx import find_nginx, needs_nginx
from tests.support.server import PATIENCE, ROOT

NOT_RUN = {
    "pip install prefork": "it is installed already, from this source",
    "make run": "it makes the environment that the tests run in; myapp:app is the same app here",
    "make test": "that is what runs this",
    "preforkctl top": "it is a screen that goes on until it is ended",
}
SHELL, TOML, PYTHON, NGINX, PROCFILE = "sh", "toml", "python", "nginx", "procfile"
# What these print is all that they do.
_NO_SERVER = re.compile(r"--(import-gunicorn|print-config|check-config|version|help)\b")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# (\w[\w.]*\.(?:toml|py))\n")


@dataclass(frozen=True)
class Block:
    """A block of code: on which page, in which language, what."""

    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{Path(self.page).stem}-{self.number}-{self.language}"

    @property
    def file(self) -> str:
        """The name of the file that it is, if any."""
        match = _NAMED.match(self.text)
        return match[1] if match else ""


def blocks_of(page: Path) -> Iterator[Block]:
    for number, match in enumerate(_BLOCK.finditer(page.read_text()), 1):
        yield Block(str(page.relative_to(ROOT)), number, match[1] or SHELL, match[2])


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def commands(block: Block) -> list[str]:
    """What is to be run of a block of the shell."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line and line not in NOT_RUN]


def script(lines: list[str]) -> str:
    """What a reader types, as a script: see `Machine.run`."""
    steps = [step for line in lines for step in _steps(line)]
    if not any(step.startswith(("serve", "prefork ")) for step in steps):
        steps.insert(0, "serve prefork myapp:app")
    return "\n".join(steps)


def _steps(line: str) -> Iterator[str]:
    serves = line.startswith("prefork ") and not _NO_SERVER.search(line)
    yield f"serve {line}" if serves else line
    if "-HUP" in line:
        yield "reloaded"


def in_language(*languages: str) -> pytest.MarkDecorator:
    found = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", found, ids=str)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The apps that the pages name: projects as Django makes them, and modules."""
    directory = tmp_path_factory.mktemp("sites")
    for place, project in (("home", "myproject"), ("app", "config")):
        (directory / place).mkdir()
        command = [sys.executable, "-m", "django", "startproject", project, str(directory / place)]
        subprocess.run(command, check=True, timeout=PATIENCE)
    (directory / "home/myapp.py").write_text("from prefork.demo import app\n")
    (directory / "home/hello.py").write_text(
        "from flask import Flask\n\n\ndef create_app():\n    app = Flask(__name__)\n"
        "    app.add_url_rule('/', 'hello', lambda: 'Hello')\n    return app\n\n\n"
        "app = create_app()\n"
    )
    return directory


@pytest.fixture
def reader(machine: Machine, sites: Path, block: Block) -> Machine:
    """The machine of somebody who reads the block's page, and has the files that it shows."""
    shutil.copytree(sites / "home", machine.home, dirs_exist_ok=True)
    shutil.copytree(sites / "app", machine.app, dirs_exist_ok=True)
    for each in blocks_of(ROOT / block.page):
        if each.file:
            (machine.home / each.file).write_text(each.text)
    return machine


def test_there_are_blocks_of_each_language_and_no_others() -> None:
    assert {block.language for block in BLOCKS} == {SHELL, TOML, PYTHON, NGINX, PROCFILE}


@pytest.mark.parametrize("line", NOT_RUN)
def test_what_is_not_run_is_still_on_a_page(line: str) -> None:
    assert any(line in block.text.splitlines() for block in BLOCKS)


def test_what_stands_beside_a_word_of_pm2s_is_one_of_ours() -> None:
    for cell in second_cells((ROOT / "docs/pm2.md").read_text()):
        for word in re.findall("`([^`]+)`", cell):
            name, *arguments = shlex.split(word)
            if name == "preforkctl":
                ctl_parser().parse_args(arguments)
            elif name == "prefork":
                config.parse(arguments, {})
            elif name not in ("systemctl", "journalctl", "tail"):
                assert name in TABLE or name == "prefork.slot"


def second_cells(text: str) -> list[str]:
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    return [row[2] for row in rows]


def runnable() -> list[Block]:
    return [block for block in BLOCKS if block.language == SHELL and commands(block)]


@pytest.mark.parametrize("block", runnable(), ids=str)
def test_what_a_reader_types_works(reader: Machine, block: Block) -> None:
    reader.run(script(commands(block)))


@in_language(PROCFILE)
def test_the_lines_of_a_procfile_serve(reader: Machine, block: Block) -> None:
    lines = [line.removeprefix("web: ") for line in commands(block)]
    reader.run(f"export PORT=5000 WEB_CONCURRENCY=2\n{script(lines)}")
    assert "listening on http://0.0.0.0:5000" in (reader.home / "log").read_text()


@in_language(TOML)
def test_settings_are_valid(tmp_path: Path, block: Block) -> None:
    path = tmp_path / "prefork.toml"
    path.write_text(block.text)
    settings = config.load(config.parse(["-c", str(path)], {}), {}).settings
    hooks.check(settings.hooks)


@in_language(PYTHON)
def test_python_runs(tmp_path: Path, block: Block) -> None:
    subprocess.run(
        [sys.executable, "-c", block.text],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        check=True,
        timeout=PATIENCE,
    )


@needs_nginx
@in_language(NGINX)
def test_nginx_serves_by_it(reader: Machine, block: Block) -> None:
    (reader.home / "nginx.conf").write_text(
        f"user root; pid nginx.pid; events {{}}\nhttp {{\naccess_log off;\n{block.text}}}\n"
    )
    nginx = f'{find_nginx()} -e nginx.log -p "$PWD" -c nginx.conf'
    reader.run(f"serve prefork myapp:app\n{nginx}\ncurl --silent --fail http://127.0.0.1/ >front")
    assert "<title>" in (reader.home / "front").read_text()
