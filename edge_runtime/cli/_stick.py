"""Which of the bundles in a folder, as on a USB stick, is for this device."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

from edge_runtime.bundles import Bundle, open_bundle
from edge_runtime.errors import ConfigError, NotFoundError
from edge_runtime.pure.jobs import release_order

SUFFIX = ".edge"


def newest(folder: Path, name: str, have: Mapping[str, Path], work: Path) -> Path:
    """Return the bundle of the highest release for this device.

    `name` is that of the bundle which runs here; empty when none does: then all in the folder must be of one name.
    `have` and `work` are as for `open_bundle`. Who has signed it is not looked at: installing does that.

    Raises: NotFoundError when there is none, ConfigError when it cannot be told which, BundleError for a damaged one.
    """
    others, found = [], []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if path.name.startswith("."):  # what some systems lay beside a file
            continue
        manifest = (bundle := open_bundle(path, [], work, have)).manifest
        if name and manifest.name != name:
            others.append(f"{path.name} is for {manifest.name}")
        elif manifest.architecture not in {"", platform.machine()}:
            others.append(f"{path.name} is for {manifest.architecture}")
        else:
            found.append(bundle)
    if not found:
        told = f": {', '.join(others)}" if others else ""
        raise NotFoundError(
            f"no bundle in {folder} is for this device{told}", hint=f"write one: edge deploy --usb {folder}"
        )
    return _highest(folder, found).path


def _highest(folder: Path, found: list[Bundle]) -> Bundle:
    names = sorted({bundle.manifest.name for bundle in found})
    if len(names) > 1:
        raise ConfigError(f"{folder} has bundles for {', '.join(names)}", hint="name the file that is for this device")
    most = max(release_order(bundle.manifest.release) for bundle in found)
    highest = [bundle for bundle in found if release_order(bundle.manifest.release) == most]
    if len({bundle.digest for bundle in highest}) > 1:
        files = " and ".join(bundle.path.name for bundle in highest)
        raise ConfigError(f"{files} are the same release with different content", hint="name one of them")
    return highest[0]
