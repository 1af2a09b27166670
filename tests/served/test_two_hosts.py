"""Two hosts behind a proxy, by its sample file: one after the other is restarted, and no request is
lost."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import tomli

from tests.support.clients import Client, Load
from tests.support.nginx import needs_nginx
from tests.support.proxies import HAProxy, Nginx, Proxy, needs_haproxy, sample
from tests.support.server import Server, eventually

# Whatever it is asked for, it says who it is, who has asked, and what it was sent.
APP = """
import hashlib, json, os

def app(environ, start_response):
    keys = ["REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST"]
    told = {
        "host": os.environ["HOST"],
        "client": [environ[key] for key in keys],
        "digest": hashlib.sha256(environ["wsgi.input"].read()).hexdigest(),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
"""
BODY = os.urandom(10_000)
# What a client may say of itself, and should not be believed.
LIES = {
    "Forwarded": "for=198.51.100.9;proto=https;host=liar.example",
    "X-Forwarded-For": "198.51.100.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "liar.example",
}


class Host:
    """A host that runs prefork, and can be started again at the same address."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Bound, not listening: so nobody else is given the port while there is no server.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._port.getsockname()[1]}"
        self._starts = 0

    def start(self, settings: dict[str, Any]) -> None:
        """Start its server."""
        self._starts += 1
        directory = self._directory / str(self._starts)
        directory.mkdir(parents=True)
        (directory / "told.py").write_text(APP)
        own = {**settings, "bind": self.address, "env": {"HOST": self.name}}
        self.server = Server("told:app", directory, own)

    @property
    def name(self) -> str:
        """What its app says of itself: another name after each start."""
        return f"{self._directory.name}.{self._starts}"

    def close(self) -> None:
        """Leave nothing of it."""
        if self._starts:
            print(f"----- the log of {self.name} -----\n{self.server.log}")
            self.server.kill()
        self._port.close()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    """Two of them, not started."""
    with ExitStack() as stack:
        hosts = [Host(tmp_path / name) for name in ("one", "two")]
        for host in hosts:
            stack.callback(host.close)
        yield hosts


def settings_of(name: str) -> dict[str, Any]:
    """The settings that a sample file wants the hosts to have, but for a proxy that is here, and
    for the end of the delay, which a second SIGTERM brings about."""
    lines = re.findall(r"^#   (\w+ = .*)$", sample(name), re.MULTILINE)
    settings = tomli.loads("\n".join(lines))
    assert settings["forwarded_allow_ips"] == ["192.0.2.1"]
    return {**settings, "forwarded_allow_ips": ["127.0.0.1"], "drain_delay": 600, "workers": 2}


@pytest.mark.parametrize(
    ("proxy_class", "name", "shorter"),
    [
        pytest.param(HAProxy, "haproxy.cfg", {"inter 1s": "inter 200ms"}, marks=needs_haproxy),
        pytest.param(Nginx, "nginx.conf", {"timeout=15s": "timeout=3s"}, marks=needs_nginx),
    ],
    ids=["haproxy", "nginx"],
)
def test_no_request_is_lost_while_two_hosts_are_restarted_one_after_the_other(
    hosts: list[Host],
    tmp_path: Path,
    proxy_class: type[Proxy],
    name: str,
    shorter: dict[str, str],
) -> None:
    settings = settings_of(name)
    served: set[str] = set()

    def told(client: Client, method: str, body: bytes, headers: dict[str, str]) -> None:
        answer = client.ask("/", method, body, headers)
        assert answer.status == 200
        found = json.loads(answer.body)
        assert found["client"] == ["127.0.0.1", "http", f"127.0.0.1:{client.port}"]
        assert found["digest"] == hashlib.sha256(body).hexdigest()
        served.add(found["host"])

    def get(client: Client) -> None:
        told(client, "GET", b"", {})

    def post(client: Client) -> None:
        told(client, "POST", BODY, {})

    def lie(client: Client) -> None:
        told(client, "POST", BODY, LIES)

    def answered(host: Host) -> None:
        eventually(lambda: host.name in served, f"an answer of {host.name}")

    for host in hosts:
        host.start(settings)
    for host in hosts:
        host.server.started()
    (tmp_path / "proxy").mkdir()
    addresses = [host.address for host in hosts]
    with (
        proxy_class(tmp_path / "proxy", addresses, shorter) as proxy,
        Load(proxy.client, [get, post, lie], clients=12) as load,
    ):
        for number, host in enumerate(hosts):
            answered(host)
            host.server.send(signal.SIGTERM)
            proxy.avoid(number)
            load.answer(20)
            assert host.server.stop() == 0
            host.start(settings)
            answered(host)
    assert load.losses == []
    assert len(served) == 4
