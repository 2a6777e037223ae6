"""Ed25519 signatures, made and checked by the `openssl` command.

Python has no Ed25519 of its own, and a package for it is compiled code that not every Pi has a wheel of. Debian and
Raspberry Pi OS bring `openssl` (`ca-certificates` depends on it), 3.0 or newer wherever Python is 3.11 or newer.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.errors import ConfigError
from edge_runtime.pure.jobs import SIGNATURE_BYTES, key_file

_TIMEOUT_S = 60.0


def is_signed(message: bytes, signature: bytes, keys: Sequence[bytes], folder: Path) -> bool:
    """Tell whether a signature of a message is by one of these public keys (32 bytes each). Blocks.

    `folder` is a place for temporary files.

    Raises: ConfigError when openssl is missing or does not know Ed25519: then nothing is proved.
    """
    program = _program()
    with tempfile.TemporaryDirectory(prefix="signature-", dir=folder) as name:
        place = Path(name)
        (place / "message").write_bytes(message)
        (place / "signature").write_bytes(signature)
        for key in keys:
            (place / "key").write_bytes(key_file(key))
            if _verifies(program, place):
                return True
    return False


def sign(message: bytes, key: Path, folder: Path) -> bytes:
    """Return the signature of a message by the key in a PEM file (`openssl genpkey -algorithm ed25519`). Blocks.

    `folder` is a place for temporary files.

    Raises: ConfigError when openssl is missing, or the file holds no such key.
    """
    with tempfile.TemporaryDirectory(prefix="signature-", dir=folder) as name:
        place = Path(name)
        (place / "message").write_bytes(message)
        done = _run(_program(), place, "-sign", "-inkey", str(key.absolute()), "-in", "message", "-out", "signature")
        if done.returncode != 0 or (place / "signature").stat().st_size != SIGNATURE_BYTES:
            raise ConfigError(
                f"{key} cannot sign: {done.stderr.strip()[:200] or 'it is no Ed25519 key'}",
                hint="make a key: openssl genpkey -algorithm ed25519 -out release.key",
            )
        return (place / "signature").read_bytes()


def _program() -> str:
    program = shutil.which("openssl")
    if program is None:
        raise ConfigError(
            "signatures are made and checked with the openssl command, which is not installed",
            hint="apt-get install openssl",
        )
    return program


def _run(program: str, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [program, "pkeyutl", "-rawin", *arguments],
            cwd=place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"openssl cannot be run: {error}") from error


def _verifies(program: str, place: Path) -> bool:
    files = ["-inkey", "key", "-in", "message", "-sigfile", "signature"]
    done = _run(program, place, "-verify", "-pubin", "-keyform", "DER", *files)
    if done.returncode == 0:
        return True
    if "Signature Verification Failure" in done.stdout + done.stderr:
        return False
    raise ConfigError(
        f"the signature cannot be checked with openssl: {done.stderr.strip()[:200]}", hint="openssl 3.0 or newer"
    )
