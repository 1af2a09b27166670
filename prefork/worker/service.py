"""What a worker serves, and how: what the settings say, in the words of those who do it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from prefork.accesslog import AccessLogger, names_request_id
from prefork.environ import environ_template, secure_variables
from prefork.http.heads import Heads
from prefork.http.parser import RequestParser
from prefork.http.request import Limits
from prefork.http.request_id import RequestIds
from prefork.networks import Networks
from prefork.settings import idle_timeout, request_timeout, standstill_timeout
from prefork.statsd import StatsD, count_logs, statsd
from prefork.wire.assignment import Assignment
from prefork.wire.introduction import Secure
from prefork.worker.kind import Kind
from prefork.worker.transport import Waiting


class Entrance:
    """Where connections come in: what all requests by one listener have in common.

    Args:
        template: the environ that each request begins with.
        limits: what is accepted.
        streaming: whether bodies are read while they arrive.
        proxies: who is believed what it says of clients.
        request_ids: what gives requests their ids, if anybody wants them.
    """

    def __init__(
        self,
        template: dict[str, Any],
        limits: Limits,
        streaming: bool,
        proxies: Networks,
        request_ids: RequestIds | None,
    ) -> None:
        self.proxies = proxies
        self.request_ids = request_ids
        self._template = template
        self._limits = limits
        self._streaming = streaming
        self.heads = Heads(limits.line)

    def secured(self, secure: Secure) -> Entrance:
        """The entrance of one connection, of which this is known: nothing of it is for others."""
        template = self._template | secure_variables(secure)
        return Entrance(template, self._limits, self._streaming, self.proxies, self.request_ids)

    def parser(self, peer: tuple[str, str]) -> RequestParser:
        """A parser for the requests of this client."""
        return RequestParser(self._template, peer, self._limits, self._streaming)


@dataclass(frozen=True)
class Service:
    """What is served, and how: `patience` are the seconds that each wait for a client may take,
    `quota` the bytes that it has to send or take within these, `pulse` the seconds after which the
    worker must have shown that it lives, `request_timeout` those that a request may take beside the
    loop; `timed` says whether it has to be known when requests began."""

    kind: Kind
    entrances: tuple[Entrance, ...]
    patience: dict[Waiting, float]
    quota: dict[Waiting, float]
    pulse: float
    request_timeout: float
    timed: bool
    keeps_alive: bool
    access: AccessLogger | None
    # Whether exchanges are counted in the tally.
    counted: bool
    statsd: StatsD | None


def service(assignment: Assignment, kind: Kind) -> Service:
    """What the settings say of how the app is to be served."""
    settings = assignment.settings
    access = None
    if assignment.surroundings.logs.access is not None:
        access = AccessLogger(settings.access_log_format, assignment.surroundings.logs.access)
    counted = bool(settings.metrics_bind)
    told = statsd(settings)
    if told is not None:
        count_logs(told)
    return Service(
        kind=kind,
        entrances=_entrances(assignment, kind),
        patience={
            Waiting.NEXT_REQUEST: idle_timeout(settings),
            Waiting.HEAD: settings.header_timeout,
            Waiting.BODY: settings.body_timeout,
            Waiting.CLIENT: settings.send_timeout,
            Waiting.APP: math.inf,
        },
        quota={
            Waiting.BODY: max(1, settings.client_rate * settings.body_timeout),
            Waiting.CLIENT: max(1, settings.client_rate * settings.send_timeout),
        },
        pulse=standstill_timeout(settings) / 4,
        request_timeout=request_timeout(settings),
        timed=bool(access or told or counted or settings.request_timeout),
        keeps_alive=settings.keepalive > 0,
        access=access,
        counted=counted,
        statsd=told,
    )


def _entrances(assignment: Assignment, kind: Kind) -> tuple[Entrance, ...]:
    settings = assignment.settings
    limits = Limits(
        line=settings.limit_request_line,
        fields=settings.limit_request_fields,
        field_size=settings.limit_request_field_size,
        body=settings.limit_request_body,
    )
    errors = assignment.surroundings.logs.stream()
    templates = (
        environ_template(
            scheme="http",
            errors=errors,
            multithread=kind.multithread,
            server=(listener.name, listener.port),
            worker=assignment.id,
        )
        for listener in assignment.surroundings.listeners
    )
    proxies = Networks(settings.forwarded_allow_ips, "forwarded_allow_ips")
    ids = _request_ids(assignment)
    return tuple(Entrance(template, limits, kind.streams, proxies, ids) for template in templates)


def _request_ids(assignment: Assignment) -> RequestIds | None:
    """One for all entrances, or none where nobody asks for ids."""
    settings = assignment.settings
    logged = assignment.surroundings.logs.access is not None
    if settings.request_id or (logged and names_request_id(settings.access_log_format)):
        return RequestIds(settings.request_id_header)
    return None
