"""Look for bytes for which a property does not hold, guided by coverage: atheris.

    python -m tests.fuzz requests -max_total_time=600

The first argument is the property, the others are libFuzzer's. It begins with the seeds.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

# Words that mean something, which would take long to be found by chance.
_WORDS = (
    *("GET ", "POST ", "OPTIONS * ", "CONNECT ", "BREW ", " HTTP/1.1\\x0d\\x0a", " HTTP/1.0"),
    *("\\x0d\\x0a", "\\x0d\\x0a\\x0d\\x0a", "Host: a\\x0d\\x0a", "Content-Length: ", "chunked"),
    *("Transfer-Encoding: ", "Connection: ", "close", "keep-alive", "Upgrade: ", "Expect: "),
    *("100-continue", "0\\x0d\\x0a\\x0d\\x0a", "5\\x0d\\x0a", "http://", "PROXY TCP4 ", "for="),
    "\\x0d\\x0a\\x0d\\x0a\\x00\\x0d\\x0aQUIT\\x0a",
)


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    with atheris.instrument_imports(include=["prefork"]):
        from tests.fuzz.properties import PROPERTIES
        from tests.fuzz.seeds import SEEDS

    name, *options = sys.argv[1:]
    directory = Path(tempfile.mkdtemp(prefix="prefork-fuzz-"))
    seeds, words = directory / "seeds", directory / "words"
    seeds.mkdir()
    for number, data in enumerate(SEEDS[name]):
        (seeds / str(number)).write_bytes(data)
    words.write_text("".join(f'"{word}"\n' for word in _WORDS))
    print(f"what is found is kept in {seeds}", file=sys.stderr)
    arguments = [sys.argv[0], f"-dict={words}", f"-artifact_prefix={directory}/", *options]
    atheris.Setup([*arguments, str(seeds)], PROPERTIES[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
