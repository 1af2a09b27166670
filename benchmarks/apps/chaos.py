"""Notes each request in a journal when it is executed; answers with its id and the worker's pid.

The journal is the file that the variable CHAOS_JOURNAL names: see benchmarks/chaos/journal.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

JOURNAL = os.open(os.environ["CHAOS_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    size = int(environ.get("CONTENT_LENGTH") or 0)
    if size and len(environ["wsgi.input"].read(size)) < size:
        raise OSError("the body is not whole")
    note = b"%-16s %8d" % (environ["QUERY_STRING"].encode(), os.getpid())
    # One write to the end: whole, whoever else writes.
    os.write(JOURNAL, note + b"\n")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(note)))])
    return [note]
