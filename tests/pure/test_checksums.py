"""Checksums against the check values that catalogues give for `123456789`, and examples of the specifications."""

from __future__ import annotations

import pytest

from edge_runtime.pure.checksums import CHECKSUMS


@pytest.mark.parametrize(
    ("name", "data", "value", "sent"),
    [
        ("crc16_modbus", b"123456789", 0x4B37, "374b"),
        ("crc16_modbus", bytes.fromhex("010300000001"), 0x0A84, "840a"),
        ("crc16_ccitt", b"123456789", 0x29B1, "29b1"),
        ("xor", b"GPGLL,5300.97914,N,00259.98174,E,125926,A", 0x28, "28"),
        ("sum8", b"123456789", 0xDD, "dd"),
        ("sum8", b"", 0, "00"),
    ],
)
def test_a_checksum_and_its_bytes_on_the_line(name: str, data: bytes, value: int, sent: str) -> None:
    check = CHECKSUMS[name]
    assert (check.of(data), check.sent(data).hex()) == (value, sent)
