"""A reload as data: what there is yet to do of it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from prefork.master.life import Worker


@dataclass
class Rollout:
    """A reload under way: the generation that it brings, the slots that it has yet to fill, the
    number of slots when it is done, and the one to go back to if it fails.

    A new worker is `baking` for `bake` seconds, until `baked_at`, before it replaces the old one
    of its slot, which serves on meanwhile. The first of them is the canary.
    """

    generation: int
    slots: set[int]
    size: int
    size_before: int
    since: float
    bake: float = 0.0
    baking: Worker | None = None
    baked_at: float = math.inf
