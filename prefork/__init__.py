"""prefork: a WSGI server whose clients never notice a deploy, a crash or a recycle."""

from prefork.readiness import ready

__all__ = ["ready"]
__version__ = "0.1.0"
