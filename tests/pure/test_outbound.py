"""What waits for a client: a part of a file, where the kernel can't send it by itself."""

from __future__ import annotations

import os
from pathlib import Path

from prefork.http.files import Extent
from prefork.worker.outbound import FilePart


def test_a_file_that_sendfile_refuses_is_read_instead(tmp_path: Path) -> None:
    """It refuses to write to what is opened for appending: sendfile(2), EINVAL."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 1000)
    with open(source, "rb") as file, open(target, "ab", buffering=0) as out:
        part = FilePart(Extent(file.fileno(), 100, 200_000))
        while not part.send(out.fileno()):
            pass
        part.close()
    assert target.read_bytes() == source.read_bytes()[100:200_100]
    assert os.path.getsize(target) == 200_000
