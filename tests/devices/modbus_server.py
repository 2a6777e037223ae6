"""pymodbus's own server, on a thread: by TCP, or on a serial line made of two pseudo-terminals."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def device(number: int) -> SimDevice:
    """Return a device with 16 coils and discrete inputs, and 20 holding and input registers that hold their address."""
    bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    inputs = [SimData(0, values=[n % 2 == 1 for n in range(16)], datatype=DataType.BITS)]
    words = [SimData(n, values=n + 100 * number, datatype=DataType.REGISTERS) for n in range(20)]
    return SimDevice(number, (bits, inputs, words, words))


class Server:
    """A server and its loop, on a thread. `requests` are the function codes that it was asked."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.requests: list[int] = []
        self._make = make
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="modbus-server", daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        server = self._make(self._trace)
        await server.serve_forever(background=True)
        if getattr(server.transport, "sockets", None):
            self.port = server.transport.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        await server.shutdown()

    def _trace(self, sending: bool, pdu: Any) -> Any:  # noqa: ANN401, FBT001 - as pymodbus calls it
        if not sending:
            self.requests.append(pdu.function_code)
        return pdu

    def close(self) -> None:
        """End it."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(10)


@contextmanager
def tcp(*numbers: int, port: int = 0) -> Iterator[Server]:
    """Serve devices by TCP for a while."""
    server = Server(
        lambda trace: ModbusTcpServer([device(n) for n in numbers], address=("127.0.0.1", port), trace_pdu=trace)
    )
    try:
        yield server
    finally:
        server.close()


@contextmanager
def serial(*numbers: int) -> Iterator[tuple[Server, str]]:
    """Serve devices on a serial line for a while; with the name of the line's other end."""
    ends = [os.openpty() for _ in range(2)]
    for far, near in ends:
        tty.setraw(near)
        os.set_blocking(far, False)
    here, there = (os.ttyname(near) for _, near in ends)
    wake, waker = os.pipe()
    cable = threading.Thread(target=_carry, args=(ends[0][0], ends[1][0], wake), name="cable", daemon=True)
    cable.start()
    server = Server(
        lambda trace: ModbusSerialServer(
            [device(n) for n in numbers], port=there, baudrate=9600, trace_pdu=trace, ignore_missing_devices=True
        )
    )
    try:
        yield server, here
    finally:
        server.close()
        os.write(waker, b"x")
        cable.join(10)
        for descriptor in (wake, waker, *(one for end in ends for one in end)):
            os.close(descriptor)


def _carry(one: int, other: int, wake: int) -> None:
    while True:
        ready, _, _ = select.select([one, other, wake], [], [])
        if wake in ready:
            return
        for source in ready:
            os.write(other if source == one else one, os.read(source, 4096))
