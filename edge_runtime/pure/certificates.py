"""What a certificate in PEM form says of itself: from when until when it holds, and by which id AWS knows it.

Python's own library reads that only of a certificate that came over a connection.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from edge_runtime.errors import ConfigError

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")
_SEQUENCE, _INTEGER, _VERSION = 0x30, 0x02, 0xA0
_TIMES: Final = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""UTCTime and GeneralizedTime, as certificates must write them (RFC 5280 section 4.1.2.5)."""
_LONG, _HEAD_BYTES = 0x80, 2
_MOST_LENGTH_BYTES = 4
_PIVOT = 2050


class Certificate(NamedTuple):
    """The first certificate of a file."""

    id: str
    """SHA-256 of it in hex: what AWS IoT Core calls its certificate id."""
    begin_s: float
    """It holds from then on, in seconds since the epoch."""
    end_s: float


def parse(pem: bytes) -> Certificate:
    """Read the first certificate of a PEM file.

    Raises: ConfigError when there is none.
    """
    found = _PEM.search(pem)
    if found is None:
        raise ConfigError("there is no certificate in PEM form")
    try:
        der = base64.b64decode(b"".join(found[1].split()), validate=True)
        begin_s, end_s = _validity(der)
    except (binascii.Error, ValueError, IndexError) as error:
        raise ConfigError("what is there is no X.509 certificate") from error
    return Certificate(hashlib.sha256(der).hexdigest(), begin_s, end_s)


def _validity(der: bytes) -> tuple[float, float]:
    """Return the dates of a certificate. Its fields stand in a fixed order (RFC 5280 section 4.1)."""
    signed = _inside(_inside(der, _SEQUENCE)[0], _SEQUENCE)[0]
    if signed[0] == _VERSION:
        signed = _inside(signed, _VERSION)[1]
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):  # serial number, algorithm, issuer
        signed = _inside(signed, tag)[1]
    dates = _inside(signed, _SEQUENCE)[0]
    begin_s, dates = _time(dates)
    return begin_s, _time(dates)[0]


def _time(data: bytes) -> tuple[float, bytes]:
    tag = data[0]
    text, rest = _inside(data, tag)
    moment = datetime.strptime(text.decode("ascii"), _TIMES.get(tag, "")).replace(tzinfo=UTC)
    if tag == 0x17 and moment.year >= _PIVOT:  # noqa: PLR2004 - the tag of UTCTime, as in _TIMES
        # strptime takes 69 for 1969; RFC 5280 takes 50 for 1950.
        moment = moment.replace(year=moment.year - 100)
    return moment.timestamp(), rest


def _inside(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the DER element that `data` begins with, and what follows it."""
    if data[0] != tag:
        raise ValueError(f"tag {data[0]:#x} where {tag:#x} was expected")
    length, at = data[1], _HEAD_BYTES
    if length & _LONG:
        at += length & ~_LONG
        if not _HEAD_BYTES < at <= _HEAD_BYTES + _MOST_LENGTH_BYTES:
            raise ValueError("a length of no sane size")
        length = int.from_bytes(data[_HEAD_BYTES:at], "big")
    if len(data) < at + length:
        raise ValueError("it is cut off")
    return data[at : at + length], data[at + length :]
