"""Checksums of serial lines, by the names that people give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Checksum(NamedTuple):
    """How a checksum is reckoned and in which order its bytes are sent."""

    size: int
    of: Callable[[bytes], int]
    order: str = "big"

    def sent(self, data: bytes) -> bytes:
        """Return the bytes that follow the data."""
        return self.of(data).to_bytes(self.size, "little" if self.order == "little" else "big")


def xor(data: bytes) -> int:
    """Return all bytes combined by exclusive or: NMEA 0183, and the BCC of many scales and meters."""
    result = 0
    for byte in data:
        result ^= byte
    return result


def sum8(data: bytes) -> int:
    """Return the lowest eight bits of the sum of all bytes."""
    return sum(data) & 0xFF


def crc16_modbus(data: bytes) -> int:
    """Return CRC-16/MODBUS: polynomial 0x8005 reflected, begins with 0xFFFF (Modbus over serial line V1.02, 6.2.2)."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def crc16_ccitt(data: bytes) -> int:
    """Return the CRC that data sheets call CCITT (CRC-16/IBM-3740): polynomial 0x1021, begins with 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


CHECKSUMS = {
    "xor": Checksum(1, xor),
    "sum8": Checksum(1, sum8),
    "crc16_modbus": Checksum(2, crc16_modbus, "little"),
    "crc16_ccitt": Checksum(2, crc16_ccitt),
}
"""By name. Modbus sends the low byte first (6.2.2), the others send the high one first."""
