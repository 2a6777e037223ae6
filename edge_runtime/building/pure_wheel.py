"""Wheels for machines that nobody makes a wheel for, of packages that work without their compiled parts.

PyYAML is one: without `_yaml` it reads with its own Python. What is left out was proved by the hash of the lock before.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from pathlib import Path

from edge_runtime.building._wheel_file import write_wheel
from edge_runtime.building.wheels import gather
from edge_runtime.errors import ConfigError

_COMPILED = (".so", ".pyd", ".dll")


def gather_pure(lock: Path, folder: Path) -> None:
    """Write a wheel for any machine of each package in a lock. Others in the folder stay. Needs the network.

    Raises: as `gather`; ConfigError when a wheel is none.
    """
    with tempfile.TemporaryDirectory(prefix="edge-wheels-") as name:
        fetched = Path(name, "wheels")
        gather(lock, fetched, "x86_64", ("3.11",))
        for wheel in sorted(fetched.iterdir()):
            strip(wheel, folder)


def strip(wheel: Path, folder: Path) -> Path:
    """Write a wheel without the compiled parts of another one, and return where it is.

    Raises: ConfigError when it is no wheel.
    """
    match = re.match(r"([A-Za-z0-9_.]+)-([^-]+)-.+\.whl", wheel.name)
    try:
        with zipfile.ZipFile(wheel) as zipped:
            names = [one for one in zipped.namelist() if not one.endswith(("/", "/RECORD", "/WHEEL", *_COMPILED))]
            files = {one: zipped.read(one) for one in names}
    except zipfile.BadZipFile as error:
        raise ConfigError(f"{wheel} is no wheel: {error}") from error
    if match is None:
        raise ConfigError(f"{wheel.name} is no name of a wheel")
    # The folder that says what it is bears the name as it is written there.
    about = f"{match[1].lower().replace('-', '_')}-{match[2]}.dist-info"
    renamed = {re.sub(r"^[^/]+\.dist-info(?=/)", about, one): data for one, data in files.items()}
    return write_wheel(folder, match[1], match[2], renamed)
