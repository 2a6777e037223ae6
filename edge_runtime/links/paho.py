"""MQTT 5 or 3.1.1 through paho-mqtt, pure Python: for brokers other than AWS, and for 32-bit ARM.

    link:
      driver: paho
      endpoint: broker.lan
      tls: false
      version: 3.1.1

Over MQTT 3.1.1 properties are not sent, and a broker that refuses a publish cannot say so.
"""

from __future__ import annotations

import asyncio
import importlib
from dataclasses import dataclass

from edge_runtime.cloud.identity import Identity
from edge_runtime.errors import ConfigError
from edge_runtime.links._line import Line
from edge_runtime.links._link import Connection
from edge_runtime.links._mqtt_link import MqttLink

_VERSIONS = ("5", "3.1.1")


@dataclass(kw_only=True, eq=False)
class PahoLink(MqttLink):
    """A connection by paho-mqtt, driven by the event loop without a thread of its own."""

    version: str | int = "5"
    """The MQTT version: `5` or `3.1.1`."""

    def __post_init__(self) -> None:
        """Check the settings. Raises: ConfigError."""
        super().__post_init__()
        if str(self.version) not in _VERSIONS:
            raise ConfigError(f"link: version is {self.version!r}; known are {' and '.join(_VERSIONS)}")
        if self.pkcs11 is not None:
            raise ConfigError(
                "link: paho cannot use a key that lies in a token (pkcs11)",
                hint="write driver: awscrt; where that has no wheel, on 32-bit ARM, keep the key in a file",
            )

    async def _build(self, line: Line, identity: Identity | None) -> Connection:
        # paho costs 100 ms: only those who connect pay, and nobody waits for it meanwhile.
        paho = await asyncio.to_thread(importlib.import_module, "edge_runtime.links._paho")
        connection: Connection = paho.Connection(self, line, identity, v5=str(self.version) == "5")
        return connection


LINK = PahoLink
