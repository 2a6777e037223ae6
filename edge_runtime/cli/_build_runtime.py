"""`edge build runtime`."""

from __future__ import annotations

import platform
from pathlib import Path

import click

from edge_runtime.cli._carry import carry

_FILE = click.Path(dir_okay=False, path_type=Path)
_ARCHITECTURES = ("aarch64", "armv7l", "armv6l", "x86_64")


@click.command()
@click.option("--arch", type=click.Choice(_ARCHITECTURES), help="As `uname -m` says on it.  [default: this machine's]")
@click.option("--key", type=_FILE, metavar="FILE", help="The Ed25519 key that signs it: a PEM file.")
@click.option("--out", "-o", type=_FILE, metavar="FILE", help="[default: edge-runtime-ARCH.zip in this folder]")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
def runtime(arch: str | None, key: Path | None, out: Path | None, *, dry_run: bool, as_json: bool) -> None:
    """Put this runtime and all that it needs into one file that installs without a network.

    Wheels are fetched once, each is proved by its hash, and they are kept for the next time.

    \b
    On the device:
      sh edge-install.sh install edge-runtime-aarch64.zip ~/.local/share/edge-runtime
    """  # noqa: D301 - click knows a paragraph to leave alone by this sign
    from edge_runtime.plugin import load  # noqa: PLC0415 - the help of this verb does not need it

    arch = arch or platform.machine()
    plan = load("deploy", "runtime").plan(arch, out or Path(f"edge-runtime-{arch}.zip"), key=key)
    carry(plan, dry_run=dry_run, as_json=as_json)
