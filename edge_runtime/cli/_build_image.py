"""`edge build image` and `edge build seed`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from edge_runtime.cli._carry import carry
from edge_runtime.errors import ConfigError

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--out", "-o", type=click.Path(file_okay=False, path_type=Path), default=Path(), metavar="DIR",
    help="Where the results go, and 5 GB for a while.  [default: this folder]",
)  # fmt: skip
@click.option(
    "--deb", type=_FILE, metavar="FILE", help="The runtime's package for amd64.  [default: it is built first]"
)
@click.option("--size", type=int, default=3072, show_default=True, metavar="MB", help="Of the root disk.")
@click.option("--format", "formats", type=click.Choice(["qcow2", "vmdk"]), multiple=True, help="Beside RAW; repeat it.")
@click.option("--mirror", default="", metavar="URL", help="Where Debian's packages come from.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
def image(
    out: Path, deb: Path | None, size: int, formats: tuple[str, ...], mirror: str, *, dry_run: bool, as_json: bool
) -> None:
    """Make a disk image for x86-64 machines: RAW, with a BIOS boot record.

    It starts on KVM, Proxmox, VMware, VirtualBox, EC2, a Snowball Edge and bare machines. Debian, the runtime,
    cloud-init and an SSH server are in it; state goes to a second disk. It is made as root, in three minutes.
    """
    from edge_runtime.plugin import load  # noqa: PLC0415 - the help of this verb does not need it

    target = load("deploy", "image")
    options = target.Options(out.absolute(), deb, size_mb=size, formats=formats, mirror=mirror)
    plan = target.plan(options)
    if not dry_run and (why := target.missing()):
        raise ConfigError("an image cannot be made here", hint=why)
    out.mkdir(parents=True, exist_ok=True)
    carry(plan, dry_run=dry_run, as_json=as_json)


@click.command()
@click.argument("bundle", type=click.Path(dir_okay=False, exists=True, path_type=Path))
@click.option("--name", default="edge", show_default=True, help="The machine's.")
@click.option("--ssh-key", type=_FILE, metavar="FILE", help="The public key of who may log in as `debian`.")
@click.option("--script", type=_FILE, metavar="FILE", help="Write the user data alone, as a shell script.")
@click.option("--out", "-o", type=_FILE, metavar="FILE", help="Write a small disk with it, for machines of your own.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
def seed(
    bundle: Path,
    name: str,
    ssh_key: Path | None,
    script: Path | None,
    out: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put a bundle of an app into user data: a machine made from the image installs it at its first start.

    With --script it is what a cloud or a Snowball Edge takes as user data. With --out it is a disk labelled cidata, to
    be attached beside the image where nothing serves metadata.
    """
    from edge_runtime.plugin import load  # noqa: PLC0415 - the help of this verb does not need it

    if script is None and out is None:
        raise click.UsageError("say --script FILE, --out FILE, or both")
    target = load("deploy", "image")
    key = "" if ssh_key is None else _public(ssh_key)
    with tempfile.TemporaryDirectory(prefix="edge-seed-") as work:
        plan = target.seed(bundle, script, out, target.Machine(name, key), Path(work))
        if not dry_run and out is not None and (why := target.missing(target.SEED_PROGRAMS, root=False)):
            raise ConfigError("the disk cannot be made here", hint=why)
        carry(plan, dry_run=dry_run, as_json=as_json)


def _public(path: Path) -> str:
    """Return a public SSH key. Raises: ConfigError for a file that has none: it could be the private one."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"the key {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        text = ""
    if not text.startswith(("ssh-", "ecdsa-", "sk-")) or "\n" in text:
        raise ConfigError(f"{path} is no public SSH key", hint="its name ends with .pub")
    return text
