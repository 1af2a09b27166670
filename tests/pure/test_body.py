"""The body of a request: in memory as long as it is small, in a file when it is not."""

from __future__ import annotations

import errno
import io
import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.errors import HTTPError
from prefork.http.body import SPOOL_SIZE, Body


@pytest.fixture
def body() -> Body:
    return Body(limit=0)


def test_nothing_fed_is_an_empty_body(body: Body) -> None:
    assert body.finish().read() == b""
    assert (body.size, body.spooled) == (0, False)


@given(parts=st.lists(st.binary(max_size=100), max_size=10))
def test_the_parts_come_out_in_one_piece(parts: list[bytes]) -> None:
    body = Body(limit=0)
    for part in parts:
        body.feed(part)
    assert body.finish().read() == b"".join(parts)
    assert body.size == sum(map(len, parts))


@pytest.mark.parametrize(
    ("sizes", "spooled"),
    [
        ([SPOOL_SIZE], False),
        ([SPOOL_SIZE - 1, 1], False),
        ([SPOOL_SIZE + 1], True),
        ([SPOOL_SIZE, 1], True),
        ([SPOOL_SIZE, 1, SPOOL_SIZE, 1], True),
    ],
)
def test_a_body_is_spooled_when_it_is_larger_than_the_spool_size(
    body: Body, sizes: list[int], spooled: bool
) -> None:
    parts = [os.urandom(size) for size in sizes]
    for part in parts:
        body.feed(part)
    file = body.finish()
    assert body.spooled is spooled
    assert isinstance(file, io.BytesIO) is not spooled
    assert file.read() == b"".join(parts)


@pytest.mark.parametrize("size", [10, SPOOL_SIZE + 1])
def test_a_finished_body_is_a_file_like_any_other(body: Body, size: int) -> None:
    body.feed(b"line\n" * (size // 5 + 1))
    file = body.finish()
    assert file.readline() == b"line\n"
    assert file.readlines(4) == [b"line\n"]
    assert next(iter(file)) == b"line\n"
    file.seek(0)
    assert file.read(4) == b"line"


def test_a_spooled_body_leaves_no_name_behind(
    body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    body.feed(b"x" * (SPOOL_SIZE + 1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("parts", [[11], [10, 1], [1] * 11])
def test_a_body_past_its_limit_is_refused_with_413(parts: list[int]) -> None:
    body = Body(limit=10)
    with pytest.raises(HTTPError) as caught:
        for size in parts:
            body.feed(b"x" * size)
    assert caught.value.status == 413
    assert "10 bytes" in caught.value.why


def test_a_body_may_have_its_limit() -> None:
    body = Body(limit=10)
    body.feed(b"x" * 10)
    assert body.finish().read() == b"x" * 10


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond the spool size: as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SPOOL_SIZE, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_body_that_can_not_be_stored_is_refused_with_503(body: Body, small_files: None) -> None:
    with pytest.raises(HTTPError) as caught:
        for _ in range(4):
            body.feed(b"x" * SPOOL_SIZE)
        body.finish()
    assert caught.value.status == 503
    assert os.strerror(errno.EFBIG) in caught.value.why


def test_a_body_for_which_there_is_no_directory_is_refused_with_503(
    body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(HTTPError) as caught:
        body.feed(b"x" * (SPOOL_SIZE + 1))
    assert caught.value.status == 503
