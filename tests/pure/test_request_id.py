"""The ids of requests: whose word is taken, and for what."""

from __future__ import annotations

from typing import Any

import pytest

from prefork.http.request_id import RequestIds


def given(said: str | None, trusted: bool = True, header: str = "X-Request-ID") -> str:
    """The id of a request in which this was said."""
    environ: dict[str, Any] = {} if said is None else {"HTTP_X_REQUEST_ID": said}
    RequestIds(header).give(environ, trusted)
    assert environ.get("HTTP_X_REQUEST_ID") == said, "the field is not as it came"
    return str(environ["prefork.request_id"])


def test_a_trusted_proxy_says_the_id() -> None:
    assert given("Root=1-67891233-abcdef012345678912345678") == (
        "Root=1-67891233-abcdef012345678912345678"
    )
    assert given("a" * 128) == "a" * 128


@pytest.mark.parametrize("said", ["", "a" * 129, "a b", 'a"', "a\n", "a\\", "\xe9", "a,b"])
def test_what_is_no_sound_id_is_replaced(said: str) -> None:
    assert given(said) not in ("", said)


def test_nobody_else_says_it() -> None:
    assert given("mine", trusted=False) != "mine"
    assert given("mine", header="") != "mine"
    assert given("mine", header="X-Other") != "mine"


def test_new_ids_differ_in_a_process_and_between_processes() -> None:
    ids = set()
    for process in (RequestIds(""), RequestIds("")):
        for _ in range(100):
            environ: dict[str, Any] = {}
            process.give(environ, trusted=True)
            ids.add(environ["prefork.request_id"])
    assert len(ids) == 200
