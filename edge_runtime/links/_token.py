"""A private key that lies in a token: a security chip, a USB key, SoftHSM. It never leaves it (PKCS#11)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from edge_runtime.errors import ConfigError
from edge_runtime.plugin import nearest

_MOST_PIN_BYTES = 256
_HINT = "write pkcs11: {module: /usr/lib/softhsm/libsofthsm2.so, token: LABEL, key: LABEL, pin_file: FILE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11:
    """Where the private key of the certificate lies."""

    module: str | Path
    """The library of the token's maker: a path, or a name that the system's loader finds."""
    token: str
    """The label of the token."""
    key: str = ""
    """The label of the private key. Left out: the only one of the token."""
    pin: str = field(default="", repr=False)
    """The PIN of the user. Better in a file of its own."""
    pin_file: str | Path = ""
    """A file that holds the PIN, and that only this user can read. Left out as well: the token needs no PIN."""

    def __post_init__(self) -> None:
        """Check what needs no look at the disk. Raises: ConfigError, which never shows the PIN."""
        for name in ("module", "token"):
            if not getattr(self, name):
                raise ConfigError(f"link: pkcs11 has no {name}", hint=_HINT)
        if self.pin and self.pin_file:
            raise ConfigError("link: pkcs11 has a pin and a pin_file", hint="keep pin_file")

    def check_module(self) -> None:
        """See whether the library is there. Raises: ConfigError."""
        module = str(self.module)
        if "/" in module and not Path(module).is_file():
            raise ConfigError(f"link: pkcs11 module {module!r} does not exist", hint="install the token's library")

    def read_pin(self) -> str | None:
        """Return the PIN, None when the token needs none.

        Raises: ConfigError when the file cannot be read, is open to other users or holds no PIN.
        """
        if not self.pin_file:
            return self.pin or None
        path = Path(self.pin_file).expanduser()
        try:
            with path.open("rb") as file:
                mode, data = os.fstat(file.fileno()).st_mode & 0o777, file.read(_MOST_PIN_BYTES + 1)
        except OSError as error:
            raise ConfigError(
                f"link: pkcs11 pin_file {path} cannot be read: {error.strerror or error}",
                hint="check the path and the owner of the file",
            ) from error
        if mode & 0o077:
            raise ConfigError(
                f"link: pkcs11 pin_file {path} is open to other users ({mode:03o})", hint=f"chmod 600 {path}"
            )
        pin = data.decode("utf-8", errors="replace").strip()
        if not pin or len(data) > _MOST_PIN_BYTES or not pin.isprintable():
            raise ConfigError(f"link: pkcs11 pin_file {path} holds no PIN", hint="write the PIN alone into it")
        return pin


def as_token(value: object) -> Pkcs11 | None:
    """Return what is written under `pkcs11:` as a token, None for nothing. Raises: ConfigError."""
    if value is None or isinstance(value, Pkcs11):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError("link: pkcs11 is no mapping", hint=_HINT)
    known = [one.name for one in fields(Pkcs11)]
    for key, text in value.items():
        if key not in known:
            raise ConfigError(f"link: pkcs11 has an unknown key {key!r}{nearest(str(key), known)}", hint=_HINT)
        if not isinstance(text, str | Path):
            raise ConfigError(f"link: {key} of pkcs11 is no text", hint="put it in quotes")
    return Pkcs11(**{"module": "", "token": "", **value})
