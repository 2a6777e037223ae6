"""For whom a certificate was made and by whom, as far as that is written in it: for words, never for trust.

Python tells that only of certificates that it trusts, and here it is asked about the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_SEQUENCE, _OID, _VERSION, _EXTENSIONS = 0x30, 0x06, 0xA0, 0xA3
_DNS_NAME = 0x82
_COMMON_NAME, _ORGANIZATION, _ALT_NAMES = b"\x55\x04\x03", b"\x55\x04\x0a", b"\x55\x1d\x11"
_LONG = 0x80
_ISSUER, _SUBJECT = 2, 4
"""Places in the part that is signed, after the version: serial number, algorithm, issuer, dates, subject."""


class Names(NamedTuple):
    """Who a certificate says that it is of, and who made it. Empty where that is not written or cannot be read."""

    subject: tuple[str, ...] = ()
    """Host names, the common name first."""
    issuer: str = ""

    def fits(self, host: str) -> bool:
        """Tell whether one of the names is `host`, or a wildcard for it (RFC 6125 section 6.4.3)."""
        name = host.lower().rstrip(".")
        any_first = f"*.{name.partition('.')[2]}"
        return any(one.lower() in (name, any_first) for one in self.subject)


def names(der: bytes) -> Names:
    """Return the names in a certificate (DER)."""
    try:
        signed = list(_parts(_only(_only(der, _SEQUENCE), _SEQUENCE)))
        if signed and signed[0][0] == _VERSION:
            signed = signed[1:]
        issuer = list(_words(signed[_ISSUER][1]))
        common = [text for oid, text in _words(signed[_SUBJECT][1]) if oid == _COMMON_NAME]
        extensions = next((body for tag, body in signed if tag == _EXTENSIONS), b"")
        subject = dict.fromkeys([*common, *(_alternatives(extensions) if extensions else ())])
        by = [text for wanted in (_ORGANIZATION, _COMMON_NAME) for oid, text in issuer if oid == wanted]
    except (IndexError, ValueError):
        return Names()
    return Names(tuple(subject), ", ".join(dict.fromkeys(by)))


def _words(name: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield the parts of a distinguished name: which it is, and its text."""
    for _, entry in _parts(name):
        for _, pair in _parts(entry):
            (_, oid), (_, text) = list(_parts(pair))
            yield oid, text.decode("utf-8", "replace")


def _alternatives(extensions: bytes) -> Iterator[str]:
    for _, extension in _parts(_only(extensions, _SEQUENCE)):
        fields = list(_parts(extension))
        if fields[0] == (_OID, _ALT_NAMES):
            inner = fields[-1][1]
            for tag, text in _parts(_only(inner, _SEQUENCE)):
                if tag == _DNS_NAME:
                    yield text.decode("ascii", "replace")


def _only(data: bytes, tag: int) -> bytes:
    found, body = list(_parts(data))[0]  # noqa: RUF015 - StopIteration would be lost in a generator
    if found != tag:
        raise ValueError(f"tag {found:#x} where {tag:#x} was expected")
    return body


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the DER elements in `data`: tag and content. Raises: ValueError, IndexError."""
    while data:
        tag, length, at = data[0], data[1], 2
        if length & _LONG:
            at += length & ~_LONG
            length = int.from_bytes(data[2:at], "big")
        if len(data) < at + length:
            raise ValueError("it is cut off")
        yield tag, data[at : at + length]
        data = data[at + length :]
