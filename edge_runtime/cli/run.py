"""`edge run`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_runtime.cli._common import app_file, state_of


@click.command()
@click.argument("app", type=click.Path(path_type=Path), required=False, envvar="EDGE_APP")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="EDGE_STATE",
    show_envvar=True,
    help="Where queues and everything else is kept.  [default: .edge beside APP]",
)
@click.option("--simulate", is_flag=True, help="Touch no hardware: devices are simulated.")
@click.option("--watch", is_flag=True, help="Reload a function when its code is saved.")
@click.pass_context
def run(ctx: click.Context, app: Path | None, state: Path | None, *, simulate: bool, watch: bool) -> None:
    """Run an app in the foreground until SIGTERM or Ctrl-C.

    APP is the app file, or the folder with its edge.yaml; left out, it is edge.yaml in this folder.

    With --watch a function gets new workers as soon as a file of its code is saved, each after what it has in hand;
    what is wrong with the new code is shown at once. When APP is saved and right, another host begins with it.
    """
    from edge_runtime import host  # noqa: PLC0415 - the help of this verb does not need the host

    path = app_file(app)
    ctx.exit(host.run(path, state_of(path, state), simulate=simulate, watch=watch))
