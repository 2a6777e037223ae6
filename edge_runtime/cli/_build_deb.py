"""`edge build deb`."""

from __future__ import annotations

import platform
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from edge_runtime.cli._carry import carry
from edge_runtime.errors import ConfigError

_FILE = click.Path(dir_okay=False, exists=True, path_type=Path)
_DEBIAN = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "armv6l": "armhf"}


@click.command()
@click.option("--arch", type=click.Choice(("amd64", "arm64", "armhf", "all")),
    help="As `dpkg --print-architecture` says on it; all: one package for each of them.  [default: this machine's]",
)  # fmt: skip
@click.option("--bundle", "given", type=_FILE, multiple=True, metavar="FILE",
    help="A runtime that `edge build runtime` made, in place of one made now. May be repeated.",
)  # fmt: skip
@click.option("--revision", metavar="N", default="", help="Added to the version, as in 1.4.0-N: for changed packages.")
@click.option("--out", "-o", type=click.Path(file_okay=False, path_type=Path), default=Path(), metavar="DIR",
    help="[default: this folder]",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
def deb(arch: str | None, given: tuple[Path, ...], revision: str, out: Path, *, dry_run: bool, as_json: bool) -> None:
    """Build a Debian package that installs without a network, with a hardened service.

    \b
    On the device:
      sudo apt install ./edge-runtime_0.1.0_arm64.deb
    """  # noqa: D301 - click knows a paragraph to leave alone by this sign
    from edge_runtime import __version__  # noqa: PLC0415 - the help of this verb does not need it
    from edge_runtime.plugin import load  # noqa: PLC0415 - same

    target, runtime = load("deploy", "deb"), load("deploy", "runtime")
    arch = arch or _here()
    bundles = {_machine(path): path for path in given}
    wanted = (*target.MACHINES[arch], *target.ALSO.get(arch, ()))
    with tempfile.TemporaryDirectory(prefix="edge-deb-") as folder:
        work, steps = Path(folder), []
        for machine in [] if given else wanted:
            bundles[machine] = work / f"{machine}.zip"
            steps += runtime.plan(machine, bundles[machine]).steps
        version = f"{__version__}-{revision}" if revision else __version__
        plan = target.plan(out, work, bundles, arch, version)
        carry(replace(plan, steps=(*steps, *plan.steps)), dry_run=dry_run, as_json=as_json)


def _here() -> str:
    if (machine := platform.machine()) in _DEBIAN:
        return _DEBIAN[machine]
    raise ConfigError(f"there is no package for {machine}", hint=f"--arch, with one of {', '.join(_DEBIAN.values())}")


def _machine(path: Path) -> str:
    """Return which machine a runtime bundle is for. Raises: BundleError, ConfigError."""
    from edge_runtime.bundles import open_bundle  # noqa: PLC0415 - the help of this verb does not need it

    with tempfile.TemporaryDirectory(prefix="edge-deb-") as folder:
        manifest = open_bundle(path, [], Path(folder)).manifest
    if manifest.name != "edge-runtime":
        raise ConfigError(f"{path} is {manifest.name}, and no runtime", hint="edge build runtime")
    return manifest.architecture
