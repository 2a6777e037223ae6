"""`edge deploy`: a release of an app to devices, over SSH or on a USB stick."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli._common import app_file, complain, json_option, say, say_json, size
from edge_runtime.errors import ConfigError, EdgeError

if TYPE_CHECKING:
    from edge_runtime.building.parcel import Parcel
    from edge_runtime.cli._delivery import Delivery, Report, Wish

_FILE = click.Path(dir_okay=False, exists=True, path_type=Path)
_RUNTIMES = ("auto", "always", "never")
_BAD = frozenset({"failed", "rolled back", "not well"})


@click.command()
@click.argument("where", nargs=-1, metavar="[HOST]... [APP]")
@click.option("--release", metavar="N", default="", help="Its number.  [default: the next one on that device]")
@click.option("--key", type=_FILE, metavar="FILE", help="The Ed25519 key that signs it: a PEM file.")
@click.option("--health", type=click.FloatRange(0, 3600), default=2.0, show_default=True, metavar="S",
    help="Watch it for so many seconds before it is found well.",
)  # fmt: skip
@click.option("--runtime", default="auto", show_default=True, metavar="auto|always|never|FILE",
    help="Install the runtime when it is missing or older; in any case; never; or this one.",
)  # fmt: skip
@click.option("--runtime-only", is_flag=True, help="Send no app.")
@click.option("--user", "for_user", is_flag=True, help="Without root, for whoever logs in alone.")
@click.option("--ssh-config", type=_FILE, metavar="FILE", help="As ssh -F.")
@click.option("--keep-going", is_flag=True, help="Go on with the next device when one fails.")
@click.option("--usb", type=click.Path(file_okay=False, exists=True, path_type=Path), metavar="DIR",
    help="Write it into a folder instead, for `edge install DIR`.",
)  # fmt: skip
@click.option("--arch", multiple=True, metavar="NAME", help="With --usb: also the runtime, for what `uname -m` says.")
@click.option("--dry-run", is_flag=True, help="Ask the device what it has, show what would be done, and do nothing.")
@json_option
@click.pass_context
def deploy(  # noqa: PLR0913 - an option each
    ctx: click.Context,
    where: tuple[str, ...],
    *,
    release: str,
    key: Path | None,
    health: float,
    runtime: str,
    runtime_only: bool,
    for_user: bool,
    ssh_config: Path | None,
    keep_going: bool,
    usb: Path | None,
    arch: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put an app on a device, and watch whether it is well there; if not, the release before returns.

    HOST is what ssh takes: pi@raspberrypi.local, or a name of ~/.ssh/config. APP is a path: the app file, or the
    folder with its edge.yaml; left out, it is edge.yaml in this folder. What has a slash in it, or is `.`, is a path.

    The runtime is installed first where it is missing or older. Of the app, only the files that changed are sent. The
    exit status is 1 when something was refused or rolled back; what ran before runs on then.

    \b
    Examples:
      edge deploy pi@raspberrypi.local
      edge deploy pi@one pi@two ./station --key release.key
      edge deploy --usb /media/stick --release 1.4.0 --key release.key
    """  # noqa: D301 - click knows a paragraph to leave alone by this sign
    # Nothing is imported before it is needed: a device is asked as soon as can be, and the app is read meanwhile.
    from edge_runtime.building.ssh import check_host  # noqa: PLC0415 - the help of this verb does not need it
    from edge_runtime.cli._delivery import Wish  # noqa: PLC0415 - same

    hosts, app = _sorted(where)
    if bool(hosts) == (usb is not None):
        raise click.UsageError("name a host, as pi@raspberrypi.local, or --usb DIR")
    if arch and usb is None:
        raise click.UsageError("--arch is for --usb")
    if runtime not in _RUNTIMES and not Path(runtime).is_file():
        raise click.UsageError(f"--runtime {runtime}: there is no such file; known: {', '.join(_RUNTIMES)}")
    if release:
        from edge_runtime.building.parcel import check_release  # noqa: PLC0415 - as above

        check_release(release)
    for host in hosts:
        check_host(host)
    path = None if runtime_only else _existing(app_file(app), hosts)
    wish = Wish(release, key, health, runtime, for_user, dry_run, ssh_config)
    if usb is not None:
        from edge_runtime.cli._to_stick import to_stick  # noqa: PLC0415 - as above

        to_stick(usb, wish, _parcel(path), arch, as_json=as_json)
        return
    ctx.exit(_deploy(hosts, path, wish, keep_going=keep_going, as_json=as_json))


