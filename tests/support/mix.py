"""What clients ask of `tests.apps.mix`: actions for a `Load`, each raising if it is not served."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from tests.support.clients import Client

APP = "tests.apps.mix:app"
BODY = os.urandom(100_000)
DIGEST = hashlib.sha256(BODY).hexdigest()
STREAM = "".join(f"line {number}\n" for number in range(20))


def fast(client: Client) -> None:
    """A request that is answered at once."""
    assert client.ask("/").text == "fast\n"


def slow(client: Client) -> None:
    """One that takes a while."""
    assert client.ask("/slow?0.05").text == "slow\n"


def streaming(client: Client) -> None:
    """One whose response comes in parts."""
    assert client.ask("/stream").text == STREAM


def upload(client: Client) -> None:
    """One with a body."""
    assert client.ask("/upload", "POST", BODY).text == DIGEST


MIX: list[Callable[[Client], None]] = [fast, fast, fast, slow, streaming, upload]
