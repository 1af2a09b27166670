"""Where, when and how a run was made: what has to be known to judge its figures."""

from __future__ import annotations

import datetime
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import wrk
from benchmarks.install import APPS_NEED, versions
from benchmarks.servers import PROJECT, Server

QUIET = 0.5  # at most the load average of a machine that does nothing else


def about(
    servers: Iterable[Server], arguments: list[str], rounds: int, seconds: int
) -> dict[str, Any]:
    """All that is noted of a run beside its figures; `seconds` is how long one load lasts."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
        "arguments": shlex.join(arguments),
        "rounds": rounds,
        "seconds": seconds,
        "commit": _commit(),
        "machine": _machine(),
        "versions": _versions(servers),
    }


def _machine() -> dict[str, Any]:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages * size / (1 << 30), 1),
        "kernel": re.split("[^0-9.]", platform.release())[0],
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def _versions(servers: Iterable[Server]) -> dict[str, str]:
    found = versions()
    names = dict.fromkeys([server.package for server in servers] + [*APPS_NEED, "gevent"])
    known = {name: found[name.lower()] for name in names if name.lower() in found}
    return {"python": platform.python_version(), **known, "wrk": wrk.version()}


def _cpu_model() -> str:
    names = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return names[0] if names else platform.machine()


def _commit() -> str:
    """The commit that was measured, '+' if there are changes to it; empty outside of git."""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""
