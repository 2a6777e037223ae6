"""`edge build`: what goes to devices, as files."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import click

from edge_runtime.cli._build_deb import deb
from edge_runtime.cli._build_greengrass import greengrass
from edge_runtime.cli._build_image import image, seed
from edge_runtime.cli._build_runtime import runtime
from edge_runtime.cli._common import app_file, say, say_json, state_of

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def build() -> None:
    """Build what goes to devices."""


@build.command()
@click.argument("app", type=click.Path(path_type=Path), required=False, envvar="EDGE_APP")
@click.option("--release", required=True, metavar="N", help="Its number, as 1.4.0: a device takes no lower one.")
@click.option("--key", type=_FILE, metavar="FILE", help="The Ed25519 key that signs it: a PEM file.")
@click.option("--out", "-o", type=_FILE, metavar="FILE", help="[default: THING-RELEASE.edge in this folder]")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
def bundle(app: Path | None, release: str, key: Path | None, out: Path | None, *, as_json: bool) -> None:
    """Put a release of an app into one file, for `edge install`, a USB stick or a job.

    The app is checked first. The same content is always the same file. Without --key it is not signed: a device that
    knows keys (`link: {jobs: {keys: ...}}`) does not take it.

    \b
    A key of yours, once:
      openssl genpkey -algorithm ed25519 -out release.key
      openssl pkey -in release.key -pubout -out release.pem
    """  # noqa: D301 - click knows a paragraph to leave alone by this sign
    from edge_runtime.building.app_files import files_of  # noqa: PLC0415 - the help of this verb does not need it
    from edge_runtime.bundles import describe, write  # noqa: PLC0415 - same
    from edge_runtime.loaders import overlay_in, read_app  # noqa: PLC0415 - same
    from edge_runtime.pure.bundle import Manifest  # noqa: PLC0415 - same
    from edge_runtime.signatures import sign  # noqa: PLC0415 - same

    path = app_file(app)
    found = read_app(path, overlay_in(state_of(path, None)))
    sources = files_of(found, path)
    target = out or Path(f"{found.thing}-{release}.edge".replace(":", "_"))
    manifest = Manifest(found.thing, release, describe(sources))
    with tempfile.TemporaryDirectory(prefix="edge-bundle-") as work:
        write(target, manifest, sources, None if key is None else partial(sign, key=key, folder=Path(work)))
    size = target.stat().st_size
    if as_json:
        say_json({"file": str(target), "release": release, "files": len(sources), "bytes": size, "signed": bool(key)})
    else:
        say(f"{target}: release {release}, {len(sources)} files, {size} bytes{'' if key else ', not signed'}")


build.add_command(deb)
build.add_command(runtime)
build.add_command(greengrass)
build.add_command(image)
build.add_command(seed)
