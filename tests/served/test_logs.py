"""What is logged, where to, and that a log that can't be written stops nobody."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Client, UnixClient, raw
from tests.support.command import as_nobody, launched, run
from tests.support.modes import Mode
from tests.support.server import PATIENCE, ROOT, children, eventually

APP = "tests.apps.probe:app"
LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}) (?P<level>[A-Z]+) "
    r"(?P<who>master pid=\d+|worker=\d+ gen=\d+ pid=\d+): (?P<text>.*)"
)
LOGROTATE = shutil.which("logrotate", path=os.environ["PATH"] + ":/usr/sbin")
needs_logrotate = pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed")
WORKER = r"worker=\d+ gen=\d+ pid=\d+"


def unix_client(directory: Path) -> Client:
    """A client of the server that listens, or is about to, on the socket `s` of a directory."""
    client = UnixClient(str(directory / "s"), PATIENCE)

    def connected() -> bool:
        try:
            client.connect()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    eventually(connected, "a server to listen")
    return client


def until(path: Path, text: str, count: int = 1) -> str:
    """Wait until a file holds a text so often: all of the file."""

    def found() -> str:
        content = path.read_text() if path.exists() else ""
        return content if content.count(text) >= count else ""

    return eventually(found, f"{count} times {text!r} in {path}")


# The error log.


def test_a_life_is_told_in_lines_that_say_who(serve: Serve) -> None:
    server = serve(APP, workers=2, bind=["127.0.0.1:0", "unix:s"])
    server.reload()
    assert server.stop() == 0
    lines = [LINE.fullmatch(line) for line in server.log.splitlines()]
    assert all(lines), "a line of another form"
    texts = [line["text"] for line in lines if line]
    told = [
        r"prefork \S+: 2 sync workers for tests\.apps\.probe:app",
        r"listening on http://127\.0\.0\.1:\d+",
        r"listening on unix:/\S+/s",
        *([rf"{WORKER} spawned"] * 4),
        *([rf"{WORKER} ready after \d+\.\d\d s"] * 4),
        r"started: 2 serving",
        r"SIGHUP received",
        r"reload to generation 2 begun",
        *([rf"{WORKER} draining.*"] * 4),
        *([rf"{WORKER} exited with status 0 after 0 requests"] * 4),
        r"reload to generation 2 done in \d+\.\d\d s",
        r"SIGTERM received",
        r"stopped",
    ]
    for pattern in told:
        match = next((text for text in texts if re.fullmatch(pattern, text)), None)
        assert match, f"nothing says {pattern}"
        texts.remove(match)
    assert texts == [], "more than that was said"


def test_whatever_concerns_a_worker_says_slot_generation_and_pid(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "fragile.py").write_text(
        "import os\nassert not os.path.exists('broken')\nfrom tests.apps.probe import app\n"
    )
    server = serve("fragile:app", workers=2, kill_timeout=0.2)
    os.kill(server.workers()[1], signal.SIGKILL)
    os.kill(server.workers()[2], signal.SIGTERM)
    server.wait_for("worker=1 gen=1 pid=[0-9]+ ready.*(.|\n)*worker=1 gen=1 pid=[0-9]+ ready")
    (tmp_path / "broken").touch()
    server.send(signal.SIGHUP)
    server.wait_for("reload to generation 2 aborted")
    with server.client() as client:
        client.request("GET", "/hold?one")
        eventually((tmp_path / "one.begun").exists, "the request")
        assert server.stop() == 0
    mentions = re.findall(r"\bworker=.*", server.log)
    assert len(mentions) > 15
    assert all(re.match(WORKER, mention) for mention in mentions)


def test_the_time_of_a_line_is_that_of_the_clock(serve: Serve) -> None:
    server = serve(APP)
    line = LINE.match(server.log)
    assert line
    written = datetime.strptime(line["time"], "%Y-%m-%dT%H:%M:%S.%f%z")
    assert abs(datetime.now().astimezone() - written) < timedelta(minutes=5)


def test_an_exit_says_why(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "quits.py").write_text(
        "import os\nfrom tests.apps.probe import app as probe\n"
        "def app(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/quit': os._exit(7)\n"
        "    return probe(environ, start_response)\n"
    )
    server = serve("quits:app", workers=1)
    with server.client() as client:
        client.ask("/")
        assert client.ask("/quit").status == 502
    server.wait_for(rf"ERROR .*{WORKER} exited with status 7 after 2 requests")
    server.wait_for(rf"{WORKER} ready(.|\n)*{WORKER} ready")
    os.kill(server.workers()[1], signal.SIGSEGV)
    server.wait_for(rf"ERROR .*{WORKER} was killed by SIGSEGV after 0 requests")


def test_an_aborted_reload_says_why_and_how_long_it_took(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "fragile.py").write_text(
        "import os\nif os.path.exists('broken'): raise RuntimeError('broken on purpose')\n"
        "from tests.apps.probe import app\n"
    )
    server = serve("fragile:app")
    (tmp_path / "broken").touch()
    server.send(signal.SIGHUP)
    line = server.wait_for("ERROR master .*reload to generation 2 aborted.*")[0]
    assert re.search(rf"{WORKER} exited with status 3 before it was ready", line)
    assert re.search(r"\b\d+\.\d\d s\b", line)
    assert server.log.count("RuntimeError: broken on purpose") == 1


def test_what_the_app_raises_is_logged_with_its_traceback_and_the_worker(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "raises.py").write_text(
        "def app(environ, start_response):\n    raise RuntimeError('broken on purpose')\n"
    )
    server = serve("raises:app")
    with server.client() as client:
        assert client.ask("/page?q=1").status == 500
    text = server.wait_for(r"ERROR worker=1 (.|\n)*RuntimeError: broken on purpose\n")[0]
    assert re.match(r"ERROR worker=1 gen=1 pid=\d+: GET /page\?q=1: the app raised\nTrace", text)
    assert '/raises.py", line 2, in app' in text


def test_what_the_app_writes_to_wsgi_errors_goes_to_the_error_log(serve: Serve) -> None:
    server = serve(APP)
    with server.client() as client:
        client.ask("/errors?hello")
    server.wait_for(r"\nhello\n")


def test_the_log_level_changes_with_a_reload(serve: Serve) -> None:
    server = serve(APP)
    (old,) = server.workers().values()
    server.configure({"log_level": "error"})
    server.send(signal.SIGHUP)
    # In the turn that says so the reload ends.
    server.wait_for(f"pid={old} exited")
    since = server.mark()
    server.send(signal.SIGTTIN)
    eventually(lambda: len(children(server.pid)) == 2, "a second worker")
    assert server.log[since:] == ""
    server.configure({"log_level": "info"})
    server.send(signal.SIGHUP)
    server.wait_for("reload to generation 3 done")


def test_an_aborted_reload_leaves_the_log_level_as_it_was(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "fragile.py").write_text(
        "import os\nassert not os.path.exists('broken')\nfrom tests.apps.probe import app\n"
    )
    server = serve("fragile:app")
    (tmp_path / "broken").touch()
    server.configure({"log_level": "error"})
    server.send(signal.SIGHUP)
    server.wait_for("reload to generation 2 aborted")
    server.send(signal.SIGTTIN)
    server.wait_for("SIGTTIN received")


# The access log.


def test_there_is_no_access_log_unless_it_is_asked_for(tmp_path: Path) -> None:
    with open(tmp_path / "stdout", "wb") as stdout:
        with launched(tmp_path, APP, "-b", "127.0.0.1:0", stdout=stdout) as server:
            with server.started().client() as client:
                client.ask("/")
            assert server.stop() == 0
        assert "GET /" not in server.log
    assert (tmp_path / "stdout").read_bytes() == b""


# What log analysers expect: the combined format of Apache and nginx.
COMBINED = re.compile(
    r'(?P<host>\S+) - (?P<user>\S+) \[(?P<time>[^]]+)\] "(?P<request>[^"]*)" (?P<status>\d{3}) '
    r'(?P<size>\d+|-) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"'
)


def test_the_default_access_log_is_in_the_combined_format(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP, access_log="access")
    headers = {
        "Referer": "http://example.org/",
        "User-Agent": "tester/1.0",
        "Authorization": "Basic YWxpY2U6c2VjcmV0",
    }
    with server.client() as client:
        size = len(client.ask("/?a=b%20c", headers=headers).body)
        client.ask("/", method="HEAD")
    lines = until(tmp_path / "access", "\n", 2).splitlines()
    line = COMBINED.fullmatch(lines[0])
    assert line
    written = datetime.strptime(line["time"], "%d/%b/%Y:%H:%M:%S %z")
    assert abs(datetime.now().astimezone() - written) < timedelta(minutes=5)
    assert line.groupdict() == {
        "host": "127.0.0.1",
        "user": "alice",
        "time": line["time"],
        "request": "GET /?a=b%20c HTTP/1.1",
        "status": "200",
        "size": str(size),
        "referer": "http://example.org/",
        "agent": "tester/1.0",
    }
    bare = COMBINED.fullmatch(lines[1])
    assert bare
    assert bare.group("user", "request", "size", "referer", "agent") == (
        *("-", "HEAD / HTTP/1.1", "-", "-", "-"),
    )


def test_a_dash_sends_the_access_log_to_standard_output(tmp_path: Path) -> None:
    arguments = [APP, "-b", "127.0.0.1:0", "--access-logfile", "-"]
    with (
        open(tmp_path / "stdout", "wb") as stdout,
        launched(tmp_path, *arguments, stdout=stdout) as server,
    ):
        with server.started().client() as client:
            client.ask("/")
        assert server.stop() == 0
        assert "GET /" not in server.log
    assert re.fullmatch(
        r'127\.0\.0\.1 .*"GET / HTTP/1\.1" 200 .*\n', (tmp_path / "stdout").read_text()
    )


def test_the_format_of_the_access_log_may_name_any_atom(serve: Serve, tmp_path: Path) -> None:
    atoms = {
        "m": "GET",
        "U": "/hold",
        "q": "one",
        "H": "HTTP/1.1",
        "B": "5",
        "p": r"<\d+>",
        "{host}i": r"127\.0\.0\.1:\d+",
        "{content-type}o": "text/plain",
        "{SERVER_NAME}e": r"127\.0\.0\.1",
        "T": r"\d+",
        "M": r"\d+",
        "D": r"\d+",
        "L": r"\d+\.\d{6}",
    }
    (tmp_path / "one.go").touch()
    format = "|".join(f"%({atom})s" for atom in atoms) + "|100%%"
    server = serve(APP, access_log="access", access_log_format=format)
    with server.client() as client:
        client.ask("/hold?one")
    line = until(tmp_path / "access", "\n")
    values = line.rstrip("\n").split("|")
    assert values.pop() == "100%"
    for (atom, pattern), value in zip(atoms.items(), values, strict=True):
        assert re.fullmatch(pattern, value), f"%({atom})s is {value}"
    assert int(values[3 + 8]) // 1000 == int(values[3 + 7]), "microseconds and milliseconds"


def test_a_client_cannot_forge_a_line_of_the_access_log(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP, access_log="access")
    agent = b'x" 200\xc2\x85\xe2\x80\xa8\\'
    raw(
        server.port,
        b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: " + agent + b"\r\nConnection: close\r\n\r\n",
    )
    content = until(tmp_path / "access", "\n")
    assert len(content.splitlines()) == 1
    line = COMBINED.fullmatch(content.rstrip("\n"))
    assert line
    assert line["agent"].startswith(r"x\x22 200")


# Rotation.


def has_reopened(client: Client, path: Path, word: str) -> None:
    """Wait until the client's worker, which hears of it in its own time, writes to the new file."""

    def written() -> bool:
        client.ask(f"/errors?{word}")
        return word in path.read_text()

    eventually(written, f"{word} in {path}")


