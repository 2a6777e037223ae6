"""`edge run`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_runtime.cli._common import Span, app_argument, app_file, app_state_option, is_releases, state_of


@click.command()
@app_argument
@app_state_option
@click.option("--simulate", is_flag=True, help="Touch no hardware: devices are simulated.")
@click.option("--watch", is_flag=True, help="Reload a function when its code is saved.")
@click.option(
    "--script",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="With --simulate: play what happens, from a trace.",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="With --simulate: how many times faster than real time at most.  [default: with --script as fast as it can]",
)
@click.option("--until", type=Span(), metavar="TIME", help="With --script or --speed: end after so long.")
@click.pass_context
def run(
    ctx: click.Context,
    app: Path | None,
    state: Path | None,
    *,
    simulate: bool,
    watch: bool,
    script: Path | None,
    speed: float | None,
    until: float | None,
) -> None:
    """Run an app in the foreground until SIGTERM or Ctrl-C.

    APP is the app file, or the folder with its edge.yaml; left out, it is edge.yaml in this folder. It may also be an
    empty folder: releases are put into it by `edge install`, and the current one runs.

    With --watch a function gets new workers as soon as a file of its code is saved, each after what it has in hand;
    what is wrong with the new code is shown at once. When APP is saved and right, another host begins with it.

    With --script or --speed the world is simulated as a whole: its time, which stands still while a handler or the
    disk works, and its cloud, so that the app's link is not dialled. In the end it says what became of every message;
    the exit status is 1 when one is lost. What is kept goes with the end, unless --state names a new folder.
    """
    path = app if app is not None and is_releases(app) else app_file(app)
    if script is None and speed is None:
        if until is not None:
            raise click.UsageError("--until is for --script or --speed")
        from edge_runtime import host  # noqa: PLC0415 - the help of this verb does not need the host

        ctx.exit(host.run(path, state_of(path, state), simulate=simulate, watch=watch))
    if not simulate or watch:
        raise click.UsageError("--script and --speed need --simulate, and go without --watch")
    from edge_runtime.cli._play import Wish, play, report  # noqa: PLC0415 - as above

    outcome = play(Wish(path, script, state, speed or 0.0, until))
    report(outcome)
    ctx.exit(0 if outcome.is_well else 1)
