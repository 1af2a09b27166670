"""The sample for Kubernetes: it is valid, its parts fit each other, and a server that is started as
it says answers its probes all its life."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefork.settings import Settings
from tests.support.clients import Client
from tests.support.command import launched
from tests.support.server import PATIENCE, ROOT, eventually

DEPLOYMENT, SERVICE = yaml.safe_load_all((ROOT / "conf/kubernetes.yaml").read_text())
POD = DEPLOYMENT["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
ENVIRON: dict[str, str] = {each["name"]: each["value"] for each in CONTAINER["env"]}
PORTS: dict[str, int] = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


@pytest.mark.parametrize("manifest", [DEPLOYMENT, SERVICE], ids=lambda each: each["kind"])
def test_it_is_as_the_schema_of_kubernetes_wants_it(manifest: dict[str, Any]) -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason="it is in prefork[check] only")
    schemas.validate(manifest, schemas.latest_version(), strict=True)


def test_its_parts_fit_each_other() -> None:
    labels = POD["metadata"]["labels"]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    assert SERVICE["spec"]["selector"] == labels
    assert [port["targetPort"] for port in SERVICE["spec"]["ports"]] == ["http"]
    for name, variable in (("http", "PREFORK_BIND"), ("metrics", "PREFORK_METRICS_BIND")):
        assert ENVIRON[variable] == f"0.0.0.0:{PORTS[name]}"
    assert {CONTAINER[probe]["httpGet"]["port"] for probe in PROBES} == {"metrics"}


def test_nothing_is_killed_before_its_time() -> None:
    drain, kill = (int(ENVIRON[f"PREFORK_{name}"]) for name in ("DRAIN_DELAY", "KILL_TIMEOUT"))
    assert POD["spec"]["terminationGracePeriodSeconds"] > drain + kill
    looks, start = CONTAINER["readinessProbe"], CONTAINER["startupProbe"]
    assert drain > looks["periodSeconds"] * looks["failureThreshold"]
    assert start["periodSeconds"] * start["failureThreshold"] > Settings().listen_timeout


def test_a_server_that_is_started_as_it_says_answers_its_probes(tmp_path: Path) -> None:
    executable, *arguments = CONTAINER["command"]
    assert executable == "prefork"
    (tmp_path / "mysite.py").write_text("from tests.apps.probe import app\n")
    # Elsewhere, and for longer: the end of that is a second SIGTERM.
    others = dict.fromkeys(("PREFORK_BIND", "PREFORK_METRICS_BIND"), "127.0.0.1:0")
    environ = {**ENVIRON, **others, "PREFORK_DRAIN_DELAY": "600"}
    with launched(tmp_path, *arguments, environ=environ) as server:
        server.started()
        metrics = int(server.wait_for(r"metrics at http://\S+:(\d+)")[1])

        def statuses() -> list[int]:
            with Client(metrics, PATIENCE) as kubelet:
                return [kubelet.ask(CONTAINER[each]["httpGet"]["path"]).status for each in PROBES]

        eventually(lambda: statuses() == [200, 200, 200], "every probe to succeed")
        server.send(signal.SIGTERM)
        eventually(lambda: statuses() == [503, 503, 200], "the end of readiness, not of life")
        with Client(server.port, PATIENCE) as client:
            assert json.loads(client.ask("/environ").body)["PATH_INFO"] == "/environ"
        assert server.stop() == 0