@pytest.mark.parametrize(
    "user", [[], pytest.param(["-u", "nobody"], marks=as_nobody)], ids=["same user", "nobody"]
)
def test_usr1_moves_master_worker_and_access_log_to_new_files(
    tmp_path: Path, user: list[str]
) -> None:
    arguments = [APP, "-b", "unix:s", "-w", "2", *user]
    arguments += ["--error-logfile", "errors", "--access-logfile", "access"]
    errors, access = tmp_path / "errors", tmp_path / "access"
    with launched(tmp_path, *arguments) as server:
        until(errors, "started: 2 serving")
        clients = [unix_client(tmp_path) for _ in range(2)]
        for client in clients:
            client.ask("/errors?old")
        for path in (errors, access):
            path.rename(f"{path}.1")
        server.send(signal.SIGUSR1)
        until(errors, "logs reopened")
        for number, client in enumerate(clients):
            has_reopened(client, errors, f"first{number}")
            client.ask("/errors?new")
            client.close()
        until(errors, "new\n", 2)
        until(access, "GET /errors?new", 2)
        for path in (errors, access):
            assert "old" not in path.read_text()
            assert "new" not in Path(f"{path}.1").read_text()
        assert server.stop() == 0
        assert errors.read_text().rstrip().endswith("stopped")


