"""The command: what it prints, which exit status it has, and what it says of a mistake."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from functools import partial
from pathlib import Path

import pytest
import tomli

from prefork import __version__
from prefork.settings import TABLE
from tests.conftest import Serve
from tests.support.clients import Client
from tests.support.command import as_nobody, launched, run
from tests.support.server import PATIENCE, eventually

APP = "tests.apps.probe:app"
MODULES = {
    "good": "from tests.apps.probe import app\n",
    "default": "from tests.apps.probe import app as application\n",
    "factory": "from tests.apps.probe import app\ndef make():\n    return app\n",
    "nested": "from tests.apps import probe\nclass site:\n    wsgi = probe.app\n",
    "raises": "def deep():\n    raise RuntimeError('broken on purpose')\n\ndeep()\napp = None\n",
    "typo": "import os\n\ndef app(:\n",
    "missing": "import there_is_no_such_module\n",
    "exits": "import sys\nsys.exit('gave up')\n",
    "exits_well": "import sys\nsys.exit(0)\n",
    "interrupts": "raise KeyboardInterrupt\n",
    "bad_factory": "def make():\n    raise RuntimeError('no database')\n",
    "none_factory": "def make():\n    return None\n",
    "needs_more": "def make(settings):\n    return settings\n",
    "number": "app = 5\n",
    "empty": "",
}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with a module for each way in which an app can be good or bad."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a mistake was answered with: one message on standard error, nothing else."""
    assert done.stdout == ""
    assert done.stderr.startswith("prefork: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("prefork: ").rstrip("\n")


# What it prints.


@pytest.mark.parametrize("arguments", [["--version"], [APP, "--version"]])
def test_version_is_printed(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"prefork {__version__}\n", "")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_printed(tmp_path: Path, flag: str) -> None:
    done = run(tmp_path, flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: prefork [APP] [-c FILE] [options]\n")
    assert all(row.flags[-1] in done.stdout for row in TABLE.values() if row.name != "app")


def test_printed_settings_give_the_same_settings_when_they_are_used(tmp_path: Path) -> None:
    (tmp_path / "first.toml").write_text('log_level = "debug"\n\n[env]\nA = "1"\n')
    first = run(
        tmp_path,
        *("myapp:app", "-c", "first.toml", "-w", "3", "-m", "027", "--print-config"),
        environ={"PORT": "5000", "PREFORK_KEEPALIVE": "1.5"},
    )
    assert (first.returncode, first.stderr) == (0, "")
    expected = {
        "app": ("myapp:app", "APP"),
        "workers": (3, "--workers"),
        "umask": (0o27, "--umask"),
        "keepalive": (1.5, "$PREFORK_KEEPALIVE"),
        "bind": (["0.0.0.0:5000"], "$PORT"),
        "log_level": ("debug", f"{tmp_path}/first.toml:1"),
        "env": ({"A": "1"}, f"{tmp_path}/first.toml:3"),
        "backlog": (2048, "default"),
    }
    document = tomli.loads(first.stdout)
    for name, (value, origin) in expected.items():
        assert document[name] == value
        assert re.search(rf"^\[?{name}\b.*  # {re.escape(origin)}$", first.stdout, re.M)
    (tmp_path / "second.toml").write_text(first.stdout)
    second = run(tmp_path, "-c", "second.toml", "--print-config")
    assert tomli.loads(second.stdout) == document


def test_the_app_is_not_needed_to_print_the_settings(tmp_path: Path) -> None:
    done = run(tmp_path, "--print-config")
    assert done.returncode == 0
    assert tomli.loads(done.stdout)["app"] == ""


# Checking.


@pytest.mark.parametrize(
    "app", ["good:app", "good", "default", "factory:make()", "nested:site.wsgi"]
)
def test_check_config_says_that_all_is_well(here: Path, app: str) -> None:
    done = run(here, app, "--check-config")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"prefork: settings and {app} are in order\n"


def test_check_config_imports_the_app_as_a_worker_would(tmp_path: Path) -> None:
    release = tmp_path / "release"
    release.mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/helper.py").write_text("")
    (release / "site_.py").write_text(
        "import os, helper\nassert os.environ['KEY'] == 'value'\n"
        f"assert os.getcwd() == {str(release)!r}\nfrom tests.apps.probe import app\n"
    )
    arguments = ["--chdir", "release", "--pythonpath", "../lib", "-e", "KEY=value"]
    assert run(tmp_path, "site_:app", "--check-config", *arguments).returncode == 0
    assert run(tmp_path, "site_:app", "--check-config", *arguments[:-2]).returncode == 3


def test_check_config_binds_nothing(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        assert run(here, "good", "-b", bind, "--check-config").returncode == 0


# Mistakes in the settings: exit status 2, and one line.

FLAWS = {
    "no app": ("", [], r"no app given: .*: app\.py, wsgi\.py, main\.py, .*manage\.py.*"),
    "unknown key": (
        "\nwrokers = 2",
        ["good"],
        r"\S+/conf.toml:2: unknown setting 'wrokers' \(did you mean 'workers'\?\)",
    ),
    "wrong type": ("workers = 'many'", ["good"], r"\S+/conf.toml:1: workers = .*"),
    "out of range": ("\n\nworkers = 0", ["good"], r"\S+/conf.toml:3: workers = 0: .*"),
    "bad TOML": ("workers = 1\nbind", ["good"], r"\S+/conf.toml:2: .*"),
    "syslog": (
        "\naccess_log = 'syslog:?facility=nope'",
        ["good"],
        r"\S+/conf.toml:2: syslog:\?facility=nope: expected syslog:, .*",
    ),
    "syslog as gunicorn has it": (
        "",
        ["good", "--log-syslog", "--log-syslog-facility", "nope"],
        r"--log-syslog: syslog\+udp://localhost\?facility=nope&tag=prefork.error: expected .*",
    ),
    "flag": ("", ["good", "-w", "0"], r"--workers: workers = 0: .*"),
    "user": ("\nuser = 'nobdy'", ["good"], r"\S+/conf.toml:2: user = nobdy: no such user"),
    "group": ("\ngroup = 'nogrop'", ["good"], r"\S+/conf.toml:2: group = .*: no such group"),
    "uid": ("", ["good", "-u", "3999999999"], r"--user: user = 3999999999: no such user"),
    "odd uid": ("user = '²'", ["good"], r"\S+/conf.toml:1: user = ²: no such user"),
    "address": ("\nbind = 'here'", ["good"], r"\S+/conf.toml:2: bind = here: expected host:port.*"),
    "atom": (
        "\n\naccess_log_format = '%(h)s %(x)s'",
        ["good"],
        r"\S+/conf.toml:3: access_log_format: there is no '%\(x\)s'",
    ),
    "environment": ("\n[env]\n'A=B' = '1'", ["good"], r"\S+/conf.toml:2: env .*A=B.*"),
    "NUL": ('\nchdir = "a\\u0000b"', ["good"], r"\S+/conf.toml:2: chdir .*"),
}


@pytest.mark.parametrize(
    ("flaw", "check"),
    [*((flaw, ["--check-config"]) for flaw in FLAWS), ("unknown key", []), ("address", [])],
    ids=lambda value: value if isinstance(value, str) else "check" if value else "serve",
)
def test_a_mistake_in_the_settings_is_one_line_and_exit_status_2(
    here: Path, flaw: str, check: list[str]
) -> None:
    toml, arguments, message = FLAWS[flaw]
    (here / "conf.toml").write_text(toml + "\n")
    done = run(here, "-c", "conf.toml", *arguments, *check)
    assert done.returncode == 2
    assert re.fullmatch(message, said(done))


@pytest.mark.parametrize(
    ("name", "why"),
    [("absent.toml", "No such file or directory"), ("lib", "Is a directory"), ("bad", "not UTF-8")],
)
def test_a_file_that_cannot_be_read_is_one_line_and_exit_status_2(
    here: Path, name: str, why: str
) -> None:
    (here / "lib").mkdir()
    (here / "bad").write_bytes(b"\xff")
    done = run(here, "good", "-c", name)
    assert (done.returncode, said(done)) == (2, f"{here}/{name}: {why}")


@as_nobody
@pytest.mark.parametrize("flag", ["-c", "-p", "--error-logfile", "--access-logfile"])
def test_a_file_that_the_user_may_not_open_is_one_line_and_exit_status_2(
    tmp_path: Path, flag: str
) -> None:
    path = tmp_path / "file"
    path.write_text(f"{os.getpid()}\n" if flag == "-p" else "")
    path.chmod(0)
    done = run(Path("/"), APP, "-b", "127.0.0.1:0", flag, str(path), user="nobody")
    assert done.returncode == 2
    assert re.search(rf"{path}: Permission denied$", said(done))


def test_a_bad_port_of_the_platform_is_one_line_and_exit_status_2(here: Path) -> None:
    done = run(here, "good", environ={"PORT": "http"})
    assert (done.returncode, said(done)) == (2, "$PORT = 'http': expected a port number")


@pytest.mark.parametrize("arguments", [["--wrokers", "2"], ["-w"], ["good", "another:app"]])
def test_an_unknown_flag_shows_the_usage_and_exit_status_2(
    here: Path, arguments: list[str]
) -> None:
    done = run(here, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"usage: .*\nprefork: error: .*\n", done.stderr)


# What can't be opened or bound: exit status 2, and one line.


@pytest.mark.parametrize(
    ("flag", "path", "why"),
    [
        ("--error-logfile", "absent/log", "No such file or directory"),
        ("--access-logfile", "lib", "Is a directory"),
        ("--pid", "absent/pid", "No such file or directory"),
        ("--pid", "lib", "Is a directory"),
    ],
)
def test_a_file_that_cannot_be_opened_is_one_line_and_exit_status_2(
    here: Path, flag: str, path: str, why: str
) -> None:
    (here / "lib").mkdir()
    done = run(here, "good", "-b", "127.0.0.1:0", flag, path)
    assert done.returncode == 2
    assert re.fullmatch(rf".*{path}: {why}", said(done))


def test_a_taken_port_is_one_line_and_exit_status_2(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run(here, "good", "-b", bind)
    assert done.returncode == 2
    assert re.search(rf"bind = {bind}: Address already in use$", said(done))


def test_a_taken_unix_socket_is_one_line_and_exit_status_2(serve: Serve, here: Path) -> None:
    serve(APP, bind="unix:s")
    done = run(here, "good", "-b", "unix:s")
    assert done.returncode == 2
    assert re.search(r"bind = unix:s: Address already in use$", said(done))


def test_a_path_that_is_no_socket_is_one_line_and_exit_status_2(here: Path) -> None:
    done = run(here, "good", "-b", "unix:good.py")
    assert done.returncode == 2
    assert re.search(r"bind = unix:good.py: exists and is not a socket$", said(done))
    assert (here / "good.py").read_text() == MODULES["good"]


def test_a_second_server_with_the_same_pidfile_is_refused(serve: Serve, here: Path) -> None:
    first = serve(APP, pidfile="pid")
    done = run(here, "good", "-b", "127.0.0.1:0", "-p", "pid")
    assert done.returncode == 2
    assert said(done).endswith(f"pidfile = {here}/pid: prefork runs already, with pid {first.pid}")
    assert (here / "pid").read_text() == f"{first.pid}\n"


# The app can't be had: exit status 3, and what it raised is shown whole.

ABSENT = {
    "no module": ("absent:app", "no module 'absent' for absent:app"),
    "no submodule": ("tests.absent:app", "no module 'tests.absent' for tests.absent:app"),
    "file name": ("good.py", "no module 'good.py' for good.py"),
    "no attribute": ("good:site", "good has no 'site'"),
    "no nested attribute": ("good:app.site", "good has no 'app.site'"),
    "no default": ("empty", "empty has neither 'application' nor 'app'"),
    "not callable": ("number:app", "number:app is not callable: it is 'int'"),
    "no factory": ("number:app()", "number:app(): it is no factory, as it is not callable"),
    "factory gives nothing": ("none_factory:make()", "none_factory:make() is not callable: it is"),
    "no name": (":app", ""),
    "relative": ("..good:app", ""),
    "path": ("dir/good:app", ""),
}


@pytest.mark.parametrize(("app", "message"), ABSENT.values(), ids=ABSENT)
def test_an_app_that_is_not_there_is_told_in_words(here: Path, app: str, message: str) -> None:
    done = run(here, app, "-b", "127.0.0.1:0")
    assert done.returncode in (2, 3)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "prefork/" not in done.stderr


RAISING = {
    "raises": ("raises", "RuntimeError: broken on purpose", ["raises.py", "raises.py"]),
    "syntax error": ("typo", "SyntaxError: ", ["typo.py"]),
    "missing import": ("missing", "No module named 'there_is_no_such_module'", ["missing.py"]),
    "exits": ("exits", "SystemExit: gave up", ["exits.py"]),
    "exits with 0": ("exits_well", "SystemExit: 0", ["exits_well.py"]),
    "interrupts itself": ("interrupts", "KeyboardInterrupt", ["interrupts.py"]),
    "factory": ("bad_factory:make()", "RuntimeError: no database", ["bad_factory.py"]),
    "factory that wants more": ("needs_more:make()", "missing 1 required positional", []),
}


@pytest.mark.parametrize(
    ("why", "check"),
    [*((why, []) for why in RAISING), ("raises", ["--check-config"])],
    ids=lambda value: value if isinstance(value, str) else "check" if value else "serve",
)
def test_what_the_app_raised_is_shown_whole_without_a_frame_of_ours(
    here: Path, why: str, check: list[str]
) -> None:
    app, error, files = RAISING[why]
    done = run(here, app, "-b", "127.0.0.1:0", *check)
    assert done.returncode == 3
    assert error in done.stderr
    frames = re.findall(r'^ *File "([^"]+)"', done.stderr, re.M)
    assert [os.path.basename(frame) for frame in frames] == files
    assert done.stderr.count("Traceback") <= 1


def test_the_apps_exception_is_shown_with_its_cause(here: Path) -> None:
    (here / "chained.py").write_text(
        "try:\n    {}['key']\nexcept KeyError as error:\n"
        "    raise RuntimeError('not configured') from error\n"
    )
    done = run(here, "chained", "-b", "127.0.0.1:0")
    assert done.returncode == 3
    assert re.search(
        r"KeyError: 'key'\n\nThe above exception was the direct cause .*"
        r"RuntimeError: not configured",
        done.stderr,
        re.S,
    )


def test_an_app_that_hangs_at_the_first_boot_ends_with_status_3(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text("import time\nwhile True:\n    time.sleep(3600)\n")
    done = run(tmp_path, "hangs", "-b", "127.0.0.1:0", "--listen-timeout", "2")
    assert done.returncode == 3
    assert re.search(r'File "\S+/hangs.py", line 3', done.stderr), "its stack is not shown"
    assert re.search(r"^prefork: .* not ready within listen_timeout$", done.stderr, re.M)


def test_an_app_that_crashes_at_the_first_boot_ends_with_status_3(tmp_path: Path) -> None:
    (tmp_path / "crashes.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    done = run(tmp_path, "crashes", "-b", "127.0.0.1:0", "-w", "2")
    assert done.returncode == 3
    assert re.search(r"^prefork: worker=\d .* killed by SIGSEGV", done.stderr, re.M)


def test_when_the_first_boot_fails_nothing_is_left_behind(here: Path) -> None:
    done = run(here, "raises", "-b", "unix:s", "-p", "pid", "-w", "3")
    assert done.returncode == 3
    assert not (here / "s").exists()
    assert not (here / "pid").exists()
    pids = [int(pid) for pid in re.findall(r"worker=\d gen=1 pid=(\d+) spawned", done.stderr)]
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


# Serving.


@pytest.mark.parametrize("app", ["good", "default", "factory:make()", "nested:site.wsgi"])
def test_an_app_is_found_by_each_kind_of_name(serve: Serve, here: Path, app: str) -> None:
    with serve(app).client() as client:
        assert client.ask("/").status == 200


def test_a_command_line_for_gunicorn_serves(tmp_path: Path) -> None:
    (tmp_path / "conf.toml").write_text("workers = 1\n")
    line = (
        f"-w 2 -b 127.0.0.1:0 -k sync -c conf.toml -e PROBE=set -m 027 -p pid -n shop"
        f" --keep-alive 5 --access-logfile access --error-logfile errors --log-level debug"
        f" --graceful-timeout 5 --worker-connections 50 --backlog 64 --chdir {tmp_path}"
        f" --pythonpath lib,more --limit-request-line 4094 --limit-request-fields 50"
        f" --limit-request-field_size 4094 {APP}"
    )
    with launched(tmp_path, *line.split()) as server:
        errors = tmp_path / "errors"
        eventually(
            lambda: errors.exists() and "started: 2 serving" in errors.read_text(), "the start"
        )
        port = int(re.findall(r"listening on http://127.0.0.1:(\d+)", errors.read_text())[0])
        with Client(port, PATIENCE) as client:
            assert client.ask("/name").body == b"set"
        assert (tmp_path / "pid").read_text() == f"{server.pid}\n"
        assert eventually((tmp_path / "access").read_text, "a line").count("GET /name") == 1
        assert server.stop() == 0
        assert not (tmp_path / "pid").exists()


def test_the_platforms_variables_are_enough(tmp_path: Path) -> None:
    environ = {"PORT": "0", "WEB_CONCURRENCY": "2", "PREFORK_APP": APP}
    with launched(tmp_path, environ=environ) as server:
        server.started().wait_for(r"listening on http://0\.0\.0\.0:\d+")
        assert set(server.workers()) == {1, 2}
        with server.client() as client:
            assert client.ask("/").status == 200


def test_a_stale_pidfile_is_replaced(here: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    (here / "pid").write_text(f"{ended.pid}\n")
    with launched(here, "good", "-b", "127.0.0.1:0", "-p", "pid") as server:
        server.started()
        assert (here / "pid").read_text() == f"{server.pid}\n"


@pytest.mark.parametrize("content", ["", "nonsense\n", "99999999999999999999\n", "-1\n", "0\n"])
def test_a_pidfile_that_names_no_process_is_replaced(here: Path, content: str) -> None:
    (here / "pid").write_text(content)
    with launched(here, "good", "-b", "127.0.0.1:0", "-p", "pid") as server:
        server.started()
        assert (here / "pid").read_text() == f"{server.pid}\n"


def test_the_pidfile_of_another_server_is_left_alone(serve: Serve, here: Path) -> None:
    server = serve(APP, pidfile="pid")
    (here / "pid").write_text("4711\n")
    assert server.stop(signal.SIGTERM) == 0
    assert (here / "pid").read_text() == "4711\n"


def test_closed_standard_streams_do_not_matter_when_the_logs_are_files(tmp_path: Path) -> None:
    arguments = [APP, "-b", "127.0.0.1:0", "--error-logfile", "error.log"]
    with launched(tmp_path, *arguments, preexec_fn=partial(os.closerange, 0, 3)) as server:
        with server.started().client() as client:
            assert client.ask("/").status == 200
        assert server.stop() == 0
