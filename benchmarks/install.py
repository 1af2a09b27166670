"""The servers in an environment of their own, and what they need from the system."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable

from benchmarks.servers import PROJECT, VENV, Server

APPS_NEED = ("flask", "django")

_PIP = (VENV / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check")
_STAMP = VENV / ".made-with"
_VERSIONS = """
import importlib.metadata, json
print(json.dumps({one.name.lower(): one.version for one in importlib.metadata.distributions()}))
"""


def install(servers: Iterable[Server]) -> dict[str, str]:
    """Install servers, unless they are; those that can't be had, each with the reason.

    Exits when there is no wrk, or no prefork.
    """
    _from_the_system()
    if not _is_fresh():
        _make_environment()
    left_out = {}
    present = versions()
    for server in servers:
        if not server.packages() <= present.keys() and (reason := _try_to_install(server)):
            if server.ours:
                sys.exit(f"prefork {reason}")
            left_out[server.name] = reason
    return left_out


def versions() -> dict[str, str]:
    """The version of each package in the environment, by its name in lower case."""
    done = subprocess.run([VENV / "bin" / "python", "-c", _VERSIONS], capture_output=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _is_fresh() -> bool:
    if not _STAMP.exists() or _STAMP.read_text() != platform.python_version():
        return False
    return _STAMP.stat().st_mtime > (PROJECT / "pyproject.toml").stat().st_mtime


def _make_environment() -> None:
    print(f"making {VENV.name}: some minutes", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    subprocess.run([*_PIP, *APPS_NEED], check=True)
    _STAMP.write_text(platform.python_version())


def _try_to_install(server: Server) -> str:
    """Nothing, or why it did not work."""
    if server.header and not os.path.exists(server.header):
        return f"can't be built: there is no {server.header}"
    done = subprocess.run([*_PIP, *server.requirements], capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    return f"can't be installed: {(errors or ['pip failed'])[0].strip()}" if done.returncode else ""


def _from_the_system() -> None:
    """wrk, and libev's header file for bjoern: root installs them."""
    missing = shutil.which("wrk") is None or not os.path.exists("/usr/include/ev.h")
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"])
        for package in ("wrk", "libev-dev"):
            subprocess.run(["apt-get", "install", "-y", "-qq", package])
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed and not installed: apt-get install wrk libev-dev")
