"""Forwarded fields over real connections: from whom they are believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.support.clients import Client, UnixClient
from tests.support.modes import Mode
from tests.support.nginx import Nginx, needs_nginx
from tests.support.server import PATIENCE

CONTRACT = "tests.apps.contract:app"
SAID = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}


def environ_of(client: Client, **headers: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client.ask("/", headers=headers).body)
    return found


def test_a_trusted_proxy_is_believed_in_each_request_by_itself(serve: Serve, mode: Mode) -> None:
    server = serve(CONTRACT, **mode.settings)
    with server.client() as client:
        for _ in range(3):  # as parsed, and as recognized
            told = environ_of(client, **SAID)
            assert told["REMOTE_ADDR"] == "192.0.2.1"
            assert (told["wsgi.url_scheme"], told["HTTPS"]) == ("https", "on")
            assert told["HTTP_X_FORWARDED_FOR"] == "192.0.2.1"
            plain = environ_of(client)
            assert (plain["REMOTE_ADDR"], plain["wsgi.url_scheme"]) == ("127.0.0.1", "http")


def test_others_are_not_believed_and_the_app_can_see_what_they_said(serve: Serve) -> None:
    server = serve(CONTRACT, forwarded_allow_ips=["192.0.2.0/24"])
    with server.client() as client:
        for _ in range(3):
            told = environ_of(client, **SAID)
            assert (told["REMOTE_ADDR"], told["wsgi.url_scheme"]) == ("127.0.0.1", "http")
            assert told["HTTP_X_FORWARDED_PROTO"] == "https"


def test_a_proxy_at_a_unix_socket_is_believed(serve: Serve, tmp_path: Path) -> None:
    serve(CONTRACT, bind=f"unix:{tmp_path}/sock", forwarded_allow_ips=["192.0.2.9"])
    with UnixClient(f"{tmp_path}/sock", PATIENCE) as client:
        assert environ_of(client, **SAID)["REMOTE_ADDR"] == "192.0.2.1"


def test_the_access_log_shows_the_client(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    server = serve(CONTRACT, access_log=str(log), access_log_format="%(h)s")
    with server.client() as client:
        environ_of(client, **SAID)
    server.stop()
    assert log.read_text() == "192.0.2.1\n"


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "somebody", "1.2.3"])
def test_what_is_no_network_is_refused(start: Serve, wrong: str) -> None:
    server = start(CONTRACT, forwarded_allow_ips=[wrong])
    assert server.wait() == 2
    assert "conf.toml:2: forwarded_allow_ips: " in server.log


def test_the_platform_names_the_proxies(serve: Serve) -> None:
    server = serve(CONTRACT, environ={"FORWARDED_ALLOW_IPS": "192.0.2.9, 127.0.0.0/8"})
    with server.client() as client:
        assert environ_of(client, **SAID)["REMOTE_ADDR"] == "192.0.2.1"


@needs_nginx
def test_behind_nginx_the_client_is_its_client(serve: Serve, tmp_path: Path) -> None:
    server = serve(CONTRACT)
    options = {
        "proxy_set_header": "X-Forwarded-For $proxy_add_x_forwarded_for",
    }
    with Nginx(f"127.0.0.1:{server.port}", tmp_path, options) as nginx, nginx.client() as client:
        told = environ_of(client, **{"X-Forwarded-For": "6.6.6.6, 192.0.2.1"})
    # nginx has added 127.0.0.1, which is trusted, and vouches for the one before.
    assert told["REMOTE_ADDR"] == "192.0.2.1"
