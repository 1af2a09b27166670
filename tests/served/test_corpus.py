"""The corpus, over sockets, to every kind of worker: whole, byte by byte, and with another request
behind it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import corpus
from tests.corpus import CASES, TAIL, Case, Expected
from tests.support.modes import Mode
from tests.support.rawhttp import Response, Wire, running
from tests.support.server import Server


@pytest.fixture(scope="module")
def server(kind: Mode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory: Path = tmp_path_factory.mktemp("corpus")
    limits = {
        "limit_request_line": corpus.LINE,
        "limit_request_fields": corpus.FIELDS,
        "limit_request_field_size": corpus.FIELD_SIZE,
        "limit_request_body": corpus.BODY,
    }
    with running("tests.apps.corpus:app", directory, workers=1, **limits, **kind.settings) as it:
        yield it


def send(wire: Wire, case: Case, way: str) -> None:
    if way == "byte by byte":
        # It may be refused before it has ended.
        with contextlib.suppress(OSError):
            for byte in case.data:
                wire.send(bytes([byte]))
    else:
        wire.send(case.data + case.behind + (TAIL if way == "with a tail" else b""))


def response(wire: Wire, method: str = "GET") -> Response:
    """The next final response."""
    while (found := wire.response(method)).status == 100:
        pass
    return found


def check_seen(wire: Wire, expected: Expected) -> None:
    method = expected.sees.get("REQUEST_METHOD", "GET")
    found = response(wire, method)
    assert found.status == 200, found.body
    if method != "HEAD":
        seen = json.loads(found.body)
        assert expected.differences(seen["environ"], seen["body"]) == []


def check(server: Server, case: Case, way: str) -> None:
    with Wire(server.port) as wire:
        send(wire, case, way)
        for expected in case.requests:
            check_seen(wire, expected)
        if case.refused:
            refusal = response(wire)
            assert (refusal.status, refusal.get("Connection")) == (case.refused, "close")
            wire.assert_closed()
        elif not case.persistent:
            wire.assert_closed()
        else:
            if way != "with a tail":
                wire.send(TAIL)
            check_seen(wire, Expected({"PATH_INFO": "/tail"}, (), ""))


@pytest.mark.parametrize("way", ["whole", "byte by byte", "with a tail"])
@pytest.mark.parametrize("name", CASES)
def test_each_case_is_answered_as_it_should_be(server: Server, name: str, way: str) -> None:
    for case in CASES[name]:
        try:
            check(server, case, way)
        except (AssertionError, OSError) as error:
            raise AssertionError(f"{case.name}: {error}") from error
    assert "Traceback" not in server.log
