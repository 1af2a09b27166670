"""What a worker serves, and how: what the settings say, in the words of those who do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefork.accesslog import AccessLogger
from prefork.http.heads import Heads
from prefork.http.request import Limits, RequestParser
from prefork.worker.kind import Kind
from prefork.worker.transport import Waiting


class Entrance:
    """Where connections come in: what all requests by one listener have in common.

    Args:
        template: the environ that each request begins with.
        limits: what is accepted.
        streaming: whether bodies are read while they arrive.
    """

    def __init__(self, template: dict[str, Any], limits: Limits, streaming: bool) -> None:
        self._template = template
        self._limits = limits
        self._streaming = streaming
        self.heads = Heads(limits.line)

    def parser(self, peer: tuple[str, str]) -> RequestParser:
        """A parser for the requests of this client."""
        return RequestParser(self._template, peer, self._limits, self._streaming)


@dataclass(frozen=True)
class Service:
    """What is served, and how: `patience` are the seconds that each wait for a client may take,
    `pulse` those after which the worker must have shown that it lives, `request_timeout` those that
    a request may take beside the loop; `timed` says whether it has to be known when requests
    began."""

    kind: Kind
    entrances: tuple[Entrance, ...]
    patience: dict[Waiting, float]
    pulse: float
    request_timeout: float
    timed: bool
    keeps_alive: bool
    access: AccessLogger | None
