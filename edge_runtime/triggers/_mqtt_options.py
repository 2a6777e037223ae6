"""The options of the `mqtt` trigger."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_runtime import plugin
from edge_runtime.app import Broker
from edge_runtime.errors import ConfigError
from edge_runtime.pure.units import seconds

_TEXTS = ("username", "password", "client_id", "ca", "certificate", "key")
_KNOWN = (*_TEXTS, "tls", "version", "keep_alive_s", "session_expiry_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the broker is and who we are."""

    host: str
    port: int
    client_id: str
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""
    keep_alive_s: int = 30
    session_expiry_s: int = 604_800


def read_options(broker: Broker) -> Address:
    """Return the options of a broker with all defaults filled in.

    Raises: ConfigError naming the broker and the option.
    """
    who, options = f"broker {broker.name!r}", broker.options
    for name in options:
        if name not in _KNOWN:
            raise ConfigError(
                f"{who} has no option {name!r}{plugin.nearest(name, _KNOWN)}", hint=f"known: {', '.join(_KNOWN)}"
            )
    texts = {name: _text(who, name, options) for name in _TEXTS}
    tls = options.get("tls", bool(texts["ca"] or texts["certificate"]))
    if not isinstance(tls, bool):
        raise ConfigError(f"{who}: tls must be true or false, not {tls!r}")
    if bool(texts["certificate"]) != bool(texts["key"]):
        raise ConfigError(f"{who}: certificate and key belong together", hint="give both or none")
    if str(options.get("version", "5")) not in ("5", "3.1.1"):
        raise ConfigError(f"{who}: version {options['version']!r} is not 5 or 3.1.1")
    texts["client_id"] = texts["client_id"] or f"edge-{socket.gethostname()}-{broker.name}"
    return Address(
        host=broker.host,
        port=broker.port,
        tls=tls,
        keep_alive_s=_whole(who, "keep_alive_s", options.get("keep_alive_s", 30), 65_535),
        session_expiry_s=_whole(who, "session_expiry_s", options.get("session_expiry_s", 604_800), 0xFFFF_FFFF),
        **texts,
    )


def _text(who: str, name: str, options: Mapping[str, object]) -> str:
    value = options.get(name, "")
    # YAML reads a password of digits as a number.
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigError(f"{who}: {name} must be a text, not {value!r}")
    return str(value)


def _whole(who: str, name: str, value: object, most: int) -> int:
    try:
        number = seconds(value)
    except ValueError as error:
        raise ConfigError(f"{who}: {name}: {error}") from None
    if not (number.is_integer() and 1 <= number <= most):
        raise ConfigError(f"{who}: {name} {value!r} is not between 1 and {most} whole seconds")
    return int(number)
