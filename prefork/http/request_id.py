"""The id of a request, by which it is found in the logs of all that it goes through."""

from __future__ import annotations

import re
import secrets
from itertools import count
from typing import Any

REQUEST_ID = "prefork.request_id"
# What is believed of an id: it goes into logs, and to other services.
_SOUND = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}\Z")


class RequestIds:
    """Gives each request its id: the one that a trusted proxy says, or a new one.

    New ones are a random number of the process, followed by a count.

    Args:
        header: the field that a proxy says it in; if it is empty all ids are new.
    """

    def __init__(self, header: str) -> None:
        self._key = "HTTP_" + header.upper().replace("-", "_") if header else ""
        self._process = secrets.token_hex(8)
        self._count = count(1)

    def give(self, environ: dict[str, Any], trusted: bool) -> None:
        """Put the id into an environ; the header field stays there as it has come.

        Args:
            environ: the request's.
            trusted: whether the client is believed.
        """
        if trusted:
            said = environ.get(self._key)
            if said is not None and _SOUND.match(said):
                environ[REQUEST_ID] = said
                return
        environ[REQUEST_ID] = f"{self._process}-{next(self._count):x}"
