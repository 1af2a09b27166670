"""The addresses of those who are trusted, as operators write them."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network

from prefork.errors import UsageError


class Networks:
    """Some addresses and networks, or all of them.

    Args:
        texts: each an address, a network (10.0.0.0/8), or `*`.
        setting: where they stand.

    Raises:
        UsageError: one is none of these.
    """

    def __init__(self, texts: list[str], setting: str) -> None:
        self._all = "*" in texts
        try:
            self._networks = [ip_network(text) for text in texts if text != "*"]
        except ValueError as error:
            raise UsageError(f"{setting}: {error}", setting) from None
        self._has = lru_cache(maxsize=1024)(self._look_up)

    def __contains__(self, host: object) -> bool:
        """Whether this is one of them; who comes by a unix socket, and has no address, is."""
        return self._all or not host or self._has(host)

    def _look_up(self, host: object) -> bool:
        try:
            address = ip_address(str(host))
        except ValueError:
            return False
        return any(address in network for network in self._networks)
