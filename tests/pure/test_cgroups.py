"""The CPUs that control groups leave to a process, in trees like those that platforms make."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefork.cgroups import cpu_quota

HALF = "50000 100000"
V1 = {"cpu.cfs_quota_us": "250000", "cpu.cfs_period_us": "100000"}
NONE_V1 = {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}


def v1(group: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{group}/{name}": content for name, content in files.items()}


TREES: dict[str, tuple[str, dict[str, str], float | None]] = {
    "a container with a name space of its own": (
        "0::/",
        {"cpu.max": "150000 100000"},
        1.5,
    ),
    "no quota": ("0::/", {"cpu.max": "max 100000"}, None),
    "the root of the machine, which has no quota": ("0::/", {}, None),
    "a service of systemd": (
        "0::/system.slice/prefork.service",
        {"system.slice/cpu.max": "max 100000", "system.slice/prefork.service/cpu.max": HALF},
        0.5,
    ),
    "a tighter group around it": (
        "0::/kubepods/pod1/web",
        {
            "kubepods/cpu.max": "800000 100000",
            "kubepods/pod1/cpu.max": "200000 100000",
            "kubepods/pod1/web/cpu.max": "400000 100000",
        },
        2.0,
    ),
    "a neighbour's quota is not ours": ("0::/a", {"b/cpu.max": HALF, "a/cpu.max": "max 1"}, None),
    "a path that only the host sees": ("0::/docker/0123", {"cpu.max": "300000 100000"}, 3.0),
    "a path out of the name space": ("0::/../web", {"cpu.max": "300000 100000"}, 3.0),
    "version 1": ("4:cpu,cpuacct:/\n3:memory:/m", v1("cpu,cpuacct", V1), 2.5),
    "version 1, by the link": ("4:cpuacct,cpu:/", v1("cpu", V1), 2.5),
    "version 1 without a quota": ("4:cpu:/", v1("cpu", NONE_V1), None),
    "version 1 in a container that sees the host's path": (
        "4:cpu,cpuacct:/docker/0123",
        v1("cpu", V1),
        2.5,
    ),
    "version 1, a tighter group around it": (
        "4:cpu:/a/b",
        {**v1("cpu/a", V1), **v1("cpu/a/b", {**V1, "cpu.cfs_quota_us": "900000"})},
        2.5,
    ),
    "the CPU by version 1, the rest by 2": (
        "4:cpu:/a\n0::/a",
        {**v1("cpu/a", V1), "unified/a/cgroup.procs": ""},
        2.5,
    ),
    "other controllers with cpu in their names": ("4:cpuset:/\n5:cpuacct:/", v1("cpu", V1), None),
    "a colon in a name": ("0::/a:b", {"a:b/cpu.max": HALF}, 0.5),
    "nonsense": ("what\n0::/\n:", {"cpu.max": "x y"}, None),
    "a period of nothing": ("0::/", {"cpu.max": "1000 0"}, None),
}


@pytest.mark.parametrize("name", TREES)
def test_the_quota_is_the_least_of_those_that_hold(name: str, tmp_path: Path) -> None:
    membership, files, expected = TREES[name]
    (tmp_path / "membership").write_text(membership + "\n")
    root = tmp_path / "root"
    root.mkdir()
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content + "\n")
    assert cpu_quota(str(root), str(tmp_path / "membership")) == expected


def test_where_there_are_no_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(str(tmp_path), str(tmp_path / "membership")) is None
