"""Write what is generated, or say what of it is out of date."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from difflib import unified_diff
from pathlib import Path

from reference.files import FILES

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 1 if something is out of date."""
    command = argparse.ArgumentParser(prog="python -m reference", allow_abbrev=False)
    command.add_argument("--check", action="store_true", help="write nothing, show what differs")
    check = command.parse_args(arguments).check
    outdated = [path for path in FILES if _differs(path)]
    for path in outdated:
        if check:
            sys.stdout.writelines(_difference(path))
        else:
            _write(path)
    return 1 if check and outdated else 0


def _differs(path: str) -> bool:
    return _present(path) != FILES[path]()


def _present(path: str) -> str:
    file = ROOT / path
    return file.read_text() if file.exists() else ""


def _write(path: str) -> None:
    (ROOT / path).parent.mkdir(exist_ok=True)
    (ROOT / path).write_text(FILES[path]())


def _difference(path: str) -> list[str]:
    before, after = (text.splitlines(keepends=True) for text in (_present(path), FILES[path]()))
    return list(unified_diff(before, after, path, "as the code makes it"))


if __name__ == "__main__":
    sys.exit(main())
