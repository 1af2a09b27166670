"""Making the standard library's waits gevent's, before the app is imported.

What the worker itself uses of it, it has imported by name before, so that it is not patched:
gevent's `os.close` and `select.poll` wait for the hub, in which our callbacks run.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType

from gevent import monkey

# These hold what they hold on purpose.
_OURS = ("prefork", "gevent", "greenlet", "zope")

_log = logging.getLogger("prefork.worker")


def patch() -> None:
    """Patch the standard library, and say what was imported too early to be affected."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", monkey.MonkeyPatchWarning)
        monkey.patch_all()
    for warning in caught:
        _log.warning("gevent: %s", warning.message)
    early = sorted(set(_imported_too_early()))
    if early:
        _log.warning(
            "imported before gevent could patch what they use, so they will block: %s",
            ", ".join(early),
        )


def _imported_too_early() -> Iterator[str]:
    """Modules that hold an original of what has been patched, as `from socket import ...` does."""
    originals = {
        id(original): f"{module}.{name}"
        for module, names in monkey.saved.items()  # type: ignore[attr-defined]
        for name, original in names.items()
        if callable(original)
    }
    for name, module in list(sys.modules.items()):
        package = name.partition(".")[0]
        if package in _OURS or package in sys.stdlib_module_names:
            continue
        if not isinstance(module, ModuleType):
            continue
        for value in list(vars(module).values()):
            if id(value) in originals:
                yield f"{name} ({originals[id(value)]})"
