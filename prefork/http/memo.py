"""Results that are remembered, as clients and apps say the same over and over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V]):
    """A dict that computes the values it lacks, and holds at most twice `bound` of them.

    What was not asked for while `bound` others came is forgotten, at no cost for those that are.

    Args:
        compute: the value of a key; whatever it raises, subscription raises.
        bound: how many values make a generation.
        small: whether a value is small enough to be kept.
    """

    __slots__ = ("_before", "_bound", "_compute", "_small")

    def __init__(self, compute: Callable[[K], V], bound: int, small: Callable[[V], bool]) -> None:
        super().__init__()
        self._compute = compute
        self._bound = bound
        self._small = small
        self._before: dict[K, V] = {}

    def __missing__(self, key: K) -> V:
        value = self._before.get(key)
        if value is None:
            value = self._compute(key)
        if self._small(value):
            self.keep(key, value)
        return value

    def keep(self, key: K, value: V) -> None:
        """Remember a value that was had otherwise."""
        if len(self) >= self._bound:
            self._before = dict(self)
            self.clear()
        self[key] = value

    def find(self, key: K) -> V | None:
        """A value that is remembered, computing none."""
        value = self.get(key)
        if value is None:
            value = self._before.get(key)
            if value is not None:
                self.keep(key, value)
        return value
