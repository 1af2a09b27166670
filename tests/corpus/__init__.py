"""A corpus of requests, by section of the RFCs, each with what is to become of it.

The files are TOML. A case has `raw`, its bytes, or `lines`, which are those of the head, with
`data` behind them. Each character stands for one byte. What is expected of it:

    refused     the status of the answer, after which the connection ends
    sees        variables that the app finds, with their values
    absent      variables that it does not find
    body        what it reads
    requests    a list of these three, where there are several requests, or none before `refused`
    behind      bytes that come with the last ones, and mean nothing
    persistent  whether the connection lives on; it does if nothing is said
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

# Small ones, so that the cases are.
LINE, FIELDS, FIELD_SIZE, BODY = 200, 10, 200, 1000
# What follows a case: it is answered if the connection lives on, and never behind an error.
TAIL = b"GET /tail HTTP/1.1\r\nHost: a\r\n\r\n"

_EXPECTED = {"sees", "absent", "body"}
_KEYS = {"name", "raw", "lines", "data", "refused", "requests", "persistent", "behind"} | _EXPECTED


@dataclass(frozen=True)
class Expected:
    """What the app is to see of one request; a body of None is not looked at."""

    sees: Mapping[str, str]
    absent: tuple[str, ...]
    body: str | None

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Expected:
        return cls(table.get("sees", {}), tuple(table.get("absent", ())), table.get("body"))

    def differences(self, environ: Mapping[str, Any], body: str) -> list[str]:
        """In what a request differs from what is expected."""
        found = [
            f"{key} is {environ.get(key)!r}, not {value!r}"
            for key, value in self.sees.items()
            if environ.get(key) != value
        ]
        found += [f"{key} is {environ[key]!r}" for key in self.absent if key in environ]
        if self.body is not None and body != self.body:
            found.append(f"the body is {body!r}, not {self.body!r}")
        return found


@dataclass(frozen=True)
class Case:
    """Bytes, and what is expected of them: these requests, and then an error if `refused` is not 0;
    else whether the connection lives on."""

    name: str
    data: bytes
    behind: bytes
    requests: list[Expected]
    refused: int
    persistent: bool


def read(path: Path) -> Iterator[Case]:
    """The cases of a file."""
    for table in tomli.loads(path.read_text())["case"]:
        assert set(table) <= _KEYS, f"{path.name}: {table}"
        if "raw" in table:
            text = table["raw"]
        else:
            text = "\r\n".join([*table["lines"], "", table.get("data", "")])
        refused = table.get("refused", 0)
        if "requests" in table:
            requests = [Expected.of(each) for each in table["requests"]]
        else:
            several = not refused or _EXPECTED & set(table)
            requests = [Expected.of(table)] if several else []
        data, behind = text.encode("latin-1"), table.get("behind", "").encode("latin-1")
        yield Case(table["name"], data, behind, requests, refused, table.get("persistent", True))


FILES = sorted(Path(__file__).parent.glob("*.toml"))
CASES = {path.stem: list(read(path)) for path in FILES}
