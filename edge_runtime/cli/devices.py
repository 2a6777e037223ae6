"""`edge devices`: the devices, live, and what they are wired to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from edge_runtime import control
from edge_runtime.cli._common import app_file, clean, json_option, say, say_json, state_of, state_option, table
from edge_runtime.cli._devices_shown import devices_shown
from edge_runtime.cli._nearest import NearestGroup, check_devices


@click.group(cls=NearestGroup, invoke_without_command=True)
@state_option
@json_option
@click.pass_context
def devices(ctx: click.Context, state: Path, *, as_json: bool) -> None:
    """List the devices of the running host: wiring, value, last event, who listens.

    A device with a fault works again by itself once the cause is gone.
    """
    if ctx.invoked_subcommand is not None:
        ctx.default_map = {"watch": {"state": str(state), "as_json": as_json}, "check": {"as_json": as_json}}
        return
    answer = control.call(state, "devices")
    if as_json:
        say_json(answer)
        return
    say(_board(answer))
    if answer["devices"]:
        say("")
        rows = devices_shown(answer["devices"])
        table(list(rows[0]), [row.values() for row in rows])
    else:
        say("no devices are declared")


def _board(answer: Mapping[str, Any]) -> str:
    factory = answer.get("factory") or "not needed yet"
    return f"board {clean(answer.get('board') or 'not declared')}, pins driven by: {clean(factory)}"


@devices.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@state_option
@json_option
def watch(names: Sequence[str], state: Path, *, as_json: bool) -> None:
    """Show live what devices do, all of them or those named.

    On a terminal each has a line: how its value went, its least and greatest, its value now, and marks where something
    happened. In a pipe, or with --json, each event is a line. Ends with Ctrl-C.
    """
    from edge_runtime.cli import _devices_watch  # noqa: PLC0415 - the list does not need it

    rows = control.call(state, "devices")["devices"]
    check_devices(names, [row["name"] for row in rows])
    if not rows:
        say("no devices are declared")
        return
    wanted = [row for row in rows if not names or row["name"] in names]
    _devices_watch.watch(state, wanted, as_json=as_json)


@devices.command()
@click.argument("app", required=False, type=click.Path(path_type=Path))
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), envvar="EDGE_STATE", show_envvar=True)
@json_option
def check(app: Path | None, state: Path | None, *, as_json: bool) -> None:
    """Show what the devices of an app file are wired to, by the numbers on the header. Opens nothing.

    APP is the file or its folder; without it, edge.yaml here. Says first what does not fit together, or the board.
    """
    from edge_runtime.devices import wiring  # noqa: PLC0415 - it imports gpiozero
    from edge_runtime.loaders import overlay_in, read_app  # noqa: PLC0415 - pydantic and yaml take a while

    path = app_file(app)
    declared = read_app(path, overlay_in(state_of(path, state)))
    board = wiring.board_for(declared.board, declared.base)
    found = wiring.check(declared.devices, board, declared.base)
    rows = list(wiring.rows(found, declared.devices))
    if as_json:
        say_json({"board": board.name, "title": board.title, "wires": rows, "notes": list(found.notes)})
        return
    declares = "" if declared.board else ", which the app does not declare"
    say(f"{board.title}, {board.volts:g} V{declares}")
    if rows:
        say("")
        table(list(rows[0]), [row.values() for row in rows])
    for note in found.notes:
        say(f"note: {clean(note)}")
