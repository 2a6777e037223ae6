"""A release of an app on its way to a device: what it holds, its number, and what of it has to be sent."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edge_runtime.building.app_files import files_of
from edge_runtime.bundles import describe, write
from edge_runtime.errors import ConfigError, StoreError
from edge_runtime.loaders import overlay_in, read_app
from edge_runtime.pure.bundle import File, Manifest
from edge_runtime.pure.jobs import RefusalError, release_order
from edge_runtime.signatures import sign

FIRST = "1.0.0"


@dataclass(frozen=True, slots=True)
class Parcel:
    """An app that was found to be right."""

    name: str
    sources: Mapping[str, Path]
    files: tuple[File, ...]

    def manifest(self, release: str) -> Manifest:
        """Return what a bundle of it says of itself."""
        return Manifest(self.name, release, self.files)

    def write(self, path: Path, release: str, key: Path | None, have: Collection[str] = ()) -> int:
        """Write a bundle, without the files of which the device has the SHA-256; return how many are in it.

        Raises: BundleError when a file has changed meanwhile, ConfigError for a wrong key, StoreError.
        """
        sent = {file.path: self.sources[file.path] for file in self.files if file.sha256 not in have}
        with tempfile.TemporaryDirectory(prefix="edge-bundle-") as work:
            signing = None if key is None else partial(sign, key=key, folder=Path(work))
            try:
                write(path, self.manifest(release), sent, signing)
            except OSError as error:
                raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
        return len(sent)


def parcel_of(app_file: Path, state: Path | None = None) -> Parcel:
    """Return the app of an app file, checked as a device would check it; `state` is as for `edge run`.

    Raises: ConfigError with all that is wrong with it.
    """
    app = read_app(app_file, overlay_in(state or app_file.parent / ".edge"))
    sources = files_of(app, app_file)
    try:
        return Parcel(app.thing, sources, describe(sources))
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from error


def check_release(release: str) -> str:
    """Return the number of a release, if it is one. Raises: ConfigError."""
    try:
        release_order(release)
    except RefusalError as error:
        raise ConfigError(str(error)) from error
    return release


def next_release(facts: Mapping[str, Any]) -> str:
    """Return the number that comes after all that `Releases.facts` knows of, in its last place."""
    names = [str(facts.get("current") or ""), str(facts.get("failed") or "")]
    known = [str(facts.get("highest") or ""), *(name.rpartition("-")[0] for name in names)]
    numbers = [one for one in known if one]
    if not numbers:
        return FIRST
    before, _, last = max(numbers, key=release_order).rpartition(".")
    return f"{before}.{int(last) + 1}" if before else str(int(last) + 1)
