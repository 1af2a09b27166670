"""The journal that the app keeps: which request was executed by which process."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path


def executions(journal: Path) -> dict[bytes, list[int]]:
    """The pids of the processes that have executed each request, by its id."""
    found: dict[bytes, list[int]] = defaultdict(list)
    if journal.exists():
        for line in journal.read_bytes().splitlines():
            name, pid = line.split()
            found[name].append(int(pid))
    return found
