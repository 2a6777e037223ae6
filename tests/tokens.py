"""A token for tests, made by SoftHSM: one for this process, for its library reads its configuration once.

token = softhsm()
token.keep("device", pem)
LINK(..., pkcs11=token.settings("device"))
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

PIN = "271828"
LABEL = "edge-tests"
_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


class SoftHsm:
    """A token in a temporary folder."""

    def __init__(self, folder: Path, module: Path) -> None:
        self.module = module
        self._folder = folder
        self._count = 0

    def keep(self, label: str, pem: bytes) -> None:
        """Put a private key (PKCS#8, PEM) into the token."""
        self._count += 1
        path = self._folder / "key.pem"
        path.write_bytes(pem)
        self.run("--import", str(path), "--token", LABEL, "--label", label, "--id", f"A{self._count:03}", "--pin", PIN)
        path.unlink()

    def settings(self, key: str, **more: object) -> dict[str, object]:
        """Return what is written under `pkcs11` for that key, with the PIN in a file."""
        pin_file = self._folder / "pin"
        if not pin_file.exists():
            pin_file.touch(mode=0o600)
            pin_file.write_text(f"{PIN}\n")
        return {"module": str(self.module), "token": LABEL, "key": key, "pin_file": str(pin_file), **more}

    @staticmethod
    def run(*arguments: str) -> None:
        """Run softhsm2-util."""
        subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True)  # noqa: S607 - of the distribution


def softhsm() -> SoftHsm:
    """Return the token of this process; skip the test where SoftHSM is not installed."""
    made = _made()
    if made is None:
        pytest.skip("SoftHSM is not installed (apt-get install softhsm2)")
    return made


@cache
def _made() -> SoftHsm | None:
    module = next((Path(path) for path in _MODULES if Path(path).is_file()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="edge-token-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    SoftHsm.run("--init-token", "--free", "--label", LABEL, "--so-pin", "314159", "--pin", PIN)
    return SoftHsm(folder, module)
