"""Which files make up an app: what goes into a bundle of it, and what does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.app import App
from edge_runtime.errors import ConfigError
from edge_runtime.pure.code_files import is_code
from edge_runtime.releases import APP_FILE

DRIVERS = "hardware"


def files_of(app: App, app_file: Path) -> dict[str, Path]:
    """Return the files of an app by their path in a bundle.

    They are the app file, the code and layers of functions, what the app file names beside them (keys that prove
    bundles, parameters of Greengrass), and drivers of its own. What belongs to one device stays out: certificates and
    private keys of the link, state, and what editors and Python leave behind.

    Raises: ConfigError when something lies outside of the app's folder: it would not be where the app looks for it.
    """
    base = app_file.parent.resolve()
    found = {APP_FILE: app_file}
    wanted = [(f"the code of function {one.name!r}", one.code) for one in app.functions]
    wanted += [(f"a layer of function {one.name!r}", layer) for one in app.functions for layer in one.layers]
    wanted += [("a file that the app names", path) for path in app.files]
    wanted.append(("its drivers", base / DRIVERS))
    for what, path in wanted:
        if path == base / DRIVERS and not path.is_dir():
            continue
        for file in _below(path):
            place = file.resolve()
            if not place.is_relative_to(base) or not path.absolute().is_relative_to(app_file.parent.absolute()):
                raise ConfigError(
                    f"{what}, {path}, lies outside of the app's folder {base}",
                    hint="a bundle holds what is in the folder of the app file: move it there",
                )
            found[file.absolute().relative_to(app_file.parent.absolute()).as_posix()] = file
    return found


def _below(path: Path) -> Iterator[Path]:
    """Yield a file, or all files below a folder that may be code."""
    if not path.is_dir():
        yield path
        return
    for place, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if is_code(name))
        for name in sorted(names):
            if is_code(name):
                yield Path(place, name)
