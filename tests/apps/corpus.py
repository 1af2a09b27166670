"""Answers with what it has got: the environ, as far as it is text, and the body."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = environ["wsgi.input"].read().decode("latin-1")
    told = {key: value for key, value in environ.items() if isinstance(value, str)}
    answer = json.dumps({"environ": told, "body": body}).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer]
