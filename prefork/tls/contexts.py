"""What is spoken with clients: certificates, and the rules for theirs, from the settings."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping

from prefork.errors import UsageError
from prefork.settings import STARTED_IN, Settings

_VERIFY = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
# What OpenSSL's words for it leave in the dark.
_REASONS = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    "NO_START_LINE": "not PEM",
    "PEM_LIB": "not PEM, or not what it should be",
    "BAD_DECRYPT": "the key is encrypted, which is of no use to a server that starts by itself",
    "NO_CIPHER_MATCH": "OpenSSL knows none of these ciphers",
}


class ServerName(ssl.SSLObject):
    """One TLS connection, with the name that the client has asked for: RFC 6066, section 3."""

    name = ""


def context(settings: Settings) -> ssl.SSLContext:
    """What connections begin with: a context that goes over to another, by the name that the
    client asks for.

    Raises:
        UsageError: a file can't be used, or the settings don't go together.
    """
    first = _context(settings, settings.tls_certificate, settings.tls_key, "tls_certificate")
    others = {
        name.lower(): _context(settings, *_files_of(files), "tls_hosts")
        for name, files in settings.tls_hosts.items()
    }

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is None:
            return
        assert isinstance(connection, ServerName)
        connection.name = name
        found = _find(others, name.lower())
        if found is not None:
            connection.context = found

    first.sni_callback = choose
    return first


def _context(settings: Settings, certificate: str, key: str, setting: str) -> ssl.SSLContext:
    result = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    result.sslobject_class = ServerName
    result.minimum_version = _VERSIONS[settings.tls_min_version]
    result.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # A client that knows only others is served all the same: what it then gets is HTTP/1.1.
    result.set_alpn_protocols(["http/1.1"])
    _load_certificate(result, certificate, key, setting)
    if settings.tls_ciphers:
        try:
            result.set_ciphers(settings.tls_ciphers)
        except ssl.SSLError as error:
            why = f"[tls] ciphers = {settings.tls_ciphers}: {_words(error)}"
            raise UsageError(why, "tls_ciphers") from None
    if settings.tls_ca:
        _load_authorities(result, settings.tls_ca)
    result.verify_mode = _VERIFY[settings.tls_verify]
    return result


def _load_certificate(result: ssl.SSLContext, certificate: str, key: str, setting: str) -> None:
    path, key_path = _path(certificate), _path(key) if key else None
    # OpenSSL does not say which of the two it can't open.
    for name, file in (
        (setting, path),
        ("tls_key" if setting != "tls_hosts" else setting, key_path),
    ):
        _check_readable(file, name)
    try:
        result.load_cert_chain(path, key_path, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        files = certificate if key_path is None else f"{certificate} with {key}"
        raise UsageError(f"{_shown(setting)} = {files}: {_words(error)}", setting) from None


def _load_authorities(result: ssl.SSLContext, ca: str) -> None:
    path = _path(ca)
    _check_readable(path, "tls_ca")
    try:
        if os.path.isdir(path):
            result.load_verify_locations(capath=path)
        else:
            result.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise UsageError(f"[tls] ca = {ca}: {_words(error)}", "tls_ca") from None


def _check_readable(path: str | None, setting: str) -> None:
    if path is None or os.path.isdir(path):
        return
    try:
        open(path, "rb").close()
    except OSError as error:
        raise UsageError(f"{_shown(setting)} = {path}: {error.strerror}", setting) from None


def _files_of(files: str) -> tuple[str, str]:
    """The certificate and the key of `CERTIFICATE[:KEY]`."""
    certificate, _, key = files.partition(":")
    return certificate, key


def _find(others: Mapping[str, ssl.SSLContext], name: str) -> ssl.SSLContext | None:
    """By the name itself, or by a wildcard in the place of its first label."""
    return others.get(name) or others.get("*." + name.partition(".")[2])


def _shown(setting: str) -> str:
    """A setting as it stands in the table of TOML."""
    return "[tls] " + setting.removeprefix("tls_")


def _path(path: str) -> str:
    return os.path.join(STARTED_IN, path)


def _no_password() -> str:
    """Asked for the password of a key, OpenSSL would ask the terminal."""
    return ""


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None) or ""
    return _REASONS.get(reason, reason.replace("_", " ").lower() or str(error))
