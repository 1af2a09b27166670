"""The CPUs that the control groups of a process leave to it: cgroups(7).

A group has a quota, which is some time of CPU in each period, and so have the groups that it is in:
the least of them holds. Which groups those are, /proc/self/cgroup says by paths; in a container its
own group may stand at the root instead, or the paths may be those of the host, which it does not
see. So groups that are not there are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

_Quota = Callable[[str], "float | None"]

_ROOT = "/sys/fs/cgroup"
_MEMBERSHIP = "/proc/self/cgroup"


def cpu_quota(root: str = _ROOT, membership: str = _MEMBERSHIP) -> float | None:
    """The CPUs that may be used, such as 1.5, by version 1 and 2 of control groups.

    Args:
        root: where the control groups are mounted.
        membership: the file that says which ones the process is in.

    Returns:
        The quota, None if there is none.
    """
    quotas = [quota(group) for quota, group in _groups(root, _read(membership))]
    return min((quota for quota in quotas if quota is not None), default=None)


def _groups(root: str, membership: str) -> Iterator[tuple[_Quota, str]]:
    """The directories of the groups, and how the quota stands there."""
    for line in membership.splitlines():
        hierarchy, _, place = line.partition(":")
        controllers, _, path = place.partition(":")
        if hierarchy == "0":
            # Beside those of version 1 the others have a place of their own.
            for mount in (root, os.path.join(root, "unified")):
                yield from ((_quota_v2, group) for group in _upwards(mount, path))
        elif "cpu" in controllers.split(","):
            # It is mounted by the names of all that it controls, in some order; "cpu" is a link.
            for name in {controllers, "cpu"}:
                mount = os.path.join(root, name)
                yield from ((_quota_v1, group) for group in _upwards(mount, path))


def _upwards(mount: str, path: str) -> Iterator[str]:
    """A group and those that it is in, up to the root."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for count in range(len(parts), -1, -1):
        yield os.path.join(mount, *parts[:count])


def _quota_v2(group: str) -> float | None:
    """Of `cpu.max`: microseconds of CPU, or "max", and those of the period."""
    quota, _, period = _read(os.path.join(group, "cpu.max")).partition(" ")
    return _ratio(quota, period)


def _quota_v1(group: str) -> float | None:
    """Of `cpu.cfs_quota_us`, which is -1 for none, and `cpu.cfs_period_us`."""
    quota = _read(os.path.join(group, "cpu.cfs_quota_us"))
    return _ratio(quota, _read(os.path.join(group, "cpu.cfs_period_us")))


def _ratio(quota: str, period: str) -> float | None:
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None
    return int(quota) / int(period)


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
