"""wrk, the client that asks for as much as a server can give."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.loads import Load
from benchmarks.processes import HOST, Running, Unable

SCRIPT = Path(__file__).resolve().parent / "wrk.lua"


@dataclass(frozen=True)
class Report:
    """What wrk saw; `errors` are its socket errors, timeouts and answers above 399."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int


def run(server: Running, load: Load, connections: int, seconds: int) -> Report:
    """Put a load on a server for some seconds, from the core that this process runs on.

    Raises Unable when it can't connect.
    """
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-s", str(SCRIPT)]
    for name, value in load.headers.items():
        command += ["-H", f"{name}: {value}"]
    command += [f"http://{HOST}:{server.port}/", "--", load.script]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        raise Unable(f"wrk: {(done.stdout + done.stderr).decode().strip()}")
    said = json.loads(done.stdout.splitlines()[-1])
    return Report(
        said["requests"],
        said["microseconds"] / 1e6,
        said["p50"] / 1000,
        said["p99"] / 1000,
        said["errors"],
    )


def version() -> str:
    """Of wrk, which prints it with its help and then fails."""
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout
    return (said.split() or ["", ""])[1]
