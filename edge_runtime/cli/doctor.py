"""`edge doctor`: what is right with this machine, what is not, and the command that mends it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from edge_runtime.cli import _checks
from edge_runtime.cli._common import app_file, clean, json_option, say, say_json, state_of

_MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


@click.command()
@click.argument("app", type=click.Path(path_type=Path), required=False, envvar="EDGE_APP")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="EDGE_STATE",
    show_envvar=True,
    help="The state folder of the host.  [default: .edge beside APP]",
)
@json_option
@click.pass_context
def doctor(ctx: click.Context, app: Path | None, state: Path | None, *, as_json: bool) -> None:
    """Check this machine for what APP needs, and say what to do. Changes nothing.

    The exit status is 1 when something fails.
    """
    path = app_file(app)
    found = []
    for finding in _checks.everything(path, state_of(path, state)):
        found.append(finding)
        if not as_json:
            say(f"{_MARKS[finding.level]}  {clean(finding.what)}: {clean(finding.text)}")
            if finding.fix:
                say(f"      {clean(finding.fix)}")
    if as_json:
        say_json([dataclasses.asdict(finding) for finding in found])
    ctx.exit(1 if any(finding.level == "fail" for finding in found) else 0)
