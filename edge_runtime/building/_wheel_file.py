"""Wheels as files: the same content makes the same file.

Source: the Python packaging user guide, "Binary distribution format".
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

_THEN = (1980, 1, 1, 0, 0, 0)
ABOUT = b"Wheel-Version: 1.0\nGenerator: edge-runtime\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes | Path]) -> Path:
    """Write a wheel for any machine and return where it is. `files` are all but WHEEL and RECORD, by their path in it.

    Raises: OSError.
    """
    plain = name.lower().replace("-", "_")
    about = f"{plain}-{version}.dist-info"
    everything = {member: one if isinstance(one, bytes) else one.read_bytes() for member, one in files.items()}
    everything[f"{about}/WHEEL"] = ABOUT
    everything[f"{about}/RECORD"] = _record(everything, f"{about}/RECORD")
    path = folder / f"{plain}-{version}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # two builds may run at once
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as out:
        for member, data in sorted(everything.items()):
            info = zipfile.ZipInfo(member, _THEN)
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
            info.external_attr = (stat.S_IFREG | _mode(files.get(member))) << 16
            out.writestr(info, data)
    part.replace(path)
    return path


def _mode(source: bytes | Path | None) -> int:
    executable = isinstance(source, Path) and source.stat().st_mode & stat.S_IXUSR
    return 0o755 if executable else 0o644


def _record(files: Mapping[str, bytes], itself: str) -> bytes:
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    for member, data in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")
        rows.writerow([member, f"sha256={digest}", len(data)])
    rows.writerow([itself, "", ""])
    return out.getvalue().encode()