@needs_logrotate
def test_logrotate_rotates_by_the_sample_configuration(serve: Serve, tmp_path: Path) -> None:
    errors, access = tmp_path / "error.log", tmp_path / "access.log"
    server = serve(APP, access_log=str(access), error_log=str(errors), pidfile="pid")
    sample = (ROOT / "conf/logrotate").read_text()
    sample = sample.replace("/var/log/prefork", str(tmp_path))
    config = tmp_path / "logrotate.conf"
    config.write_text(sample.replace("/run/prefork.pid", str(tmp_path / "pid")))
    config.chmod(0o644)
    with server.client() as client:
        client.ask("/?old")
        until(access, "old")  # which comes after the answer, and what is empty is not rotated
        subprocess.run([LOGROTATE, "-f", "-s", tmp_path / "state", config], check=True)
        until(errors, "logs reopened")
        has_reopened(client, errors, "new")
    for path in (errors, access):
        until(path, "new")
        assert "old" not in path.read_text()
    assert "GET /?old" in Path(f"{access}.1").read_text()


# JSON, and the ids of requests.


def test_both_logs_are_json_and_tell_of_a_request_by_its_id(
    serve: Serve, tmp_path: Path, kind: Mode
) -> None:
    access = tmp_path / "access"
    logs = {"access_log": str(access), "access_log_format": "json", "log_format": "json"}
    server = serve(APP, **logs, **kind.settings)
    with server.client() as client:
        client.ask("/missing", headers={"X-Request-ID": "from-proxy"})
        told = json.loads(client.ask("/environ", headers={"X-Request-ID": "no id"}).body)
    assert told["HTTP_X_REQUEST_ID"] == "no id"
    lines = [json.loads(line) for line in until(access, "\n", 2).splitlines()]
    assert [line["uri"] for line in lines] == ["/missing", "/environ"]
    assert [line["status"] for line in lines] == [500, 200]
    assert [line["request_id"] for line in lines] == ["from-proxy", told["prefork.request_id"]]
    assert server.stop() == 0
    records = [json.loads(line) for line in server.log.splitlines()]
    (raised,) = [record for record in records if "traceback" in record]
    assert (raised["worker"], raised["request_id"]) == (1, "from-proxy")
    assert {record.get("process") for record in records} >= {"master"}


