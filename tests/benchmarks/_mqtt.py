"""A bare MQTT 3.1.1 publisher on a blocking socket: the least that a client can do."""

from __future__ import annotations

import socket
import struct
import time


def connect(port: int, client_id: bytes, *, clean: bool = True) -> socket.socket:
    """Return a connected socket."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    flags = b"\x02" if clean else b"\x00"
    body = b"\x00\x04MQTT\x04" + flags + b"\x00\x3c" + struct.pack(">H", len(client_id)) + client_id
    sock.sendall(b"\x10" + bytes([len(body)]) + body)
    if sock.recv(4)[3] != 0:
        raise ConnectionRefusedError(client_id)
    return sock


def subscribe(sock: socket.socket, topic: bytes) -> None:
    """Subscribe with QoS 1."""
    body = b"\x00\x01" + struct.pack(">H", len(topic)) + topic + b"\x01"
    sock.sendall(b"\x82" + bytes([len(body)]) + body)
    sock.recv(5)


def packet(number: int, topic: bytes, payload: bytes) -> bytes:
    """Return a QoS 1 PUBLISH; the payload is below 16 KB."""
    size = 2 + len(topic) + 2 + len(payload)
    head = b"\x32" + (bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7]))
    return head + struct.pack(">H", len(topic)) + topic + struct.pack(">H", number % 65535 + 1) + payload


def publish_rate(port: int, *, window: int, seconds: float, payload: bytes) -> float:
    """Return publishes a second with `window` unacknowledged, while a persistent subscriber is away."""
    with connect(port, b"absent", clean=False) as absent:
        subscribe(absent, b"dt/#")
    with connect(port, b"publisher") as sock:
        sent = acked = 0
        begin = time.perf_counter()
        rest = b""
        while time.perf_counter() - begin < seconds:
            room = window - (sent - acked)
            if room:
                sock.sendall(b"".join([packet(sent + n, b"dt/station/soil", payload) for n in range(room)]))
                sent += room
            data = rest + sock.recv(65536)
            acked += len(data) // 4
            rest = data[len(data) // 4 * 4 :]
        return acked / (time.perf_counter() - begin)


def round_trips(port: int, count: int, payload: bytes) -> list[float]:
    """Return the seconds of so many publishes, one at a time."""
    times = []
    with connect(port, b"round-trips") as sock:
        for number in range(count):
            begin = time.perf_counter()
            sock.sendall(packet(number, b"dt/station/soil", payload))
            sock.recv(4)
            times.append(time.perf_counter() - begin)
    return times
