"""Who the device is to the cloud: its certificate, and the private key that belongs to it.

Both are read into memory together and checked as a pair before anything uses them. So a connection never sees a new
certificate with the old key, however slowly somebody replaces the two files, and what was good once can go on being
used after it has been replaced by something that is not.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge_runtime.errors import ConfigError
from edge_runtime.pure import certificates

_MOST_BYTES = 1 << 20
"""No PEM file of a device is larger."""
DAY_S = 86_400.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its key, both as PEM. The key is empty when it lies in a token (PKCS#11)."""

    certificate: bytes
    key: bytes = field(repr=False)
    id: str
    """The certificate's id, as AWS IoT Core shows it."""
    begin_s: float
    end_s: float
    """The certificate holds between these, in seconds since the epoch."""

    def amiss(self, now_s: float) -> str:
        """Return why the certificate does not hold at a time, in words that follow its name; empty when it does."""
        if now_s > self.end_s:
            return f"has expired on {day(self.end_s)}"
        return f"holds only from {day(self.begin_s)} on" if now_s < self.begin_s else ""

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have connections of this context show the certificate. Without a key, as with a token, nothing is done.

        Raises: ssl.SSLError when the two are no pair.
        """
        if self.key:
            with _as_file(self.certificate.rstrip(b"\n") + b"\n" + self.key) as path:
                context.load_cert_chain(path, password=_no_password)


def read(certificate: str | Path, key: str | Path | None) -> Identity:
    """Read a certificate and its key, or the certificate alone when its key lies in a token.

    Raises: ConfigError when a file cannot be read or is not what it should be, or when the two are no pair.
    """
    pem = _content(certificate)
    try:
        found = certificates.parse(pem)
    except ConfigError as error:
        raise ConfigError(f"{certificate}: {error}", hint="download it again, or run: edge provision") from error
    identity = Identity(pem, _content(key) if key else b"", found.id, found.begin_s, found.end_s)
    try:
        identity.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise ConfigError(
            f"the key {key} is not that of the certificate {certificate}: {reason}",
            hint="replace both; `edge provision` makes a new pair and switches both at once",
        ) from error
    return identity


def day(moment_s: float) -> str:
    """Return a date for a person, in UTC."""
    # Reckoned: where time_t has 32 bits, the system has no date for 2049, when AWS lets its certificates end.
    return (_EPOCH + timedelta(seconds=moment_s)).date().isoformat()


def _content(path: str | Path) -> bytes:
    try:
        with Path(path).expanduser().open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror or error}", hint="check the path and the owner of the file"
        ) from error


def _no_password() -> str:
    """Keep OpenSSL from asking on the terminal."""
    raise ValueError("it is locked by a password, which a host cannot type")


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Yield a path to these bytes: Python's library reads keys from files only. They stay in memory where it can be."""
    if not hasattr(os, "memfd_create"):
        import tempfile  # noqa: PLC0415 - not on Linux

        with tempfile.NamedTemporaryFile(prefix="edge-") as file:  # only its owner may read it
            file.write(data)
            file.flush()
            yield file.name
        return
    handle = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        os.write(handle, data)
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)
