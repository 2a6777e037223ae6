"""`edge build greengrass`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli._carry import carry
from edge_runtime.cli._common import app_file

if TYPE_CHECKING:
    from edge_runtime.app import App

_ARCHITECTURES = ("aarch64", "armv7l", "armv6l", "x86_64")
_RUNTIME = "com.example.EdgeRuntime"


@click.command()
@click.argument("app", type=click.Path(path_type=Path, exists=True), required=False)
@click.option("--bucket", required=True, metavar="NAME", help="The bucket in S3 that the artifacts will be in.")
@click.option("--release", metavar="N", help="The version of the app's component, as 1.4.0.")
@click.option("--name", metavar="NAME", help="Of the component.  [default: com.example.FOLDER, or that of --runtime]")
@click.option("--runtime", default=_RUNTIME, show_default=True, metavar="NAME", help="The component of the runtime.")
@click.option("--arch", type=click.Choice(_ARCHITECTURES), multiple=True, help="Of the runtime.  [default: all]")
@click.option(
    "--out", "-o", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="[default: this folder]"
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
def greengrass(
    *,
    app: Path | None,
    bucket: str,
    release: str | None,
    name: str | None,
    runtime: str,
    arch: tuple[str, ...],
    out: Path,
    dry_run: bool,
) -> None:
    """Build a component of AWS IoT Greengrass v2, for the classic nucleus and for nucleus lite.

    Without APP it is the runtime's own component; with APP, the file or folder of an app, it is one that runs this app
    with the runtime of the other one. What is built is in OUT/greengrass-build, as `gdk component build` makes it.
    """
    from edge_runtime.plugin import load  # noqa: PLC0415 - the help of this verb does not need it

    target = load("deploy", "greengrass")
    if app is None:
        if release is not None:
            raise click.UsageError("--release is for an app; the runtime has its own version")
        plan = target.plan_runtime(bucket, out, name=name or runtime, architectures=arch or _ARCHITECTURES)
    else:
        if release is None:
            raise click.UsageError("an app needs --release, as 1.4.0")
        if arch:
            raise click.UsageError("--arch is for the runtime; an app is for all machines")
        path = app_file(app)
        name = name or f"com.example.{path.absolute().parent.name}"
        plan = target.plan_app(_read(path), path, bucket, out, name=name, version=release, runtime=runtime)
    carry(plan, dry_run=dry_run)


def _read(path: Path) -> App:
    """Return the app as it is on a core whose name is not known yet."""
    from edge_runtime.building.recipe import CORE  # noqa: PLC0415 - the help of this verb does not need it
    from edge_runtime.loaders import read_app  # noqa: PLC0415 - same

    with tempfile.TemporaryDirectory(prefix="edge-app-") as folder:
        overlay = Path(folder, "thing.json")
        overlay.write_text(json.dumps({"thing": CORE}), encoding="utf-8")
        return read_app(path, overlay)