def _sorted(where: tuple[str, ...]) -> tuple[list[str], Path | None]:
    """Return hosts and the app among the arguments."""
    hosts = [one for one in where if not _is_path(one)]
    paths = [one for one in where if _is_path(one)]
    if len(paths) > 1:
        raise click.UsageError(f"{' and '.join(paths)} are two apps")
    return hosts, Path(paths[0]) if paths else None


def _existing(path: Path, hosts: list[str]) -> Path:
    if not path.is_file():
        hint = "name its folder, as ./station; or make one: edge init"
        if here := [host for host in hosts if Path(host).exists()]:
            hint = f"{here[0]} was taken for a host; for what lies here, write ./{here[0]}"
        raise ConfigError(f"there is no app file {path}", hint=hint)
    return path


def _is_path(text: str) -> bool:
    return not text.startswith("ssh://") and ("/" in text or text in {".", ".."} or text.endswith((".yaml", ".yml")))


def _parcel(path: Path | None) -> Parcel | None:
    """Return the app of an app file. Raises: ConfigError with all that is wrong with it."""
    from edge_runtime.building.parcel import parcel_of  # noqa: PLC0415 - the help of this verb does not need it

    return None if path is None else parcel_of(path)


def _deploy(hosts: list[str], path: Path | None, wish: Wish, *, keep_going: bool, as_json: bool) -> int:
    """Deploy to one host after the other; return the exit status."""
    from edge_runtime.cli import _delivery  # noqa: PLC0415 - the help of this verb does not need it

    found: list[dict[str, object]] = []
    with contextlib.closing(_delivery.Delivery(hosts[0], wish)) as first:  # it is asked while the app is checked here
        parcel = _parcel(path)
        found.append(_one(first, hosts[0], parcel, wish, as_json=as_json))
    for number, host in enumerate(hosts[1:], 1):
        if not keep_going and found[-1]["verdict"] in _BAD:
            left = ", ".join(hosts[number:])
            complain(ConfigError(f"not tried: {left}", hint="--keep-going goes on after one that fails"))
            break
        with contextlib.closing(_delivery.Delivery(host, wish)) as delivery:
            found.append(_one(delivery, host, parcel, wish, as_json=as_json))
    if as_json:
        say_json(found)
    return 1 if any(one["verdict"] in _BAD for one in found) else 0


def _one(delivery: Delivery, host: str, parcel: Parcel | None, wish: Wish, *, as_json: bool) -> dict[str, object]:
    """Deliver to one host, tell what came of it, and return that."""
    try:
        report = delivery.run(parcel)
    except EdgeError as error:
        complain(error)
        return {"host": host, "verdict": "failed", "text": str(error), "hint": error.hint}
    if not as_json and not wish.dry_run:
        _tell(report)
    return asdict(report)


def _tell(report: Report) -> None:
    host = report.host
    if report.runtime:
        say(f"{host}: runtime {report.runtime} installed, {size(report.runtime_bytes)} sent")
    if report.verdict == "unchanged":
        say(f"{host}: {report.text}; nothing was sent, {report.seconds:.1f} s")
    elif report.verdict:
        sent = f"{report.files_sent} of {report.files} files, {size(report.bytes_sent)} sent, {report.seconds:.1f} s"
        before = f" (was {report.was})" if report.was else ""
        say(f"{host}: release {report.release}{before}: {sent}")
        say(f"{host}: {report.text}")
    for note in report.notes:
        say(f"{host}: note: {note}")
