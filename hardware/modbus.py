"""Registers and coils of a Modbus device, over TCP or on a serial line (RTU): meters, inverters, PLCs, relay boards.

    meter:
      driver: modbus
      host: 192.168.1.5
      every: 10s
      table: input
      registers:
        voltage: {address: 0, type: f32}
        energy: {address: 342, type: f32}
      parts: {voltage: {unit: V, range: [0, 300]}, energy: {unit: kWh}}
    relay:
      driver: modbus
      port: /dev/ttyUSB0
      baud_rate: 9600
      device_id: 2
      table: coil
      address: 0

`value` is what is read now: a number, a list when `count` is more than 1, or parts by the names of `registers`. A bit
is 1 or 0. A device that does not answer, or answers with an exception, is a fault that says which.

- `host` and `port` (502 without one) of a TCP device; or `port`, the device file of a serial line, with `baud_rate`,
  `parity`, `bytesize`, `stop_bits`: 9600, none, 8, 1. Several devices on one line share it; they must say the same of
  it.
- `device_id`: the number of the device on its line, 1 without it.
- `table`: `coil`, `discrete`, `holding` (without it) or `input`.
- `address`: from 0 on, as it goes over the line. What a manual calls 40001 is address 0 of `holding`, 30001 that of
  `input`. `count`: how many values follow one another.
- `type`: u16, s16, u32, s32, f32, u64, s64 or f64. `word_order` little: the lowest word first; `byte_order` little: the
  bytes of each register swapped. Both are big without a word.
- `registers`: several values in one reading, each with `address`, and `type`, `count`, `scale`, `offset`, `byte_order`,
  `word_order` where they differ. Neighbours are read in one request.
- `timeout` (1s) for an answer, and `retries` (1) after it.

A coil or a holding register is an output, too: `on`, `off`, `toggle`, a number, or a list for a `count`. One register
is written by function 6, several by 16, a coil by 5, several by 15. Of `registers` none can be written: declare a
device for that one.

Wiring of RS-485: A to A, B to B, ground to ground, 120 ohm at both ends of a long line. The user must be in the group
`dialout`. Install `edge-runtime[modbus]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_runtime.devices import arguments
from edge_runtime.devices.modbus_bus import Line, MemoryLine, ModbusLine, Settings, good
from edge_runtime.errors import ConfigError, DeviceError
from edge_runtime.plugin import nearest
from edge_runtime.pure.modbus_registers import (
    BITS,
    LAST_ADDRESS,
    MOST_BITS,
    MOST_WORDS,
    TABLES,
    TYPES,
    Register,
    spans,
)

_ORDERS = ("big", "little")
_READ = {
    "coil": "read_coils",
    "discrete": "read_discrete_inputs",
    "holding": "read_holding_registers",
    "input": "read_input_registers",
}


class Modbus:
    """Registers or coils of a Modbus device. The module says what its arguments are."""

    def __init__(  # noqa: PLR0913 - each is a key of the device
        self,
        *,
        host: str = "",
        port: int | str = 502,
        baud_rate: int = 9600,
        parity: str = "none",
        bytesize: int = 8,
        stop_bits: float = 1,
        device_id: int = 1,
        table: str = "holding",
        address: int | None = None,
        count: int = 1,
        type: str = "u16",  # noqa: A002 - the key that people expect
        byte_order: str = "big",
        word_order: str = "big",
        registers: Mapping[str, Mapping[str, object]] | None = None,
        timeout: str | float = 1.0,
        retries: int = 1,
    ) -> None:
        timeout_s = arguments.seconds("timeout", timeout, 0.01, 60)
        settings = Settings(host, port, baud_rate, parity, bytesize, stop_bits, timeout_s, retries)
        arguments.whole("device_id", device_id, 0, 255 if host else 247)
        arguments.word("table", table, TABLES)
        common = {"type": type, "count": count, "byte_order": byte_order, "word_order": word_order}
        self._is_bits = table in BITS
        self._registers = _registers(address, registers, common, bits=self._is_bits)
        self._single = registers is None
        self._table = table
        self._device_id = device_id
        self._name = settings.line
        places = ",".join(str(one.address) for one in self._registers.values())
        self.wiring = f"{settings.line} device {device_id} {table} {places}"
        self._line: Line = self._open(settings)

    def _open(self, settings: Settings) -> Line:
        return ModbusLine(settings)

    @classmethod
    def wires(cls, **options: Any) -> list[str]:  # noqa: ANN401 - as the constructor's
        """Return the register, so that two devices cannot mean the same. Raises: ConfigError for a wrong argument."""
        return [_Simulated(**options).wiring]

    @classmethod
    def simulated(cls, **options: Any) -> Modbus:  # noqa: ANN401 - as the constructor's
        """Return one whose registers are zero until they are written, or are told to hold something."""
        return _Simulated(**options)

    @property
    def value(self) -> object:
        """What is read now, or is written. Raises: DeviceError when it does not answer, or refuses."""
        found = self._read_bits() if self._is_bits else self._read_words()
        return found[""] if self._single else found

    @value.setter
    def value(self, value: object) -> None:
        if self._table not in ("coil", "holding") or not self._single:
            what = f"the table {self._table}" if self._single else "a device with several registers"
            raise ConfigError(f"{what} cannot be written", hint="declare a device for one coil or holding register")
        place = self._registers[""]
        if self._is_bits:
            bits = _bits(value, place.count)
            if len(bits) == 1:
                self._ask("write_coil", address=place.address, value=bits[0])
            else:
                self._ask("write_coils", address=place.address, values=bits)
            return
        try:
            words = place.encode(value)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if len(words) == 1:
            self._ask("write_register", address=place.address, value=words[0])
        else:
            self._ask("write_registers", address=place.address, values=words)

    def on(self) -> None:
        """Write 1."""
        self.value = self._all(1)

    def off(self) -> None:
        """Write 0."""
        self.value = self._all(0)

    def toggle(self) -> None:
        """Write 0 if there is anything else now, else 1."""
        now = self.value
        self.value = self._all(0 if any(now if isinstance(now, list) else [now]) else 1)

    def close(self) -> None:
        """Let go of the line."""
        self._line.close()

    def _all(self, level: int) -> object:
        count = self._registers[""].count if self._single else 1
        return level if count == 1 else [level] * count

    def _ask(self, request: str, **given: Any) -> Any:  # noqa: ANN401 - as pymodbus has it
        return good(self._line.ask(request, self._device_id, **given), self._name, self._device_id)

    def _read_bits(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, place in self._registers.items():
            bits = self._ask(_READ[self._table], address=place.address, count=place.count).bits
            if len(bits) < place.count:
                raise DeviceError(f"{self._name}: device {self._device_id} sent {len(bits)} bits of {place.count}")
            found[name] = int(bits[0]) if place.count == 1 else [int(bit) for bit in bits[: place.count]]
        return found

    def _read_words(self) -> dict[str, object]:
        words: dict[int, int] = {}
        for span in spans(self._registers.values()):
            sent = self._ask(_READ[self._table], address=span.address, count=span.words).registers
            if len(sent) != span.words:
                raise DeviceError(f"{self._name}: device {self._device_id} sent {len(sent)} registers of {span.words}")
            words.update(enumerate(sent, span.address))
        return {
            name: one.decode([words[at] for at in range(one.address, one.end)]) for name, one in self._registers.items()
        }


class _Simulated(Modbus):
    """The same with a device that is memory only."""

    def _open(self, settings: Settings) -> Line:  # noqa: ARG002 - there is nothing to connect to
        self._memory: dict[int, int] = {}
        return MemoryLine(self._memory)

    def simulate(self, value: object) -> None:
        """Let the registers hold a value, or the parts of a mapping."""
        parts = {"": value} if self._single else value
        if not isinstance(parts, Mapping):
            raise ConfigError(f"{value!r} is no mapping", hint="set each by its name, as in {voltage: 230}")
        for name, part in parts.items():
            if name not in self._registers:
                raise ConfigError(f"there is no register {name!r}{nearest(str(name), self._registers)}")
            place = self._registers[name]
            words = [int(bit) for bit in _bits(part, place.count)] if self._is_bits else place.encode(part)
            self._memory.update(enumerate(words, place.address))


def _registers(
    address: int | None,
    registers: Mapping[str, Mapping[str, object]] | None,
    common: Mapping[str, object],
    *,
    bits: bool,
) -> dict[str, Register]:
    """Return the places by name, a single one as `""`. Raises: ConfigError."""
    if (address is None) == (registers is None):
        raise ConfigError("exactly one of address and registers says what is read", hint="write address: 0")
    if registers is None:
        return {"": _register("", {**common, "address": address}, bits=bits)}
    if not registers:
        raise ConfigError("registers is empty", hint="write registers: {voltage: {address: 0}}")
    return {
        str(name): _register(f"registers.{name}.", {**common, **_mapping(name, one)}, bits=bits)
        for name, one in registers.items()
    }


def _mapping(name: object, written: object) -> Mapping[str, object]:
    if not isinstance(written, Mapping):
        raise ConfigError(f"registers.{name} {written!r} is no mapping", hint=f"write {name}: {{address: 0}}")
    return written


def _register(where: str, given: Mapping[str, object], *, bits: bool) -> Register:
    fields = Register.__slots__
    for key in given:
        if key not in fields:
            raise ConfigError(
                f"{where}{key} is not known{nearest(str(key), fields)}", hint=f"known: {', '.join(fields)}"
            )
    if "address" not in given:
        raise ConfigError(f"{where}address is missing")
    arguments.whole(f"{where}address", given["address"], 0, LAST_ADDRESS)
    arguments.word(f"{where}type", given["type"], TYPES)
    arguments.word(f"{where}byte_order", given["byte_order"], _ORDERS)
    arguments.word(f"{where}word_order", given["word_order"], _ORDERS)
    arguments.whole(f"{where}count", given["count"], 1, MOST_BITS)
    for key in ("scale", "offset"):
        if isinstance(given.get(key, 1), bool) or not isinstance(given.get(key, 1), int | float):
            raise ConfigError(f"{where}{key} {given[key]!r} is no number")
    if bits and given["type"] != "u16":
        raise ConfigError(f"{where}type is for registers; a coil or discrete input is a bit")
    try:
        found = Register(**given)  # type: ignore[arg-type]  # checked above
    except ValueError as error:
        raise ConfigError(f"{where}: {error}" if where else str(error)) from error
    if not bits and found.words > MOST_WORDS:
        raise ConfigError(f"{where}count: one request reads {MOST_WORDS} registers at most, not {found.words}")
    return found


def _bits(value: object, count: int) -> list[bool]:
    values = value if isinstance(value, list | tuple) else [value]
    if len(values) != count or not all(one in (0, 1) for one in values):
        raise ConfigError(f"{value!r} is not {'0 or 1' if count == 1 else f'a list of {count} bits'}")
    return [bool(one) for one in values]
