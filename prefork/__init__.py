"""prefork: a WSGI server whose clients never notice a deploy, a crash or a recycle."""

from prefork.errors import RequestTimeout
from prefork.readiness import ready

__all__ = ["RequestTimeout", "ready"]
__version__ = "0.1.0"
# Of the version: what the man pages show.
__date__ = "2026-11-26"
