"""A register of any I2C chip that has no driver of its own, as a whole number.

    board:
      driver: i2c_register     # a TMP102 thermometer: 12 bits, a sixteenth of a degree each
      address: 0x48
      register: 0x00
      length: 2
      mask: 0xFFF0
      signed: true
      every: 30s
      scale: 0.0625
      unit: C

A reading is the number in the register: `scale`, `offset` and `unit` make of it what it means.

Arguments:
- `address`: where the chip is, 0x03 to 0x77: `i2cdetect -y 1` shows those that answer.
- `register`: the register's number. Without one the chip is read as it is, like a port expander PCF8574.
- `register_length`: how many bytes the register's number has, 1 or 2.
- `length`: how many bytes the number has, 1 to 8.
- `order`: `big` (the first byte is the highest) or `little`.
- `mask`: which bits count. They are moved to the right end: 0x0FF0 makes 0x1230 the number 0x23.
- `signed`: the highest bit, of those that count, is the sign.
- `command`: bytes that are written before, such as those that start a measurement: [0x01, 0x83].
- `wait`: how long the chip then takes: 50ms, at most 10s.
- `bus`: the number of the I2C bus, or its file. 1 is the one on the header.

Several registers of one chip are several devices. Wiring on a header of 40 pins: power to 3.3 V (pin 1), ground to
pin 6, SDA to GPIO2 (pin 3), SCL to GPIO3 (pin 5). Switch the bus on by `dtparam=i2c_arm=on` in
`/boot/firmware/config.txt`; the user must be in the group `i2c`. Install `edge-runtime[i2c]`.
"""

from __future__ import annotations

import time
from typing import Any

from edge_runtime.devices import arguments
from edge_runtime.devices.arguments import hex_number
from edge_runtime.devices.driver import SimulatedDevice
from edge_runtime.devices.i2c import I2cSensor, place
from edge_runtime.errors import ConfigError

_MOST_WAIT_S = 10.0
_MOST_COMMAND = 32


class I2cRegister(I2cSensor):
    """A register of a chip."""

    def __init__(  # noqa: PLR0913 - each is a key of the device
        self,
        *,
        address: int,
        register: int | None = None,
        register_length: int = 1,
        length: int = 1,
        order: str = "big",
        mask: int | None = None,
        signed: bool = False,
        command: list[int] | None = None,
        wait: float | str = 0.0,
        bus: int | str = 1,
    ) -> None:
        (wiring,) = self.wires(
            address=address,
            register=register,
            register_length=register_length,
            length=length,
            order=order,
            mask=mask,
            signed=signed,
            command=command,
            wait=wait,
            bus=bus,
        )
        super().__init__(bus, address)
        self.wiring = wiring
        self._number = b"" if register is None else register.to_bytes(register_length, "big")
        self._length, self._little = length, order == "little"
        self._mask, self._signed = mask if mask is not None else (1 << 8 * length) - 1, signed
        self._shift = (self._mask & -self._mask).bit_length() - 1
        self._bits = self._mask.bit_length() - self._shift
        self._command, self._wait_s = command or [], arguments.seconds("wait", wait)

    @classmethod
    def wires(cls, *, address: int, bus: int | str = 1, **others: Any) -> list[str]:  # noqa: ANN401 - checked here
        """Return what it takes hold of. Raises: ConfigError for a wrong argument."""
        register_length = arguments.whole("register_length", others.get("register_length", 1), 1, 2)
        register = others.get("register")
        if register is not None:
            hex_number("register", register, 0, (1 << 8 * register_length) - 1)
        length = arguments.whole("length", others.get("length", 1), 1, 8)
        if others.get("mask") is not None:
            hex_number("mask", others["mask"], 1, (1 << 8 * length) - 1)
        arguments.word("order", others.get("order", "big"), ("big", "little"))
        arguments.switch("signed", others.get("signed", False))
        command = others.get("command") or []
        if not isinstance(command, list) or len(command) > _MOST_COMMAND:
            raise ConfigError(f"command {command!r} is no list of up to {_MOST_COMMAND} bytes", hint="command: [0x01]")
        for byte in command:
            hex_number("command", byte, 0, 0xFF)
        arguments.seconds("wait", others.get("wait", 0.0), most=_MOST_WAIT_S)
        where = place(bus, address)
        if register is not None:
            where += f" register 0x{register:0{2 * register_length}x}"
        return [where if others.get("mask") is None else f"{where} & 0x{others['mask']:x}"]

    @classmethod
    def simulated(cls, **arguments: Any) -> SimulatedDevice:  # noqa: ANN401 - checked by `wires`
        """Return one whose register is 0."""
        (wiring,) = cls.wires(**arguments)
        return SimulatedDevice(0, wiring=wiring)

    def _prepare(self) -> None:
        """Do nothing: what is to be written is in `command`."""

    def _measure(self) -> int:
        if self._command:
            self.chip.write(*self._command)
            time.sleep(self._wait_s)
        data = self.chip.receive(self._length, after=self._number)
        number = (int.from_bytes(data, "little" if self._little else "big") & self._mask) >> self._shift
        return number - (1 << self._bits) if self._signed and number >> self._bits - 1 else number
