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
from tests.support.proxies import find_haproxy, needs_haproxy
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
# An app that has a page for proxies.
READY = """\
from prefork import demo


def app(environ, start_response):
    if environ["PATH_INFO"] == "/ready":
        start_response("200 OK", [("Content-Length", "0")])
        return []
    return demo.app(environ, start_response)
"""
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

    @property
    def of_a_fleet(self) -> bool:
        """Whether it goes through several hosts."""
        return "ssh " in self.text


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
    own = [block for block in BLOCKS if block.language == SHELL and not block.of_a_fleet]
    return [block for block in own if commands(block)]


@pytest.mark.parametrize("block", runnable(), ids=str)
def test_what_a_reader_types_works(reader: Machine, block: Block) -> None:
    reader.run(script(commands(block)))


# What passes while nothing happens, on the page and in the samples.
SHORTER = {"drain_delay = 10": "drain_delay = 1", "=15s": "=2s", "sleep 20": "sleep 3"}
FLEET = [block for block in BLOCKS if block.of_a_fleet]
FRONTS = [
    pytest.param(f'{find_nginx()} -e nginx.log -p "$PWD" -c nginx.conf', marks=needs_nginx),
    pytest.param(f"{find_haproxy()} -D -f haproxy.cfg", marks=needs_haproxy),
]


def shorter(text: str) -> str:
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    return text


@pytest.mark.parametrize("front", FRONTS, ids=["nginx", "haproxy"])
@pytest.mark.parametrize("block", FLEET[:1], ids=["fleet"])
def test_the_steps_of_a_fleet_are_seen_by_nobody(reader: Machine, block: Block, front: str) -> None:
    """By the samples as they are, at the addresses that stand in them."""
    (reader.home / "myapp.py").write_text(READY)
    sources = {
        "site.conf": ROOT / "conf/nginx.conf",
        "haproxy.cfg": ROOT / "conf/haproxy.cfg",
        "prefork.toml": reader.home / "prefork.toml",
    }
    for name, source in sources.items():
        (reader.home / name).write_text(shorter(source.read_text()))
    (reader.home / "nginx.conf").write_text(
        "user root; pid nginx.pid; events {}\nhttp { access_log off; include site.conf; }\n"
    )
    reader.run(
        f"begin 192.0.2.11\nbegin 192.0.2.12\n{front}\n"
        "curl -sSf --retry 20 --retry-connrefused http://192.0.2.1/ >page\n"
        "{ while curl -sSf http://192.0.2.1/ >page; do sleep 0.02; done; touch lost; } &\n"
        + "\n".join(shorter(block.text) for block in FLEET)
        + "\n[ ! -e lost ]"
    )


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
