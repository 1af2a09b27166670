"""Certificates, and clients that speak TLS."""

from __future__ import annotations

import http.client
import socket
import ssl
from pathlib import Path

import trustme

from tests.support.clients import Client


class Authority:
    """An authority, with the files of what it has certified.

    Args:
        directory: where the files go.
    """

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self._directory = directory
        self.path = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.path))

    def certify(self, file: str, *names: str, common_name: str | None = None) -> str:
        """Write a new certificate with its key: the path."""
        path = str(self._directory / file)
        issued = self._ca.issue_cert(*names, common_name=common_name)
        issued.private_key_and_cert_chain_pem.write_to_path(path)
        return path

    def context(self, certificate: str = "") -> ssl.SSLContext:
        """What a client needs that trusts this authority, and shows this certificate."""
        context = ssl.create_default_context(cafile=str(self.path))
        if certificate:
            context.load_cert_chain(certificate)
        return context


class TLSClient(Client):
    """A keep-alive client that speaks TLS.

    Args:
        port: of the server, at 127.0.0.1.
        context: whom it trusts.
        name: whom it asks for.
        timeout: seconds.
    """

    def __init__(
        self, port: int, context: ssl.SSLContext, name: str = "localhost", timeout: float = 30.0
    ) -> None:
        super().__init__(port, timeout)
        self._context = context
        self._name = name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)

    @property
    def serial(self) -> str:
        """The number of the server's certificate."""
        assert isinstance(self.sock, ssl.SSLSocket)
        return str((self.sock.getpeercert() or {})["serialNumber"])


def connect(port: int, context: ssl.SSLContext, name: str = "localhost") -> ssl.SSLSocket:
    """A bare socket that speaks TLS."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    return context.wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=False)
