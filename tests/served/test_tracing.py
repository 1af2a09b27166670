"""The wrappers with which OpenTelemetry traces a service, and the header field that goes with them.

The agent is in every process from its start, the master too, by way of sitecustomize.
"""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path

from tests.support.clients import Client
from tests.support.command import launched
from tests.support.modes import Mode
from tests.support.server import PATIENCE

AGENT = f"{sysconfig.get_path('scripts')}/opentelemetry-instrument"
ENVIRON = {
    "OTEL_TRACES_EXPORTER": "console",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}


def test_every_request_is_part_of_its_clients_trace(tmp_path: Path, kind: Mode) -> None:
    arguments = ["-b", "127.0.0.1:0", "-k", kind.kind, "--access-logfile", "-"]
    arguments += ["--access-logformat", "seen=%({traceparent}i)s"]
    with launched(
        tmp_path, "tests.apps.traced:app", *arguments, environ=ENVIRON, under=[AGENT]
    ) as server:
        server.started()
        traces = [f"{number:032x}" for number in (0xA1, 0xB2)]
        with Client(server.port, PATIENCE) as client:
            for trace in traces:
                parent = f"00-{trace}-00000000000000c3-01"
                answer = client.ask("/", headers={"traceparent": parent})
                assert answer.text == f"{trace} {parent}"
                server.reload()
        assert server.stop() == 0
    # What a worker had not exported yet, it has at its end.
    assert re.findall(r'"trace_id": "0x(\w+)"', server.log) == traces
    assert re.findall(r"seen=00-(\w+)-00000000000000c3-01", server.log) == traces
