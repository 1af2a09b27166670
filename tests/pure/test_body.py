"""The body of a request: in memory as long as it is small, in a file when it is not; or read while
it arrives."""

from __future__ import annotations

import errno
import io
import os
import resource
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.errors import HTTPError
from prefork.http.body import SPOOL_SIZE, Body, Stream


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


# Read while it arrives.

TEXT = b"one\ntwo\n\nthree"


class Arriving:
    """A stream of which the next part arrives when the app waits for it."""

    def __init__(self, parts: list[bytes]) -> None:
        self.stream = Stream(sum(map(len, parts)), expects=False)
        self.stream.wait = self._next
        self.parts = parts
        self.waits = 0

    def _next(self) -> None:
        self.waits += 1
        self.stream.feed(self.parts.pop(0))

    @property
    def file(self) -> IO[bytes]:
        return self.stream.finish()


@given(
    parts=st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=8),
    sizes=st.lists(st.integers(1, 150), min_size=1, max_size=4),
)
def test_a_stream_is_read_in_any_sizes_however_it_arrives(
    parts: list[bytes], sizes: list[int]
) -> None:
    whole = b"".join(parts)
    file = Arriving(list(parts)).file
    got = b""
    while len(got) < len(whole):
        size = sizes[len(got) % len(sizes)]
        part = file.read(size)
        assert len(part) == min(size, len(whole) - len(got))
        got += part
    assert got == whole
    assert file.read(1) == file.read() == file.readline() == b""


@given(cuts=st.sets(st.integers(1, len(TEXT) - 1)))
def test_a_stream_has_the_lines_of_a_file(cuts: set[int]) -> None:
    places = [0, *sorted(cuts), len(TEXT)]
    parts = [TEXT[start:end] for start, end in pairwise(places)]
    assert list(Arriving(list(parts)).file) == io.BytesIO(TEXT).readlines()
    file = Arriving(list(parts)).file
    assert [file.readline(2), file.readline(), file.read(1)] == [b"on", b"e\n", b"t"]
    assert Arriving(list(parts)).file.readlines() == io.BytesIO(TEXT).readlines()


def test_an_app_waits_for_a_stream_only_when_nothing_is_there() -> None:
    arriving = Arriving([b"ab", b"cd"])
    file = arriving.file
    assert (file.read(1), arriving.waits) == (b"a", 1)
    assert (file.read(1), arriving.waits) == (b"b", 1)
    assert (file.read(2), arriving.waits) == (b"cd", 2)
    assert (file.read(1), arriving.waits) == (b"", 2)


def test_a_line_is_given_out_before_what_follows_it_has_arrived() -> None:
    arriving = Arriving([b"one\n", b"two\n"])
    assert (arriving.file.readline(), arriving.waits) == (b"one\n", 1)


def test_a_stream_counts_what_has_not_been_read_and_what_has_not_arrived() -> None:
    stream = Stream(10, expects=False)
    counts = [(stream.held, stream.left, stream.complete)]
    stream.feed(b"123456")
    counts.append((stream.held, stream.left, stream.complete))
    buffer = bytearray(4)
    assert (stream.readinto(buffer), buffer) == (4, b"1234")
    counts.append((stream.held, stream.left, stream.complete))
    stream.feed(b"7890")
    counts.append((stream.held, stream.left, stream.complete))
    assert counts == [(0, 10, False), (6, 4, False), (2, 4, False), (6, 0, True)]


def test_what_arrived_before_a_stream_failed_can_be_read_and_then_each_read_raises() -> None:
    stream = Stream(10, expects=False)
    stream.feed(b"12")
    stream.failure = TimeoutError("nothing comes")
    file = stream.finish()
    assert file.read(2) == b"12"
    for _ in range(2):
        with pytest.raises(TimeoutError, match="nothing comes"):
            file.read(1)
    with pytest.raises(OSError, match="nothing comes"):
        file.readline()


def test_a_stream_that_nobody_wants_is_forgotten_as_it_comes() -> None:
    stream = Stream(10, expects=False)
    stream.feed(b"12")
    stream.discard()
    stream.feed(b"345678")
    assert (stream.held, stream.left) == (0, 2)
    assert stream.finish().read() == b""


@pytest.mark.parametrize(
    ("size", "expects", "fed", "most", "comes"),
    [
        (10, False, 0, 10, True),
        (10, False, 0, 9, False),
        (10, False, 1, 9, True),
        (10, True, 0, 10, False),
        (10, True, 10, 10, True),
    ],
)
def test_what_is_left_of_a_stream_may_be_worth_waiting_for(
    size: int, expects: bool, fed: int, most: int, comes: bool
) -> None:
    """But never what its client does not send before it is told to."""
    stream = Stream(size, expects)
    stream.feed(b"x" * fed)
    assert stream.comes(most) is comes


def test_a_stream_can_not_be_waited_for_outside_of_its_request() -> None:
    with pytest.raises(OSError, match="outside of its request"):
        Stream(10, expects=False).finish().read()
