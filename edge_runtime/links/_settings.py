"""What every MQTT link needs to know, and the checks of it that need no network."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime.errors import ConfigError
from edge_runtime.links._token import Pkcs11, as_token

_AWS_ALPN = "x-amzn-mqtt-ca"
"""The ALPN name of MQTT with a client certificate on port 443 (AWS IoT developer guide, "Device communication")."""

_HTTPS = 443
"""The port on which MQTT is asked for by ALPN."""

_MOST_CLIENT_ID_BYTES = 128
_MOST_KEEP_ALIVE_S = 1200
_MOST_SESSION_S = 0xFFFF_FFFF


@dataclass(kw_only=True, eq=False)
class Settings:
    """The fields that the MQTT links share. All are checked when the link is made."""

    endpoint: str
    """The broker's host name, alone: `a1b2c3-ats.iot.eu-west-1.amazonaws.com`."""
    client_id: str
    """Names the session at the broker, one connection at a time. AWS policies expect the name of the thing."""
    port: int = 0
    """0: 8883 with TLS, else 1883. On 443 the link asks for AWS's MQTT by ALPN."""
    tls: bool | None = None
    """Left out: TLS when a certificate or a CA is given or the port is 443 or 8883."""
    certificate: str | Path = ""
    """The device certificate, a PEM file."""
    key: str | Path = ""
    """The private key of the certificate, a PEM file."""
    pkcs11: Pkcs11 | None = None
    """Instead of `key`: the token that holds the private key, `{module:, token:, key:, pin_file:}`."""
    ca: str | Path = ""
    """Who must have signed the broker's certificate, a PEM file. Left out: those whom the system trusts."""
    username: str = ""
    password: str = field(default="", repr=False)
    keep_alive_s: int = 60
    """A dead connection is noticed after one and a half times this. AWS IoT Core takes 30 to 1200."""
    session_expiry_s: int = 604_800
    """How long the broker keeps the session, and messages for it, while the link is away (MQTT 5)."""
    connect_timeout_s: float = 30.0
    """One attempt, from the look-up of the name to the last SUBACK, may take this long; a connect that nobody answers
    within 10 s is given up before."""

    def __post_init__(self) -> None:
        """Check everything. Raises: ConfigError naming the field."""
        _check_endpoint(self.endpoint)
        _check_client_id(self.client_id)
        _check_number("port", self.port, 0, 65535)
        _check_number("keep_alive_s", self.keep_alive_s, 1, _MOST_KEEP_ALIVE_S)
        _check_number("session_expiry_s", self.session_expiry_s, 0, _MOST_SESSION_S)
        _check_number("connect_timeout_s", self.connect_timeout_s, 0.1, 600)
        if self.password and not self.username:
            raise ConfigError("link: password is given without username")
        self.pkcs11 = as_token(self.pkcs11)
        if self.pkcs11 is not None:
            self._check_token()
            self.pkcs11.check_module()
        elif bool(self.certificate) != bool(self.key):
            has, lacks = ("certificate", "key") if self.certificate else ("key", "certificate")
            raise ConfigError(f"link: {has} is given without {lacks}", hint="the two belong together: give both")
        if self.tls is False and (self.certificate or self.ca):
            raise ConfigError("link: tls is false, but a certificate or a CA is given", hint="leave `tls` out")
        for name in ("certificate", "key", "ca"):
            _check_file(name, getattr(self, name))

    def _check_token(self) -> None:
        if self.key:
            raise ConfigError("link: key and pkcs11 are given", hint="the key lies in a file or in a token: keep one")
        if not self.certificate:
            raise ConfigError(
                "link: pkcs11 is given without certificate", hint="the certificate of the token's key is a PEM file"
            )

    @property
    def use_tls(self) -> bool:
        """Tell whether the connection is encrypted."""
        return self.tls if self.tls is not None else bool(self.certificate or self.ca or self.port in (_HTTPS, 8883))

    @property
    def use_port(self) -> int:
        """The TCP port, with the default filled in."""
        return self.port or (8883 if self.use_tls else 1883)

    @property
    def alpn(self) -> list[str]:
        """The protocols to ask for in the TLS handshake: none but on the port that is shared with HTTPS."""
        return [_AWS_ALPN] if self.use_tls and self.use_port == _HTTPS else []

    @property
    def where(self) -> str:
        """`host:port`, for messages."""
        return f"{self.endpoint}:{self.use_port}"


def _check_endpoint(endpoint: str) -> None:
    if not isinstance(endpoint, str) or not endpoint.strip():
        raise ConfigError(
            "link: endpoint is empty", hint="for AWS run: aws iot describe-endpoint --endpoint-type iot:Data-ATS"
        )
    # An IPv6 address has several colons; a single one is a port.
    if "/" in endpoint or endpoint.count(":") == 1 or any(c.isspace() for c in endpoint):
        raise ConfigError(
            f"link: endpoint {endpoint!r} is not a host name",
            hint="write the name alone, without mqtts:// and without a port; the port is a field of its own",
        )


def _check_client_id(client_id: str) -> None:
    if not isinstance(client_id, str) or not client_id:
        raise ConfigError("link: client_id is empty", hint="use the name of the thing")
    if client_id.startswith("$"):
        raise ConfigError(f"link: client_id {client_id!r} begins with '$', which AWS IoT Core does not allow")
    if not client_id.isprintable():
        raise ConfigError(f"link: client_id {client_id!r} holds characters that cannot be printed")
    if (size := len(client_id.encode())) > _MOST_CLIENT_ID_BYTES:
        raise ConfigError(f"link: client_id has {size} bytes; AWS IoT Core allows {_MOST_CLIENT_ID_BYTES}")


def _check_number(name: str, value: float, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ConfigError(f"link: {name} is {value!r}; it must be a number from {least} to {most}")
    if isinstance(least, int) and not isinstance(value, int):
        raise ConfigError(f"link: {name} is {value!r}; it must be a whole number")


def _check_file(name: str, value: str | Path) -> None:
    if not value:
        return
    path = Path(value).expanduser()
    if not path.is_file():
        raise ConfigError(f"link: {name} {str(path)!r} does not exist", hint="check the path in the app file")
    if not os.access(path, os.R_OK):
        raise ConfigError(
            f"link: {name} {str(path)!r} may not be read by this user",
            hint=f"run: sudo chown {os.environ.get('USER', '<user>')} {path}",
        )
