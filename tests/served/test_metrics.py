"""Metrics: what is counted, that nothing is lost or counted twice, and that nobody is held up."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.conftest import Serve
from tests.support.clients import Client, raw
from tests.support.modes import KINDS
from tests.support.server import PATIENCE, ROOT, Server, alive, eventually, fds, listening_inode

APP = "tests.apps.probe:app"
SAMPLE = re.compile(r"(?P<name>[a-z_]+(?:\{[^}]*\})?) (?P<value>\S+)")

Metrics = dict[str, float]


def observer(server: Server) -> Client:
    """A client of the process that serves metrics."""
    return Client(int(server.wait_for(r"metrics at http://\S+:(\d+)")[1]), PATIENCE)


def scrape(server: Server) -> Metrics:
    """All metrics, by name and labels."""
    with observer(server) as client:
        answer = client.ask("/metrics")
    assert answer.status == 200
    lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
    samples = [SAMPLE.fullmatch(line) for line in lines]
    return {each["name"]: float(each["value"]) for each in samples if each is not None}


def answered(metrics: Metrics) -> float:
    """How many answers there were."""
    return sum(value for name, value in metrics.items() if name.startswith("prefork_requests_tot"))


def until(server: Server, name: str, value: float) -> Metrics:
    """Wait until a metric has a value."""

    def found() -> Metrics | None:
        metrics = scrape(server)
        return metrics if metrics.get(name) == value else None

    return eventually(found, f"{name} to be {value:g}")


def spawned(server: Server) -> int:
    """The pid of the latest process for metrics."""
    return int(re.findall(r"metrics pid=(\d+) spawned", server.log)[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_requests_are_counted_once_over_deaths_reloads_and_upgrades(
    serve: Serve, kind: str
) -> None:
    server = serve(APP, workers=2, worker_class=kind, metrics_bind="127.0.0.1:0")
    with server.client() as client:
        for _ in range(6):
            client.ask("/environ")
        assert client.ask("/nowhere").status == 500
    raw(server.port, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
    # Counted when they have ended, which is after their answers have arrived.
    until(server, 'prefork_requests_total{status="5xx"}', 1)
    metrics = until(server, 'prefork_requests_total{status="4xx"}', 1)
    assert metrics['prefork_requests_total{status="2xx"}'] == 6
    assert metrics['prefork_requests_total{status="5xx"}'] == 1
    assert metrics["prefork_request_duration_seconds_count"] == 7
    server.reload()
    metrics = until(server, 'prefork_reloads_total{outcome="done"}', 1)
    assert metrics["prefork_generation"] == 2
    assert metrics['prefork_worker_exits_total{reason="retired"}'] == 2
    assert answered(metrics) == 8
    with server.client() as client:
        assert client.ask("/die").status == 502
    metrics = until(server, 'prefork_worker_exits_total{reason="crash"}', 1)
    assert metrics['prefork_requests_total{status="5xx"}'] == 2
    since = server.mark()
    server.send(signal.SIGUSR2)
    server.wait_for("reload to generation 3 done", since)
    metrics = until(server, "prefork_generation", 3)
    assert answered(metrics) == 9
    assert metrics['prefork_worker_exits_total{reason="crash"}'] == 1
    assert metrics["prefork_request_duration_seconds_count"] == 7
    assert metrics['prefork_workers{state="serving"}'] == 2
    assert server.stop() == 0
    assert not alive(spawned(server))


def test_what_is_under_way_is_told(serve: Serve) -> None:
    server = serve(APP, workers=1, metrics_bind="127.0.0.1:0")
    with server.client() as held, server.client() as waiting:
        held.request("GET", "/hold?a")
        eventually((server.directory / "a.begun").exists, "the request to begin")
        metrics = until(server, 'prefork_connections{state="lent"}', 1)
        with observer(server) as client:
            inode = listening_inode(client.port)
        # Only two have the socket at which metrics are served.
        (worker,) = server.workers().values()
        assert inode in fds(server.pid).values()
        assert inode in fds(spawned(server)).values()
        assert inode not in fds(worker).values()
        assert metrics["prefork_requests_in_flight"] == 1
        assert metrics['prefork_worker_resident_memory_bytes{slot="1"}'] > 1 << 20
        waiting.connect()
        (server.directory / "a.go").touch()
        assert held.getresponse().read() == b"held\n"
    until(server, "prefork_requests_in_flight", 0)


def test_readiness_is_told_before_the_stop_and_life_goes_on(serve: Serve) -> None:
    server = serve(APP, workers=1, metrics_bind="127.0.0.1:0", drain_delay=60)

    def status(path: str) -> int:
        with observer(server) as client:
            return client.ask(path).status

    assert (status("/ready"), status("/live"), status("/other")) == (200, 200, 404)
    server.send(signal.SIGTERM)
    eventually(lambda: status("/ready") == 503, "readiness to end")
    assert status("/live") == 200


def test_clients_that_say_nothing_hold_up_nobody_and_a_dead_process_is_made_anew(
    serve: Serve,
) -> None:
    server = serve(APP, workers=1, metrics_bind="127.0.0.1:0")
    with observer(server) as client:
        assert client.ask("/live").status == 200
        port = client.port
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    for each in silent:
        each.sendall(b"GET")
    assert scrape(server)["prefork_ready"] == 1
    for each in silent:
        each.close()
    first = spawned(server)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: spawned(server) != first, "another process for metrics")
    assert scrape(server)["prefork_ready"] == 1
    with server.client() as client:
        assert client.ask("/environ").status == 200
    second = spawned(server)
    server.send(signal.SIGKILL)
    eventually(lambda: not alive(second), "the process for metrics to end with the master")


def test_an_address_that_is_taken_ends_the_start(start: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start(APP, metrics_bind=f"127.0.0.1:{port}")
        assert server.wait() == 2
    assert f"metrics_bind = 127.0.0.1:{port}: Address already in use" in server.log


def test_without_the_package_the_start_is_refused_with_what_to_install(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['prometheus_client'] = None; sys.argv[0] = 'prefork'; "
    run = "from prefork.cli import main; sys.exit(main(['a:b', '--metrics-bind', '127.0.0.1:0']))"
    done = subprocess.run(
        [sys.executable, "-c", hide + run],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'prefork[metrics]'" in done.stderr


# With the tools of those who will use it.


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool and prometheus")
def test_prometheus_takes_what_is_served(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP, workers=1, metrics_bind="127.0.0.1:0")
    with observer(server) as client:
        text = client.ask("/metrics").body
        target = f"127.0.0.1:{client.port}"
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, b"", b"")
    with server.client() as client:
        client.ask("/environ")
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: prefork, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with open(tmp_path / "prometheus.log", "wb") as log:
        prometheus = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        eventually(lambda: _value(port, 'prefork_requests_total{status="2xx"}') == "1", "a scrape")
        assert _value(port, "up") == "1"
        for expression in expressions():
            with Client(port, PATIENCE) as client:
                client.request("POST", "/api/v1/query", _form(expression), FORM)
                assert client.getresponse().status == 200, expression
    finally:
        prometheus.terminate()
        prometheus.wait(PATIENCE)


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def _form(expression: str) -> str:
    return urlencode({"query": expression})


def _value(port: int, expression: str) -> str:
    """What Prometheus has for an expression, empty if it has nothing yet, or does not listen."""
    try:
        with Client(port, PATIENCE) as client:
            client.request("POST", "/api/v1/query", _form(expression), FORM)
            answer = json.loads(client.getresponse().read())
    except (OSError, ValueError):
        return ""
    result = answer.get("data", {}).get("result", [])
    return result[0]["value"][1] if result else ""


def expressions() -> list[str]:
    """What the dashboard asks for, with a range in the place of Grafana's."""
    board = json.loads((ROOT / "conf/grafana.json").read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    return [each.replace("$__rate_interval", "1m").replace("$job", "prefork") for each in found]


def test_the_dashboard_shows_only_metrics_that_there_are(serve: Serve) -> None:
    server = serve(APP, workers=1, metrics_bind="127.0.0.1:0")
    served = {name.partition("{")[0] for name in scrape(server)}
    asked = {name for each in expressions() for name in re.findall(r"\bprefork_\w+", each)}
    assert asked
    assert asked <= served
    described = set(re.findall(r"`(prefork_\w+)`", (ROOT / "DESIGN.md").read_text()))
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in served}
    assert described == families


