"""The fast way to publish through awscrt, the public way, and TCP_NODELAY. Imports awscrt."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path

import _awscrt
import awscrt
from awscrt import exceptions, mqtt5

from edge_runtime.links._codes import FAILURE
from edge_runtime.links._keep_alive import bound_silence

Acked = Callable[[BaseException | None, int, str | None], None]
"""Called on awscrt's thread with an error of the library, or with the PUBACK's reason code and text."""
Publish = Callable[[str, bytes, Mapping[str, str], Acked], None]
"""Publish with QoS 1. Raises: what the library raises when it does not take the message."""

DIRECT = frozenset({"0.36.1"})
"""Versions whose native publish takes exactly the arguments that `direct` gives it."""


def publisher(client: mqtt5.Client) -> Publish:
    """Return the fastest way to publish that is safe with this version of the library."""
    return direct(client) if awscrt.__version__ in DIRECT else public(client)


def direct(client: mqtt5.Client) -> Publish:
    """Return a publish that calls the native client, without a `concurrent.futures.Future` for every message.

    It halves the processor time of a publish. It is no public interface, so it is for tested versions only.
    """
    native, binding, qos = _awscrt.mqtt5_client_publish, client._binding, mqtt5.QoS.AT_LEAST_ONCE  # noqa: SLF001 - above
    unset = (None,) * 6  # payload format, expiry, alias, response topic, correlation data, content type

    def publish(topic: str, payload: bytes, properties: Mapping[str, str], acked: Acked) -> None:
        def done(failed: int, _qos: int, code: int, text: str | None, _properties: object) -> None:
            acked(exceptions.from_code(failed) if failed else None, code, text)

        native(binding, qos, payload, False, topic, *unset, _user_properties(properties), done)

    return publish


def public(client: mqtt5.Client) -> Publish:
    """Return a publish through the library's public interface."""

    def publish(topic: str, payload: bytes, properties: Mapping[str, str], acked: Acked) -> None:
        packet = mqtt5.PublishPacket(
            topic=topic,
            payload=payload,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            user_properties=_user_properties(properties),
        )

        def done(future: Future[mqtt5.PublishCompletionData]) -> None:
            error = future.exception()
            if error is not None:
                acked(error, 0, None)
            else:
                puback = future.result().puback
                acked(None, reason(puback.reason_code), puback.reason_string)

        client.publish(packet).add_done_callback(done)

    return publish


def reason(code: int | None) -> int:
    """Return a reason code as a number. The library says None for one that it does not know: no success has such."""
    return FAILURE if code is None else int(code)


def closed(_topic: str, _payload: bytes, _properties: Mapping[str, str], _acked: Acked) -> None:
    """Do nothing: the publish of a connection that is over, whose futures have failed already."""


def _user_properties(properties: Mapping[str, str]) -> list[mqtt5.UserProperty] | None:
    return [mqtt5.UserProperty(name, value) for name, value in properties.items()] if properties else None


def no_delay(port: int) -> None:
    """Turn Nagle's algorithm off on this process's connections to `port`, and bound their silence.

    awscrt 0.36 has no option for it, and with it a small publish waits a round trip while another is under way: at
    50 ms that costs a tenth of the throughput. A duplicate of a descriptor is the same connection, so it can be set
    from here. Where there is no /proc, things stay as they were.
    """
    folder = Path("/proc/self/fd")
    for entry in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):  # closed meanwhile, or not connected
            if not str(entry.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as connection:
                tcp = connection.family in (socket.AF_INET, socket.AF_INET6) and connection.type == socket.SOCK_STREAM
                if tcp and connection.getpeername()[1] == port:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    bound_silence(connection)
