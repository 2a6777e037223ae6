"""`edge doctor`: what is right with this machine, what is not, and the command that mends it."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import click

from edge_runtime.cli import _checks
from edge_runtime.cli._common import (
    app_argument,
    app_file,
    app_state_option,
    clean,
    is_releases,
    json_option,
    say,
    say_json,
    state_of,
)
from edge_runtime.cli._finding import LEVELS, Case, Finding, Level, summary
from edge_runtime.pure.topics import check_topic

_MARKS: dict[Level, str] = {"ok": "ok  ", "skip": "----", "warn": "WARN", "fail": "FAIL"}


@click.command()
@app_argument
@app_state_option
@click.option("--no-probe", is_flag=True, help="Do not connect to the broker as the app, even if no host runs.")
@click.option(
    "--publish-probe", default="", metavar="TOPIC", help="Publish a word on TOPIC, to see if that is allowed."
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Hold the app against a policy document, without a network. Repeatable.",
)
@json_option
@click.pass_context
def doctor(
    ctx: click.Context,
    app: Path | None,
    state: Path | None,
    *,
    no_probe: bool,
    publish_probe: str,
    policies: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Check this machine for what APP needs, and say what to do. Changes nothing.

    What is in order is shown at once, the rest at the end, the worst first. What cannot be checked, as without a
    network, is said to be so. The exit status is 1 when something fails.

    When no host is running with the state folder, it connects to the broker as the app would and subscribes as it
    would, to see what the policy allows. It leaves no session behind where there was none, and takes no message that
    waits there. While a host is running it is asked instead: a second connection of the same name would end its own.
    """
    logging.basicConfig(handlers=[logging.NullHandler()])  # what a part would log is among the findings
    if publish_probe:
        check_topic(publish_probe)
    folder = app if app is not None and is_releases(app) else None
    path = folder if folder is not None and not (folder / "current").is_symlink() else app_file(app)
    case = Case(
        path=path, state=state_of(folder or path, state), probe=not no_probe, publish=publish_probe, policies=policies
    )  # fmt: skip
    found = []
    for finding in _checks.everything(case):
        found.append(finding)
        if finding.level == "ok" and not as_json:
            _show(finding)
    if as_json:
        say_json([dataclasses.asdict(finding) for finding in found])
    else:
        for level in LEVELS[:-1]:
            for finding in found:
                if finding.level == level:
                    _show(finding)
        say(summary(found))
    ctx.exit(1 if any(finding.level == "fail" for finding in found) else 0)


def _show(finding: Finding) -> None:
    say(f"{_MARKS[finding.level]}  {clean(finding.what)}: {clean(finding.text)}")
    if finding.fix:
        say(f"      {clean(finding.fix)}")