# StatsD.


@pytest.mark.parametrize("kind", KINDS)
def test_statsd_hears_what_gunicorn_would_tell(serve: Serve, kind: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(PATIENCE)
        server = serve(
            APP,
            workers=2,
            worker_class=kind,
            statsd_host=f"127.0.0.1:{receiver.getsockname()[1]}",
            statsd_prefix="shop",
            dogstatsd_tags="env:test,az:b",
        )
        with server.client() as client:
            for _ in range(200):
                client.ask("/environ")
            assert client.ask("/nowhere").status == 500
        told: list[str] = []
        wanted = {
            "shop.gunicorn.requests:1|c|#env:test,az:b": 201,
            "shop.gunicorn.request.status.200:1|c|#env:test,az:b": 200,
            "shop.gunicorn.request.status.500:1|c|#env:test,az:b": 1,
            "shop.gunicorn.log.exception:1|c|#env:test,az:b": 1,
        }
        while any(told.count(line) < count for line, count in wanted.items()):
            datagram = receiver.recv(65536)
            assert len(datagram) <= 1432
            told += datagram.decode().splitlines()
        assert {line: told.count(line) for line in wanted} == wanted
        timer = re.compile(r"shop\.gunicorn\.request\.duration:\d+\.\d{3}\|ms\|#env:test,az:b")
        assert len([line for line in told if timer.fullmatch(line)]) == 201
        while "shop.gunicorn.workers:2|g|#env:test,az:b" not in told:
            told += receiver.recv(65536).decode().splitlines()


def test_a_statsd_that_is_nowhere_stops_nobody(serve: Serve) -> None:
    server = serve(APP, workers=1, statsd_host="127.0.0.1:9")
    with server.client() as client:
        assert [client.ask("/environ").status for _ in range(100)] == [200] * 100
    server.reload()
    assert server.stop() == 0
    assert "ERROR" not in server.log


def test_a_statsd_host_that_is_no_address_is_refused(start: Serve) -> None:
    server = start(APP, statsd_host="localhost")
    assert server.wait() == 2
    assert "statsd_host = localhost: expected HOST:PORT" in server.log
