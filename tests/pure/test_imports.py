"""The floors of the house: imports only run down."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "prefork"

# From the bottom up. A file may import from the floors below its own and from its own folder; in
# a floor of single files, not even from its neighbours unless they are listed here.
FLOORS = [
    {"prefork", "prefork.datagram", "prefork.errors"},
    {
        "prefork.cgroups",
        "prefork.finding",
        "prefork.gunicorn",
        "prefork.hooks",
        "prefork.logconfig",
        "prefork.logformat",
        "prefork.networks",
        "prefork.readiness",
        "prefork.rundir",
        "prefork.seldom",
        "prefork.settings",
        "prefork.signals",
        "prefork.syslog",
        "prefork.pidfile",
        "prefork.systemd",
    },
    {
        "prefork.config",
        "prefork.crowding",
        "prefork.log",
        "prefork.process",
        "prefork.statsd",
        "prefork.http",
    },
    {"prefork.wire"},
    {"prefork.wsgi"},
    {"prefork.accesslog"},
    {
        "prefork.master",
        "prefork.metrics",
        "prefork.tls",
        "prefork.watching",
        "prefork.worker",
    },
    {"prefork.checks", "prefork.importing"},
    {"prefork.cli", "prefork.ctl", "prefork.demo"},
    {"prefork.completion"},
    {"prefork.__main__"},
]
PURE = [
    "crowding.py",
    "master/backoff.py",
    "master/condition.py",
    "master/connection.py",
    "master/dispatch.py",
    "master/failures.py",
    "master/fleet.py",
    "master/handover.py",
    "master/life.py",
    "master/notices.py",
    "master/reloads.py",
    "master/ring.py",
    "master/rollout.py",
    "master/roster.py",
    "master/steps.py",
    "seldom.py",
    "worker/lifecycle.py",
    "wire/control.py",
    "wire/introduction.py",
    "wire/messages.py",
    "wire/recall.py",
    "http/body.py",
    "http/fields.py",
    "http/forwarded.py",
    "http/heads.py",
    "http/line.py",
    "http/memo.py",
    "http/request.py",
    "http/response.py",
    "wsgi.py",
]
IMPURE_MODULES = {"os", "socket", "select", "signal", "subprocess", "threading", "selectors"}
# A worker's own: the master would pay for them, and monkey-patching would come too late.
NEVER_IN_THE_MASTER = {
    "asyncio",
    "gevent",
    "httptools",
    "prometheus_client",
    "prefork.http",
    "prefork.metrics",
    "prefork.tls",
    "prefork.watching",
    "prefork.worker",
    "ssl",
    "watchfiles",
}


def imports(path: Path, whole: bool = True) -> Iterator[str]:
    """The modules that a file imports; without `whole`, only those at its top level."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if whole else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: a relative import"
            for alias in node.names:
                child = f"{node.module}.{alias.name}"
                yield child if is_module(child) else node.module


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def module_name(path: Path) -> str:
    return ".".join(("prefork", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    )


def room(module: str) -> str:
    """A module's place on the floors: its folder, or itself."""
    parts = module.split(".")[:2]
    return ".".join(parts)


def floor(module: str) -> int:
    (found,) = [number for number, rooms in enumerate(FLOORS) if room(module) in rooms]
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_only_run_down(path: Path) -> None:
    importer = module_name(path)
    for imported in imports(path):
        if not imported.startswith("prefork"):
            continue
        same_room = room(imported) == room(importer)
        entrance = importer == "prefork" and imported in ("prefork.errors", "prefork.readiness")
        below = floor(imported) < floor(importer)
        assert same_room or below or entrance, f"{importer} imports {imported}"


@pytest.mark.parametrize("name", PURE)
def test_what_is_pure_does_no_input_or_output(name: str) -> None:
    found = {module.split(".")[0] for module in imports(PACKAGE / name)}
    assert not found & IMPURE_MODULES


def test_the_master_imports_nothing_that_is_a_workers() -> None:
    seen: set[str] = set()
    queue = ["prefork.cli", "prefork.__main__"]
    while queue:
        module = queue.pop()
        if module in seen:
            continue
        seen.add(module)
        path = PACKAGE.parent.joinpath(*module.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if module.startswith("prefork") and file.exists():
            queue += imports(file, whole=False)
    for forbidden in NEVER_IN_THE_MASTER:
        guilty = [name for name in seen if name == forbidden or name.startswith(forbidden + ".")]
        assert guilty == []
