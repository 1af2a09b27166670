"""prefork beside its peers: the CPU that a request costs, and how soon it is answered.

    make bench                                      all of it, about four minutes
    make bench ARGS='--rounds 1 --seconds 2'        a quick look

One server at a time runs hello.py, with one worker, on a core of its own, and wrk loads it from
another core. The rounds are interleaved (A, B, C, A, B, C, ...), so that a machine that gets
slower meanwhile gets slower for all. Figures of two runs do not compare, the ratios do. CPU per
request is what all processes of the server, and the kernel for them, have used; it counts where
an app shares the core with its server, which is everywhere.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import re
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
VENV = PROJECT / ".venv-bench"
BIN = VENV / "bin"
CONNECTIONS = 64
BODY = b"Hello, world!"

_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE = 30.0
_QUIET = 0.5  # the load average of a machine that does nothing else


@dataclass(frozen=True)
class Server:
    """A server to measure. The one that `needs` a header file to be built may be missing."""

    name: str
    requirement: str
    command: str
    needs: str = ""


SERVERS = [
    Server(
        "prefork", f"--editable {shlex.quote(str(PROJECT))}", "prefork hello:app -b {host}:{port}"
    ),
    Server(
        "gunicorn",  # the first peer: the ratios are to it
        "gunicorn",
        "gunicorn hello:app -b {host}:{port} -k gthread --threads 4 --log-level warning",
    ),
    Server(
        "bjoern",
        "bjoern",
        "python -c 'import bjoern, hello; bjoern.run(hello.app, \"{host}\", {port})'",
        needs="/usr/include/ev.h of libev-dev",
    ),
]

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "http://127.0.0.1/products/list?page=2",
    "Cookie": "sessionid=3kq1v7y0c9m2x8b4n6d5; csrftoken=Zr8WQ0a7sLx2Yp9Kc4Vt1Nf6",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
}

LOADS = {
    "keep-alive": {},
    "keep-alive with 10 browser headers": BROWSER,
    "a connection per request": {"Connection": "close"},
}


@dataclass(frozen=True)
class Figures:
    """What one round of one server under one load has given."""

    requests_per_second: float
    cpu_us_per_request: float
    p50_ms: float
    p99_ms: float
    pss_mib: float
    errors: float


@dataclass(frozen=True)
class Spread:
    """A figure over all rounds."""

    median: float
    min: float
    max: float


Results = dict[str, dict[str, dict[str, Spread]]]  # by load, server and figure


def main() -> None:
    """Measure, print a table for each load, and write the results as JSON."""
    options = _options()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    if os.getloadavg()[0] > _QUIET:
        print("the machine is busy: these figures will not be worth keeping", file=sys.stderr)
    left_out = install()
    servers = [server for server in SERVERS if server.name not in left_out]
    about = {
        "machine": {
            "cpu": _cpu_model(),
            "cpus": len(os.sched_getaffinity(0)),
            "load average at the start": round(os.getloadavg()[0], 2),
        },
        "versions": {
            "kernel": platform.release(),
            "python": platform.python_version(),
            **{server.name: version(server) for server in servers},
        },
        "left out": left_out,
        "rounds": {"count": options.rounds, "seconds": options.seconds},
    }
    print(json.dumps(about, indent=2))
    results = compare(servers, options.rounds, options.seconds)
    for load, by_server in results.items():
        print(f"\n{load}, {CONNECTIONS} connections\n{table(by_server)}")
    outcome = {**about, "results": results}
    options.output.write_text(json.dumps(outcome, indent=2, default=asdict) + "\n")
    print(f"\nwritten to {options.output}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure prefork beside its peers.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of a round")
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    return parser.parse_args()


# The servers.


def install() -> dict[str, str]:
    """Install the servers into an environment; those that can't be had, each with the reason."""
    stamp, project = VENV / ".made", PROJECT / "pyproject.toml"
    fresh = stamp.exists() and stamp.stat().st_mtime > project.stat().st_mtime
    if not fresh:
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    left_out = {}
    for server in SERVERS:
        header = server.needs.partition(" ")[0]
        if header and not os.path.exists(header):
            left_out[server.name] = f"there is no {server.needs}"
        elif not (fresh and version(server)):
            pip = f"{shlex.quote(str(BIN))}/pip install --quiet {server.requirement}"
            if subprocess.run(shlex.split(pip)).returncode:
                if not header:
                    sys.exit(f"pip can't install {server.name}")
                left_out[server.name] = "pip can't build it"
    stamp.touch()
    return left_out


def version(server: Server) -> str:
    """The version that is installed, or nothing."""
    code = f"from importlib.metadata import version; print(version('{server.name}'))"
    return subprocess.run(
        [BIN / "python", "-c", code], capture_output=True, text=True
    ).stdout.strip()


