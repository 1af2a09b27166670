"""With `reload`, an app that can't be had is replaced by one that shows why.

Its page asks for itself again, so it gives way to the app as soon as that is mended.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Callable, Iterable
from typing import Any

from prefork import readiness
from prefork.errors import BootError
from prefork.worker.app import load_app
from prefork.worker.probe import KEY
from prefork.wsgi import App

_PAGE = """\
<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="1">
<title>The app is broken</title>
</head>
<body>
<h1>The app is broken</h1>
<p>This page comes again each second, until the app does.</p>
<pre>{why}</pre>
</body>
</html>
"""

_log = logging.getLogger("prefork.worker")


def load_or_show(name: str) -> App:
    """Import the app, or make one that shows why that can't be done; it is logged as well.

    Args:
        name: the setting `app`.
    """
    try:
        return load_app(name)
    except BootError as error:
        _log.error("%s", error)
        # The app would have said so itself.
        readiness.ready()
        return _showing(str(error))


def _showing(why: str) -> App:
    # What an app raises may not be Unicode throughout.
    page = _PAGE.format(why=html.escape(why)).encode("utf-8", "replace")
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(page))),
        ("Cache-Control", "no-store"),
    ]

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # To be ready is all that it is asked for by the probe.
        start_response("200 OK" if KEY in environ else "500 Internal Server Error", list(headers))
        return [page]

    return app
