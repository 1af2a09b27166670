"""What a process takes of the memory, its share of what it shares with others counted in part."""

from __future__ import annotations

import msgspec

from prefork.wire.control import Status


def with_memory(status: Status) -> Status:
    """The status with each worker's memory. It is found out here, as the kernel has to walk through
    all of it, for which the master has no time."""
    workers = [
        msgspec.structs.replace(worker, memory=_pss(worker.pid)) if worker.pid else worker
        for worker in status.workers
    ]
    return msgspec.structs.replace(status, workers=workers)


def _pss(pid: int) -> int | None:
    """The proportional set size in bytes: proc(5), smaps_rollup. None if it can't be had."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            lines = [line.split() for line in file]
    except OSError:
        return None
    return next((int(words[1]) * 1024 for words in lines if words[0] == "Pss:"), None)