@contextmanager
def running(server: Server, core: int) -> Iterator[tuple[int, int]]:
    """The pid and the port of a server that answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = shlex.split(server.command.format(host="127.0.0.1", port=port))
    process = subprocess.Popen(
        [BIN / command[0], *command[1:]],
        cwd=HERE,
        # Not WEB_CONCURRENCY and the like: one worker each.
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE)},
        stderr=subprocess.DEVNULL,
        preexec_fn=_pin_to(core),
        start_new_session=True,
    )
    try:
        _wait_for_answer(server, process, port)
        yield process.pid, port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait_for_answer(server: Server, process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            client.request("GET", "/")
            assert client.getresponse().read() == BODY
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
        finally:
            client.close()
    sys.exit(f"{server.name} does not answer; its command: {server.command}")


# What they cost.


def compare(servers: list[Server], rounds: int, seconds: int) -> Results:
    """Measure all servers under all loads, in interleaved rounds."""
    server_core, wrk_core = two_cores()
    measured: dict[str, dict[str, list[Figures]]] = {
        load: {server.name: [] for server in servers} for load in LOADS
    }
    for number in range(1, rounds + 1):
        for load, headers in LOADS.items():
            for server in servers:
                with running(server, server_core) as (pid, port):
                    wrk = _wrk_command(port, headers)
                    _run_wrk([*wrk, "-d", "1s"], wrk_core)
                    figures = measure(pid, [*wrk, "-d", f"{seconds}s"], wrk_core)
                measured[load][server.name].append(figures)
                print(f"round {number}, {load}, {server.name}: {figures}", file=sys.stderr)
    return {
        load: {name: _spreads(figures) for name, figures in by_server.items()}
        for load, by_server in measured.items()
    }


def measure(pid: int, wrk: list[str], core: int) -> Figures:
    """Load the server once, and see what that has cost."""
    processes = tree(pid)
    before = sum(map(cpu_seconds, processes))
    report = _run_wrk(wrk, core)
    used = sum(map(cpu_seconds, processes)) - before
    if tree(pid) != processes:
        sys.exit("a process of the server has ended or was started while it was measured")
    return Figures(
        requests_per_second=report["requests"] / report["microseconds"] * 1e6,
        cpu_us_per_request=used / report["requests"] * 1e6,
        p50_ms=report["p50"] / 1000,
        p99_ms=report["p99"] / 1000,
        pss_mib=sum(map(pss_mib, processes)),
        errors=report["errors"],
    )


def _wrk_command(port: int, headers: dict[str, str]) -> list[str]:
    command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-s", str(HERE / "report.lua")]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    return [*command, f"http://127.0.0.1:{port}/"]


def _run_wrk(command: list[str], core: int) -> dict[str, int]:
    done = subprocess.run(command, capture_output=True, check=True, preexec_fn=_pin_to(core))
    report: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return report


def two_cores() -> tuple[int, int]:
    """Two of the CPUs that this process may use, if possible not two threads of one core."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        sys.exit("two CPUs are needed: one for the server, one for wrk")
    topology = Path(f"/sys/devices/system/cpu/cpu{first}/topology/core_cpus_list")
    same_core = topology.read_text().strip() if topology.exists() else ""
    apart = [cpu for cpu in others if str(cpu) not in re.split("[,-]", same_core)]
    return first, (apart or others)[0]


def _pin_to(core: int) -> Callable[[], None]:
    return lambda: os.sched_setaffinity(0, {core})


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used: proc(5), utime and stime."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS


def pss_mib(pid: int) -> float:
    """The memory of a process, in which a page that n processes share counts as 1/n."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _cpu_model() -> str:
    names = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return names[0] if names else platform.machine()


# What is shown.

_COLUMNS = {
    "requests_per_second": ("requests/s", ".0f"),
    "cpu_us_per_request": ("CPU us/request", ".1f"),
    "p50_ms": ("p50 ms", ".2f"),
    "p99_ms": ("p99 ms", ".2f"),
    "pss_mib": ("PSS MiB", ".1f"),
    "errors": ("errors", ".0f"),
}


def table(by_server: dict[str, dict[str, Spread]]) -> str:
    """A line for each server: medians, with the least and the most in parentheses."""
    rows = [["", *(title for title, _ in _COLUMNS.values()), f"CPU to {SERVERS[1].name}'s"]]
    peer = by_server[SERVERS[1].name]["cpu_us_per_request"].median
    for name, spreads in by_server.items():
        cells = [_cell(spreads[key], form) for key, (_, form) in _COLUMNS.items()]
        rows.append([name, *cells, f"{spreads['cpu_us_per_request'].median / peer:.3f}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cell(spread: Spread, form: str) -> str:
    return f"{spread.median:{form}} ({spread.min:{form}}-{spread.max:{form}})"


def _spreads(rounds: list[Figures]) -> dict[str, Spread]:
    by_figure = {key: [getattr(figures, key) for figures in rounds] for key in _COLUMNS}
    return {
        key: Spread(statistics.median(values), min(values), max(values))
        for key, values in by_figure.items()
    }


if __name__ == "__main__":
    main()