def test_an_id_is_given_where_one_is_asked_for_and_believed_from_proxies_only(
    serve: Serve, kind: Mode
) -> None:
    server = serve(APP, request_id=True, forwarded_allow_ips=["192.0.2.1"], **kind.settings)
    with server.client() as client:
        said = {"X-Request-ID": "mine"}
        ids = [
            json.loads(client.ask("/environ", headers=said).body)["prefork.request_id"]
            for _ in range(3)
        ]
    assert len({*ids, "mine"}) == 4
    server.configure({"request_id": False})
    server.reload()
    with server.client() as client:
        assert "prefork.request_id" not in json.loads(client.ask("/environ").body)


# The journal.


def test_the_journal_is_told_how_bad_it_is(serve: Serve, tmp_path: Path) -> None:
    # The server's standard error is that file.
    (tmp_path / "error.log").touch()
    status = (tmp_path / "error.log").stat()
    server = serve(APP, environ={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
    with server.client() as client:
        client.ask("/missing")
    server.wait_for("<6>.* INFO master pid=.*started")
    server.wait_for(r"<3>.* ERROR worker=1 .*: the app raised\n<3>Traceback")
    assert server.stop() == 0
    assert all(line.startswith("<") for line in server.log.splitlines())


def test_a_log_that_cannot_be_reopened_stays_in_use(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    arguments = [APP, "-b", "127.0.0.1:0", "--error-logfile", "logs/errors"]
    with launched(tmp_path, *arguments) as server:
        until(logs / "errors", "started")
        logs.rename(tmp_path / "moved")
        server.send(signal.SIGUSR1)
        until(
            tmp_path / "moved/errors",
            f"ERROR master pid={server.pid}: {logs}/errors can't be opened again: "
            "No such file or directory",
        )
        assert server.stop() == 0


def test_usr1_means_nothing_to_a_log_on_standard_error(serve: Serve) -> None:
    server = serve(APP, workers=2)
    pids = server.workers()
    server.send(signal.SIGUSR1)
    server.wait_for("logs reopened")
    with server.client() as client:
        client.ask("/errors?hello")
    server.wait_for("hello")
    assert server.workers() == pids


# The app's own logging.


def test_a_table_configures_the_logging_of_the_app_but_not_of_the_master(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(
        "import logging\nfrom tests.apps.probe import app\n"
        "logging.getLogger('shop').info('opened')\n"
    )
    handler = {"class": "logging.FileHandler", "filename": str(tmp_path / "shop.log")}
    table = {"handlers": {"file": handler}, "root": {"level": "INFO", "handlers": ["file"]}}
    server = serve("shop:app", log=table)
    assert (tmp_path / "shop.log").read_text() == "opened\n"
    with server.client() as client:
        client.ask("/missing")
    server.wait_for("ERROR worker=1 .*: the app raised")
    # One that does not fit together the master sees, any other the new worker.
    for name, why in (("handler", "there is no 'handler'"), ("loggers", "Unknown level: 'LOUD'")):
        server.configure({"log": {**table, name: {"shop": {"level": "LOUD"}}}})
        server.send(signal.SIGHUP)
        server.wait_for(f"ERROR .*log: .*{why}")
    server.wait_for("reload to generation 2 aborted")
    with server.client() as client:
        assert client.ask("/").text.split()[1] == "1"
    assert (tmp_path / "shop.log").read_text() == "opened\n"


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"root": {"handlers": ["none"]}}, "log: root: 'none' is none of the handlers"),
        ({"handlers": {"a": {"class": "no.Such"}}}, "log: .*handler 'a'.*No module named 'no'"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_at_the_start(
    tmp_path: Path, table: object, why: str
) -> None:
    refused = run(tmp_path, APP, "-b", "unix:s", "--log", json.dumps(table))
    assert refused.returncode == 2
    assert re.search(why, refused.stderr)


# Syslog.


def test_both_logs_go_to_a_syslog_daemon_over_the_network(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(PATIENCE)
        place = f"syslog+udp://127.0.0.1:{daemon.getsockname()[1]}?facility="
        arguments = [APP, "-b", "unix:s", "--error-logfile", place + "daemon"]
        arguments += ["--access-logfile", place + "local1"]
        said = ""

        def hear(pattern: str) -> None:
            nonlocal said
            while not re.search(pattern, said):
                said += daemon.recv(1 << 16).decode() + "\n"

        with launched(tmp_path, *arguments) as server:
            hear(r"<30>.*prefork\[\d+\]: .* INFO master pid=\d+: started: 1 serving")
            client = unix_client(tmp_path)
            client.ask("/errors?hello")
            hear(r"<27>.*: hello\n")
            hear(r'<142>.* "GET /errors\?hello HTTP/1.1" 200')
            client.close()
            server.send(signal.SIGUSR1)
            hear("logs reopened")
            server.send(signal.SIGUSR2)
            hear("taken over(.|\n)*reload to generation 2 done")
            assert server.stop() == 0
        assert server.log == ""


def test_gunicorns_flags_send_both_logs_to_syslog_and_configure_those_of_the_app(
    tmp_path: Path,
) -> None:
    handler = {"class": "logging.FileHandler", "filename": str(tmp_path / "shop.log")}
    logging = {"handlers": {"file": handler}, "root": {"handlers": ["file"]}}
    (tmp_path / "logging.json").write_text(json.dumps(logging))
    (tmp_path / "shop.py").write_text(
        "import logging\nfrom tests.apps.probe import app\nlogging.warning('sold out')\n"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        daemon.settimeout(PATIENCE)
        arguments = ["shop:app", "-b", "unix:s", "--log-config-json", "logging.json"]
        arguments += ["--log-syslog", "--log-syslog-to", f"unix://{tmp_path}/log"]
        arguments += ["--log-syslog-prefix", "shop", "--log-syslog-facility", "local1"]
        with launched(tmp_path, *arguments) as server:
            client = unix_client(tmp_path)
            client.ask("/")
            client.close()
            said = ""
            while "GET /" not in said:
                said += daemon.recv(1 << 16).decode() + "\n"
            assert server.stop() == 0
    assert re.search(r"<142>.* shop\.access\[\d+\]: .*GET / ", said)
    assert re.search(r"<142>.* shop\.error\[\d+\]: .* started: 1 serving", said)
    assert "--log-config-json is for what the app logs" in said
    assert "sold out" in (tmp_path / "shop.log").read_text()


# Logs that can't be written.


@pytest.fixture
def stuck() -> Iterator[tuple[int, int]]:
    """A pipe of which somebody reads only now and then."""
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def fill(fd: int) -> None:
    os.set_blocking(fd, False)
    try:
        while True:
            os.write(fd, b"x" * 4095 + b"\n")
    except BlockingIOError:
        os.set_blocking(fd, True)


def drained(fd: int) -> str:
    os.set_blocking(fd, False)
    try:
        return os.read(fd, 1 << 20).decode()
    except BlockingIOError:
        return ""


def test_a_pipe_that_nobody_reads_does_not_keep_the_server_from_serving_and_reloading(
    tmp_path: Path, stuck: tuple[int, int]
) -> None:
    read, write = stuck
    with launched(tmp_path, APP, "-b", "unix:s", "-w", "2", "-p", "pid", stderr=write) as server:
        said = ""

        def hear() -> str:
            nonlocal said
            said += drained(read)
            return said

        eventually(lambda: "started: 2 serving" in hear(), "the start")
        fill(write)
        before = children(server.pid)
        client = unix_client(tmp_path)
        assert client.ask("/").text.split()[1] == "1"
        server.send(signal.SIGHUP)
        eventually(
            lambda: len(now := children(server.pid)) == 2 and not set(now) & set(before),
            "the reload",
        )
        eventually(lambda: client.ask("/").text.split()[1] == "2", "the new generation")
        client.close()
        # Once somebody reads again it is told how much was lost.
        hear()
        server.send(signal.SIGTTIN)
        eventually(lambda: "SIGTTIN received" in hear(), "a line")
        lost = re.search(r"^\((\d+) lines before this one were lost\)$", said, re.M)
        assert lost
        assert int(lost[1]) > 5
        assert server.stop() == 0


def test_a_syslog_daemon_that_reads_nothing_does_not_keep_the_master_from_stopping(
    tmp_path: Path,
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        daemon.settimeout(PATIENCE)
        arguments = [APP, "-b", "unix:s", "--error-logfile", f"syslog+unix://{tmp_path}/log"]
        with launched(tmp_path, *arguments) as server:
            while b"started" not in daemon.recv(1 << 16):
                pass
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
                other.connect(daemon.getsockname())
                fill(other.fileno())
            with unix_client(tmp_path) as client:
                assert client.ask("/").text.split()[1] == "1"
            assert server.stop() == 0


def test_a_full_disk_does_not_keep_the_server_from_serving_and_reloading(tmp_path: Path) -> None:
    arguments = [APP, "-b", "unix:s", "-w", "2"]
    arguments += ["--error-logfile", "/dev/full", "--access-logfile", "/dev/full"]
    with launched(tmp_path, *arguments) as server:
        client = unix_client(tmp_path)
        assert client.ask("/").text.split()[1] == "1"
        eventually(lambda: len(children(server.pid)) == 2, "both workers")
        before = children(server.pid)
        server.send(signal.SIGHUP)
        eventually(lambda: client.ask("/").text.split()[1] == "2", "the new generation")
        eventually(
            lambda: len(now := children(server.pid)) == 2 and not set(now) & set(before),
            "the end of the reload",
        )
        client.close()
        assert server.stop() == 0


def test_a_reader_of_the_log_that_is_gone_does_not_stop_the_server(tmp_path: Path) -> None:
    read, write = os.pipe()
    with launched(tmp_path, APP, "-b", "unix:s", stderr=write) as server:
        os.close(write)
        os.close(read)
        with unix_client(tmp_path) as client:
            assert client.ask("/").text.split()[1] == "1"
            server.send(signal.SIGHUP)
            eventually(lambda: client.ask("/").text.split()[1] == "2", "the new generation")
        assert server.stop() == 0
