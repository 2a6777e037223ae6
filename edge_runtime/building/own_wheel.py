"""The runtime's own wheel, made from what runs here: from a checkout, or from the package as it is installed.

No build tool and no network are needed for it, so that a laptop in the field can set up a device.
"""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import edge_runtime
from edge_runtime.building._wheel_file import write_wheel
from edge_runtime.errors import ConfigError
from edge_runtime.pure.code_files import is_code

NAME = "edge-runtime"
_ABOUT = f"edge_runtime-{edge_runtime.__version__}.dist-info"
_NOT_INSTALLED = frozenset({"RECORD", "WHEEL", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"})


def make_own_wheel(folder: Path) -> Path:
    """Write the wheel of this version into a folder and return where it is; others of it there are removed.

    Raises: ConfigError when the files of this package cannot be found, OSError.
    """
    for other in folder.glob("edge_runtime-*.whl"):
        if (
            f"-{edge_runtime.__version__}-" not in other.name
        ):  # that of this version is replaced: two builds may run at once
            other.unlink(missing_ok=True)
    root = Path(edge_runtime.__file__).parent.parent
    files = from_checkout(root) if (root / "pyproject.toml").is_file() else from_installed()
    return write_wheel(folder, NAME, edge_runtime.__version__, files)


def from_checkout(root: Path) -> dict[str, bytes | Path]:
    """Return the files of a wheel from a checkout, as its pyproject.toml says. Raises: ConfigError, OSError."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    places = {**{name: name for name in wheel["packages"]}, **wheel["force-include"]}
    files: dict[str, bytes | Path] = {}
    for source, target in places.items():
        for path in _code(root / source):
            files[f"{target}/{path.relative_to(root / source).as_posix()}"] = path
    files[f"{_ABOUT}/METADATA"] = metadata(project["project"]).encode()
    files[f"{_ABOUT}/entry_points.txt"] = _entry_points(project["project"]).encode()
    for name in project["project"]["license-files"]:
        files[f"{_ABOUT}/licenses/{name}"] = root / name
    return files


def from_installed() -> dict[str, bytes | Path]:
    """Return the files of a wheel from the installed package. Raises: ConfigError, OSError."""
    try:
        found = importlib.metadata.distribution(NAME)
    except importlib.metadata.PackageNotFoundError:
        found = None
    files: dict[str, bytes | Path] = {}
    for entry in found.files or () if found is not None else ():
        inside = entry.parts[0] != ".." and "__pycache__" not in entry.parts
        if inside and not (entry.parent.suffix == ".dist-info" and entry.name in _NOT_INSTALLED):
            files[entry.as_posix()] = Path(str(entry.locate()))
    if f"{_ABOUT}/METADATA" not in files:
        raise ConfigError(
            f"the files of {NAME} {edge_runtime.__version__} cannot be found",
            hint=f"install it with pip, or run it from a checkout: {Path(edge_runtime.__file__).parent}",
        )
    return files


def metadata(project: Mapping[str, Any]) -> str:
    """Return METADATA of a `[project]` table: what installers look at. Source: PyPA, "Core metadata", 2.4."""
    lines = ["Metadata-Version: 2.4", f"Name: {project['name']}", f"Version: {project['version']}"]
    lines += [f"Summary: {project['description']}", f"License-Expression: {project['license']}"]
    lines += [f"License-File: {name}" for name in project["license-files"]]
    lines += [f"Requires-Python: {project['requires-python']}"]
    lines += [f"Requires-Dist: {line}" for line in project["dependencies"]]
    for extra, wanted in project["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f"Requires-Dist: {_for_extra(line, extra)}" for line in wanted]
    return "\n".join(lines) + "\n"


def _for_extra(line: str, extra: str) -> str:
    what, _, marker = (part.strip() for part in line.partition(";"))
    return f"{what}; ({marker}) and extra == '{extra}'" if marker else f"{what}; extra == '{extra}'"


def _entry_points(project: Mapping[str, Any]) -> str:
    groups = {"console_scripts": project["scripts"], **project["entry-points"]}
    return "\n".join(
        line
        for group, entries in groups.items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()), "")
    )


def _code(path: Path) -> Iterator[Path]:
    """Yield the files below a folder that a package may have: nothing hidden, no caches."""
    for one in sorted(path.iterdir()):
        if is_code(one.name):
            if one.is_dir():
                yield from _code(one)
            else:
                yield one
