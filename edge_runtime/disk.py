"""What is on the disk, and not only on its way there."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Return when the bytes of a file, or the names in a folder, are on the disk (fsync(2)): a power cut leaves them.

    A name that was made, renamed or removed is safe when its folder is synced. Raises: OSError.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
