"""Most requests take no time, those for /slow take 300 ms of waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

SLOW = 0.3


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/slow":
        time.sleep(SLOW)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"done\n"]
