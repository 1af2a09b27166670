"""A machine of one's own, as far as a script can tell: a network in which every port is free,
processes of its own, and a file system in which /app, /run and /var/log are its own.

So what a page of documentation tells people to type can be typed as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from functools import cache
from pathlib import Path

import pytest

from tests.support.server import PATIENCE

_OWN = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]

# SIOCSIFFLAGS, IFF_UP, and SIOCSIFADDR: netdevice(7). As ip(8) does it, which is not everywhere.
# All of 192.0.2.0/24 is here then, the addresses that documentation has for hosts.
_LOOPBACK_UP = """
import fcntl, socket, struct
sock = socket.socket()
fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 1))
address = socket.inet_aton("192.0.2.1")
fcntl.ioctl(sock, 0x8916, struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, address))
"""

# Nothing can be mounted at /app where there is none, so there is another root, with all that the
# real one has.
_ENTER = """\
set -e
python -c "$2"
mount -t tmpfs tmpfs "$1/root"
for each in /*; do
    if [ -L "$each" ]; then
        cp -P "$each" "$1/root/"
    elif [ -d "$each" ]; then
        mkdir "$1/root$each"
        mount --rbind "$each" "$1/root$each"
    fi
done
mkdir -p "$1/root/app"
mount --bind "$1/app" "$1/root/app"
mount -t tmpfs tmpfs "$1/root/run"
mount -t tmpfs tmpfs "$1/root/var/log"
# Where preforkctl would find the masters of others.
[ ! -d /tmp/prefork-0 ] || mount -t tmpfs tmpfs "$1/root/tmp/prefork-0"
mkdir "$1/root/run/myapp" "$1/root/var/log/myapp"
exec chroot "$1/root" sh -euc 'cd "$0" && . ./script' "$1/home"
"""

# `serve COMMAND` starts a server, in place of the one before, and asks it for a page.
_VERBS = """\
server=

serve() {
    stop
    : >log
    "$@" >>log 2>&1 &
    server=$!
    until grep -Eq 'started: [0-9]+ serving|Booting worker' log; do
        grep -q '^State:.[^Z]' /proc/$server/status
        sleep 0.05
    done
    ask
}

ask() {
    port=$(sed -nE 's/.*istening (on|at):? http:..[^ ]*:([0-9]+).*/\\2/p' log | head -n 1)
    curl -sSf --retry 20 --retry-connrefused "http://127.0.0.1:$port/" >>page
}

# `begin HOST` starts what prefork.toml says at an address of its own; `ssh HOST COMMAND` is for it.
begin() {
    mkdir -p "/run/$1"
    : >"/run/$1/log"
    XDG_RUNTIME_DIR=/run/$1 prefork myapp:app -c prefork.toml -b "$1:8000" -p "/run/$1/pid" \\
        >>"/run/$1/log" 2>&1 &
    until grep -q 'started: ' "/run/$1/log"; do
        grep -q '^State:.[^Z]' /proc/$!/status
        sleep 0.05
    done
}

ssh() {
    host=$1
    shift
    if [ "$*" = "systemctl restart mysite" ]; then
        kill "$(cat "/run/$host/pid")"
        while [ -e "/run/$host/pid" ]; do sleep 0.05; done
        begin "$host"
    else
        XDG_RUNTIME_DIR=/run/$host "$@"
    fi
}

reloaded() {
    until grep -Eq 'reload .*(done|aborted|refused)' log; do sleep 0.05; done
    grep -q 'reload to generation .* done' log
}

stop() {
    if [ -n "$server" ]; then
        kill $server 2>/dev/null || :
        wait $server
        server=
    fi
}
"""


@cache
def _can_be() -> bool:
    tools = ("unshare", "curl", "chroot", "pgrep")
    return os.getuid() == 0 and all(map(shutil.which, tools)) and not _run([*_OWN, "true"])[0]


class Machine:
    """Where scripts run. `home` is where they start, and `app` what they see as /app."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.home, self.app = directory / "home", directory / "app"
        for each in (self.home, self.app, directory / "root"):
            each.mkdir()

    def run(self, script: str, seconds: float = 20 * PATIENCE) -> str:
        """Run a script of the shell, which ends at the first failure: all that it writes, and what
        its last server has.

        Besides commands there are the verbs `serve COMMAND`, `ask`, `reloaded` and `stop`; and for
        several servers `begin HOST` and `ssh HOST COMMAND`.
        """
        (self.home / "script").write_text(f"{_VERBS}\n{script}\nstop\n")
        command = [*_OWN, "sh", "-c", _ENTER, "enter", str(self._directory), _LOOPBACK_UP]
        status, output = _run(command, seconds)
        log = self.home / "log"
        said = f"{output}----- the server's log -----\n{log.read_text() if log.exists() else ''}"
        assert status == 0, f"status {status} of\n{script}\n{said}"
        return said


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A new one; the test is skipped where there can be none."""
    if not _can_be():
        pytest.skip("there can't be namespaces, or there is no curl or pgrep")
    return Machine(tmp_path)


def _run(command: list[str], seconds: float = PATIENCE) -> tuple[int, str]:
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}:/usr/sbin:/sbin"
    kept = {name: os.environ[name] for name in ("LANG", "HOME") if name in os.environ}
    done = subprocess.run(
        command,
        env={**kept, "PATH": path, "XDG_RUNTIME_DIR": "/run", "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )
    return done.returncode, done.stdout
