"""The corpus, fed to the parser: whole, byte by byte, and with another request behind it."""

from __future__ import annotations

import pytest
import tomli

from prefork.errors import HTTPError
from prefork.http.parser import RequestParser
from prefork.http.request import Limits, Request
from tests import corpus
from tests.corpus import CASES, TAIL, Case

LIMITS = Limits(corpus.LINE, corpus.FIELDS, corpus.FIELD_SIZE, corpus.BODY)
ALL = [case for cases in CASES.values() for case in cases]
cases = pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)


def test_the_corpus_is_large_and_says_where_it_comes_from() -> None:
    assert len(ALL) >= 300
    assert len({case.name for case in ALL}) == len(ALL)
    for path in corpus.FILES:
        assert tomli.loads(path.read_text())["rfc"].startswith("RFC ")


def parse(pieces: list[bytes], streaming: bool) -> tuple[list[Request], int]:
    """The requests in the pieces, and the status of the error after them, 0 without one."""
    parser = RequestParser({"SCRIPT_NAME": ""}, ("10.0.0.1", "1"), LIMITS, streaming)
    try:
        for piece in pieces:
            parser.feed(piece)
    except HTTPError as error:
        return list(parser.requests), error.status
    return list(parser.requests), 0


def check(case: Case, requests: list[Request]) -> None:
    assert len(requests) == len(case.requests)
    for request, expected in zip(requests, case.requests, strict=True):
        body = b"" if request.body is None else request.body.finish().read()
        assert expected.differences(request.environ, body.decode("latin-1")) == []


@cases
def test_a_case_is_what_it_should_be(case: Case) -> None:
    for streaming in (False, True):
        requests, status = parse([case.data + case.behind], streaming)
        assert status == case.refused
        check(case, requests)
        if not case.refused:
            assert requests[-1].persistent is case.persistent


@cases
def test_a_case_is_the_same_byte_by_byte(case: Case) -> None:
    for streaming in (False, True):
        requests, status = parse([bytes([byte]) for byte in case.data + case.behind], streaming)
        assert status == case.refused
        check(case, requests)


@cases
def test_a_case_is_the_same_with_another_request_behind_it(case: Case) -> None:
    for streaming in (False, True):
        requests, status = parse([case.data + case.behind + TAIL], streaming)
        assert status == case.refused
        if not case.refused and case.persistent:
            assert requests.pop().environ["PATH_INFO"] == "/tail"
        check(case, requests)
