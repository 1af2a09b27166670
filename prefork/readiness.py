"""`prefork.ready()`: how an app says that it can serve, where the setting `wait_ready` is on."""

from __future__ import annotations

from collections.abc import Callable

_listeners: list[Callable[[], None]] = []
# Whether it was said: where the app is preloaded, before anybody listens.
_said = False


def ready() -> None:
    """Report that the app can serve now.

    May be called while the app is imported or later, from any thread, and more than once. Has
    no effect without `wait_ready`, nor outside a prefork worker.
    """
    global _said
    _said = True
    for announce in _listeners:
        announce()


def on_ready(announce: Callable[[], None]) -> None:
    """Have `announce` called, from any thread, when the app calls `ready()`, or now if it has."""
    _listeners.append(announce)
    if _said:
        announce()
