"""The kinds of worker, and the ways in which connections come to them.

What a server promises, it promises in every mode: a test that takes the fixture `mode` runs in all
of them, one that takes `kind` with each kind of worker, where connections come by the usual way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

KINDS = ("sync", "threads", "gevent")
DISPATCHES = ("round-robin", "shared")
THREADS = 4


@dataclass(frozen=True)
class Mode:
    """A kind of worker and a dispatch."""

    kind: str
    dispatch: str = "round-robin"

    def __str__(self) -> str:
        return f"{self.kind}-{self.dispatch}"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that make a server be of this mode."""
        chosen: dict[str, Any] = {"worker_class": self.kind}
        if self.kind == "threads":
            chosen["threads"] = THREADS
        if self.dispatch != "round-robin":
            chosen["dispatch"] = self.dispatch
        return chosen

    @property
    def concurrent(self) -> bool:
        """Whether a worker executes several requests at a time."""
        return self.kind != "sync"

    @property
    def streams(self) -> bool:
        """Whether the app is called before the body of its request has arrived."""
        return self.kind == "gevent"

    @property
    def lends(self) -> bool:
        """Whether connections outlive their worker."""
        return self.dispatch == "round-robin"


MODES = [Mode(kind, dispatch) for kind in KINDS for dispatch in DISPATCHES]
