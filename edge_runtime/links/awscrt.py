"""MQTT 5 through awscrt, Amazon's own client: the link to AWS IoT Core on x86-64 and 64-bit ARM.

    link:
      driver: awscrt
      endpoint: a1b2c3-ats.iot.eu-west-1.amazonaws.com
      certificate: certs/device.pem.crt
      key: certs/private.pem.key

The private key may lie in a token instead (PKCS#11), which it never leaves:

      pkcs11: {module: /usr/lib/softhsm/libsofthsm2.so, token: garden, key: device, pin_file: certs/pin}

Do not fork a process that has connected: awscrt does not survive it.
"""

from __future__ import annotations

import asyncio
import importlib
from dataclasses import dataclass
from functools import partial

from edge_runtime.cloud.identity import Identity
from edge_runtime.links._line import Line
from edge_runtime.links._link import Connection
from edge_runtime.links._mqtt_link import MqttLink
from edge_runtime.threads import in_thread


@dataclass(kw_only=True, eq=False)
class AwscrtLink(MqttLink):
    """A connection by awscrt. Without a certificate, a CA or a TLS port it is plain TCP, for a broker of one's own."""

    async def _build(self, line: Line, identity: Identity | None) -> Connection:
        # awscrt costs 100 ms and 10 MB: only those who connect pay, and nobody waits for it meanwhile.
        crt = await asyncio.to_thread(importlib.import_module, "edge_runtime.links._crt")
        tls = await in_thread("awscrt.tls", partial(crt.tls_context, self, identity))
        connection: Connection = crt.Connection(self, line, identity, tls)
        return connection


LINK = AwscrtLink
