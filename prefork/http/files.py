"""`wsgi.file_wrapper`: a file that an app returns as its body; what the kernel can send of it."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple


class Extent(NamedTuple):
    """A part of a regular file: whoever sends it has to keep an fd of its own."""

    fd: int
    offset: int
    size: int


class FileWrapper:
    """What PEP 3333 calls a file wrapper: an iterable over a file, for whoever does not know it.

    Args:
        filelike: what has `read`, and maybe `close`.
        block_size: how many bytes each part has at most.
    """

    close: Callable[[], None]

    def __init__(self, filelike: IO[bytes], block_size: int = 8192) -> None:
        self.filelike = filelike
        self.block_size = block_size
        # Taken from the instance: Django puts its own there.
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data = self.filelike.read(self.block_size)
        if not data:
            raise StopIteration
        return data

    def extent(self) -> Extent | None:
        """What is left of the file behind its position, if it is a regular one; None also where
        nothing seems to be left, as the files of /proc tell no size."""
        file: Any = self.filelike
        if not _stands_for_its_fd(file):
            return None
        try:
            if type(file) is io.BufferedRandom:
                file.flush()
            fd = file.fileno()
            status = os.fstat(fd)
            # Of the object, which has read ahead, not of the fd.
            offset = file.tell()
        except (OSError, ValueError):
            return None
        size = status.st_size - offset
        return Extent(fd, offset, size) if stat.S_ISREG(status.st_mode) and size > 0 else None


def _stands_for_its_fd(file: Any) -> bool:
    """Whether reading gives the bytes that the fd has at that position: not so for text, or for
    what unpacks a file, though these have the fd as well."""
    if type(file) in (io.BufferedReader, io.BufferedRandom):
        file = file.raw
    return type(file) is io.FileIO
