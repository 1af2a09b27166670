"""Where the service lives: paths of the settings are relative to these directories."""

from __future__ import annotations

import os

from prefork.settings.table import Settings


def _started_in() -> str:
    """The shell's `$PWD` keeps the symbolic links that `getcwd()` has resolved."""
    logical = os.environ.get("PWD", "")
    if os.path.isabs(logical) and os.path.isdir(logical) and os.path.samefile(logical, "."):
        return logical
    return os.getcwd()


# Asked once: if a link in it is moved to another release, it is no longer where we are.
STARTED_IN = _started_in()


def home(settings: Settings) -> str:
    """The directory that workers change to, by the path that the operator knows it by."""
    return os.path.join(STARTED_IN, settings.chdir) if settings.chdir else STARTED_IN
