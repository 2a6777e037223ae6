"""Ed25519 signatures, checked by the `openssl` command.

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
from edge_runtime.pure.jobs import key_file

_TIMEOUT_S = 60.0


def is_signed(message: bytes, signature: bytes, keys: Sequence[bytes], folder: Path) -> bool:
    """Tell whether a signature of a message is by one of these public keys (32 bytes each). Blocks.

    `folder` is a place for temporary files.

    Raises: ConfigError when openssl is missing or does not know Ed25519: then nothing is proved.
    """
    program = shutil.which("openssl")
    if program is None:
        raise ConfigError(
            "signatures are checked with the openssl command, which is not installed", hint="apt-get install openssl"
        )
    with tempfile.TemporaryDirectory(prefix="signature-", dir=folder) as name:
        place = Path(name)
        (place / "message").write_bytes(message)
        (place / "signature").write_bytes(signature)
        for key in keys:
            (place / "key").write_bytes(key_file(key))
            if _verifies(program, place):
                return True
    return False


def _verifies(program: str, place: Path) -> bool:
    files = ["-inkey", "key", "-in", "message", "-sigfile", "signature"]
    arguments = ["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin", *files]
    try:
        done = subprocess.run(
            [program, *arguments],
            cwd=place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"the signature cannot be checked with openssl: {error}") from error
    if done.returncode == 0:
        return True
    if "Signature Verification Failure" in done.stdout + done.stderr:
        return False
    raise ConfigError(
        f"the signature cannot be checked with openssl: {done.stderr.strip()[:200]}", hint="openssl 3.0 or newer"
    )
