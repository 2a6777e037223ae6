"""`edge install` and `edge releases`: bundles on the device itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from edge_runtime.cli._common import json_option, say, say_json, state_option, table
from edge_runtime.control import call, is_running
from edge_runtime.errors import EdgeError, HostError

if TYPE_CHECKING:
    from edge_runtime.releases import Releases

_ANSWER_S = 30.0
_TAKE_OVER_S = 60.0
"""So long a host of the new release may take to answer."""
_PAUSE_S = 0.05

_root_option = click.option(
    "--app",
    "root",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="EDGE_APP",
    show_envvar=True,
    help="The folder of releases, where no host runs that knows it.",
)


class _Outcome(NamedTuple):
    release: str
    verdict: str
    """`runs`, `rolled back`, or `staged` when it is tried out at the next start."""
    text: str


@click.command()
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--health", type=click.FloatRange(0, 3600), default=10.0, show_default=True, metavar="S",
    help="Watch it for so many seconds before it is found well.",
)  # fmt: skip
@click.option("--for-good", is_flag=True, help="No trial, whatever its number or signature; only while no host runs.")
@_root_option
@state_option
@json_option
@click.pass_context
def install(
    ctx: click.Context,
    bundle: Path,
    health: float,
    root: Path | None,
    state: Path,
    *,
    for_good: bool,
    as_json: bool,
) -> None:
    """Put a bundle in the place of the release that runs, and watch whether it is well; if not, the one before returns.

    BUNDLE may be a folder, as of a USB stick: then it is the highest release in it that is for this device.

    The running host takes it over, or, where none runs, it is put in place for the next start. The exit status is 1
    when it was refused or has been rolled back.

    --for-good is for whoever keeps proofs and versions elsewhere, as a nucleus of Greengrass does.
    """
    here = _here(state, root)
    if for_good:
        outcome = _put(bundle, root, state, runs=here is not None)
    elif here is None:
        outcome = _stage(bundle, _releases(root), state, health)
    else:
        outcome = _hand_over(bundle, here, state, health)
    if as_json:
        say_json(outcome._asdict())
    else:
        say(outcome.text)
    ctx.exit(1 if outcome.verdict in {"rolled back", "not well"} else 0)


def _put(bundle: Path, root: Path | None, state: Path, *, runs: bool) -> _Outcome:
    """Put a bundle in place for good. Raises: EdgeError."""
    from edge_runtime.host.installer import place_for_good  # noqa: PLC0415 - the help of this verb does not need it

    if runs:
        raise EdgeError("a host runs here", hint="end it first, or leave --for-good out: then it takes the bundle over")
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = place_for_good(_releases(root), state, bundle)
    return _Outcome(name, "staged", f"release {name} is in place")


def _here(state: Path, root: Path | None) -> dict[str, Any] | None:
    """Return what the running host says of its releases; None when no host runs.

    A process that is between two hosts is waited for.

    Raises: EdgeError when the host takes no releases, HostError when it does not answer.
    """
    end_s = time.monotonic() + _TAKE_OVER_S
    while True:
        try:
            return call(state, "releases", within_s=_ANSWER_S, files=True)
        except HostError:
            if is_running(state) and time.monotonic() > end_s:
                raise
            if not is_running(state) and (not _is_held(root) or time.monotonic() > end_s):
                return None
        time.sleep(_PAUSE_S)


def _is_held(root: Path | None) -> bool:
    """Tell whether a process has the releases, though no host of it answers now."""
    if root is None or not root.is_dir():
        return False
    try:
        with _releases(root).held():
            return False
    except HostError:
        return True


def _hand_over(bundle: Path, here: Mapping[str, Any], state: Path, health: float) -> _Outcome:
    """Have the running host install a bundle. Raises: EdgeError that says why it was refused."""
    from edge_runtime.bundles import open_bundle  # noqa: PLC0415 - the help of this verb does not need it
    from edge_runtime.cli._stick import newest  # noqa: PLC0415 - same
    from edge_runtime.releases import name_of  # noqa: PLC0415 - same

    have = {digest: Path(path) for digest, path in here["here"].items()}
    path = newest(bundle, str(here["name"]), have, state) if bundle.is_dir() else bundle
    name = name_of(open_bundle(path, [], state, have))
    try:
        answer = call(state, "install", path=str(path.absolute()), health_s=health, within_s=health + _TAKE_OVER_S)
    except HostError:  # it has given way to the new release, which is on trial now
        return _verdict(state, name, health)
    return _Outcome(name, str(answer["verdict"]), str(answer["text"]))


def _verdict(state: Path, name: str, health: float) -> _Outcome:
    """Wait for the end of a trial. Raises: HostError when no host comes back."""
    found = _settled(state, health + _TAKE_OVER_S)
    if found["current"] == name and found["failed"] == name:
        text = f"release {name} is not well: {found['reason']}; there is no release before it, so it goes on"
        return _Outcome(name, "not well", text)
    if found["current"] == name:
        return _Outcome(name, "runs", f"release {name} is well")
    return _Outcome(name, "rolled back", f"release {name} was rolled back: {found['reason'] or 'it was not started'}")


def _settled(state: Path, within_s: float) -> dict[str, Any]:
    """Return what a host says of its releases once none is on trial. Raises: HostError when no host comes back."""
    end_s = time.monotonic() + within_s
    error = HostError("the host has not come back", hint="its log says why")
    while time.monotonic() < end_s:
        try:
            found = call(state, "releases", within_s=_ANSWER_S)
        except HostError as gone:
            error = gone
        else:
            if found["trial"] is None and found["runs"] == found["current"]:
                return found
        time.sleep(_PAUSE_S)
    raise error


def _stage(bundle: Path, releases: Releases, state: Path, health: float) -> _Outcome:
    """Put a bundle in place while no host runs. Raises: EdgeError."""
    from edge_runtime.cli._stick import newest  # noqa: PLC0415 - the help of this verb does not need it
    from edge_runtime.host.installer import stage_offline  # noqa: PLC0415 - same

    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if bundle.is_dir():
        now = releases.manifest()
        bundle = newest(bundle, now.name if now is not None else "", releases.files(), state)
    was = releases.current
    name = stage_offline(releases, state, bundle, health)
    if name == was:
        return _Outcome(name, "staged", f"release {name} is in place already: edge run {releases.root}")
    text = f"release {name} is in place, and is tried out at the next start: edge run {releases.root}"
    return _Outcome(name, "staged", text)


def _releases(root: Path | None) -> Releases:
    from edge_runtime.releases import Releases as Found  # noqa: PLC0415 - the help of this verb does not need it

    if root is None:
        raise EdgeError(
            "no host runs here, so it must be said where releases are", hint="add --app DIR, or set EDGE_APP"
        )
    return Found(root)


@click.command()
@click.argument("what", type=click.Choice(["ls", "rollback"]), default="ls")
@click.option("--files", is_flag=True, help="With --json: also the files of the release that runs, by their SHA-256.")
@_root_option
@state_option
@json_option
def releases(what: str, root: Path | None, state: Path, *, files: bool, as_json: bool) -> None:
    """Show the releases on this device; with rollback, go back to the one before the one that runs."""
    found = _found(root, state, files=files)
    if what == "rollback":
        found = _rolled_back(found, root, state)
    if as_json:
        say_json(found)
        return
    rows = [
        (name, "runs" if name == found["current"] else "kept", "on trial" if _is_on_trial(found, name) else "")
        for name in dict.fromkeys([found["current"], *found["order"]])
        if name
    ]
    table(["release", "state", "note"], rows)
    if found["failed"]:
        say(f"release {found['failed']} was rolled back: {found['reason']}")


def _found(root: Path | None, state: Path, *, files: bool) -> dict[str, Any]:
    try:
        return call(state, "releases", within_s=_ANSWER_S, files=files)
    except HostError:
        if is_running(state):
            raise
        return _releases(root).facts(files=files)


def _rolled_back(before: Mapping[str, Any], root: Path | None, state: Path) -> dict[str, Any]:
    """Go back, once, and return what is here then. Raises: EdgeError."""
    if "runs" not in before:  # no host said so
        from edge_runtime.host.installer import go_back  # noqa: PLC0415 - the help of this verb does not need it

        here = _releases(root)
        with here.held():
            go_back(here, state)
        return here.facts()
    try:
        return call(state, "releases", within_s=_TAKE_OVER_S, back=True)
    except HostError:  # it gave way before it could say so
        found = _settled(state, _TAKE_OVER_S)
        if found["current"] == before["current"]:
            raise
        return found


def _is_on_trial(found: Mapping[str, Any], name: str) -> bool:
    return found["trial"] is not None and found["trial"]["new"] == name
