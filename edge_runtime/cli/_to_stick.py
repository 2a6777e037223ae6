"""`edge deploy --usb`: a release as files, with what a person needs to know about them."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime import plugin
from edge_runtime.building import runtimes
from edge_runtime.building.plan import Copy, Plan, Step, Write, shown
from edge_runtime.cli._carry import run_plan
from edge_runtime.cli._common import say, say_json, size
from edge_runtime.cli._stick import SUFFIX
from edge_runtime.errors import ConfigError

if TYPE_CHECKING:
    from edge_runtime.building.parcel import Parcel
    from edge_runtime.cli._delivery import Wish

_README = """Release {release} of {name}, for devices of the edge runtime.

On a device with this stick plugged in and mounted, as on /media/stick:

  edge install /media/stick

takes the highest release that is for it. Where the runtime came as a package: sudo edge install /media/stick
The release before returns by itself when the new one is not well; edge releases tells what runs.
{runtime}"""
_RUNTIME = """
A device without the runtime gets it first, without a network (Python 3.11 or newer must be there):

  sh edge-install.sh install edge-runtime-$(uname -m).zip ~/.local/share/edge-runtime
"""


def to_stick(folder: Path, wish: Wish, parcel: Parcel | None, architectures: tuple[str, ...], *, as_json: bool) -> None:
    """Write a whole, signed bundle into a folder, the runtime for some architectures, and a note beside them.

    Raises: ConfigError when no release is named; EdgeError.
    """
    if parcel is None:
        raise ConfigError("the runtime alone goes to a stick by edge build runtime", hint="leave out --runtime-only")
    if not wish.release:
        raise ConfigError("a stick knows no release before it", hint="say its number: --release 1.4.0")
    with tempfile.TemporaryDirectory(prefix="edge-deploy-") as work:
        file = Path(work) / f"{parcel.name}-{wish.release}{SUFFIX}".replace(":", "_")
        parcel.write(file, wish.release, wish.key)
        text = _README.format(release=wish.release, name=parcel.name, runtime=_RUNTIME if architectures else "")
        plan = _plan(folder, text, file, architectures)
        if wish.dry_run:
            say(shown(plan).rstrip("\n"))
            return
        needed = sum(step.source.stat().st_size for step in plan.steps if isinstance(step, Copy))
        if (free := shutil.disk_usage(folder).free) < needed:
            raise ConfigError(f"{folder} has no room: {size(needed)} are needed, and {size(free)} are free")
        run_plan(plan)
    os.sync()  # it may be pulled out at once
    found = {str(path): path.stat().st_size for path in plan.results}
    if as_json:
        say_json([{"file": path, "bytes": count} for path, count in found.items()])
        return
    for path, count in found.items():
        say(f"{path}: {size(count)}")
    if wish.key is None:
        say("note: it is not signed; a device that knows keys does not take it")


def _plan(folder: Path, text: str, file: Path, architectures: tuple[str, ...]) -> Plan:
    steps: list[Step] = []
    for architecture in architectures:
        built = runtimes.bundle(architecture, run_plan)
        steps.append(Copy(built, folder / f"edge-runtime-{architecture}.zip", 0o644))
    if architectures:
        installer = next(
            path for place in plugin.folders("deploy") if (path := place / "installer" / "edge-install.sh").is_file()
        )
        steps.append(Copy(installer, folder / installer.name, 0o755))
    steps.append(Write(folder / "README.txt", text.encode()))
    steps.append(Copy(file, folder / file.name, 0o644))  # the last one: what can be installed is whole
    return Plan("usb", tuple(steps), tuple(step.path for step in steps if isinstance(step, Copy | Write)))
