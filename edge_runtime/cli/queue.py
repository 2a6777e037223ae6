"""`edge queue`: look into queues and dead letters, replay and purge them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edge_runtime import control
from edge_runtime.cli._common import (
    DATABASE,
    clean,
    json_option,
    payload_json,
    payload_text,
    say,
    say_json,
    state_option,
    table,
)
from edge_runtime.errors import ConfigError, EdgeError

_EVERYTHING = sys.maxsize


@click.group()
def queue() -> None:
    """Look into queues, replay and purge them.

    TARGET is a name that `edge queue ls` lists: function/NAME, device/NAME or uplink.
    """


@queue.command()
@state_option
@json_option
def ls(state: Path, *, as_json: bool) -> None:
    """List the queues with what waits in them, their dead letters, and how many messages were thinned away."""
    from edge_runtime.store import inspect  # noqa: PLC0415 - the help of these verbs does not need the store

    rows = [
        {"target": row.target, "queued": row.queued, "dead": row.dead, "thinned": row.reasons.get("thinned", 0)}
        for row in inspect.ledger(state / DATABASE)
    ]
    if as_json:
        say_json(rows)
    else:
        table(["target", "queued", "dead", "thinned"], [list(row.values()) for row in rows])


@queue.command()
@click.argument("target")
@click.option("--dead", is_flag=True, help="The dead letters instead of what waits.")
@click.option("--after", type=click.IntRange(0), default=0, metavar="SEQ", help="Begin after this sequence number.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Show so many at most.")
@state_option
@json_option
def show(target: str, state: Path, *, dead: bool, after: int, limit: int, as_json: bool) -> None:
    """Show the messages of TARGET, in order.

    Where a clock was not right, a column says what a time is worth: it was corrected since, or is an estimate
    (unsynced).
    """
    from edge_runtime.store import inspect  # noqa: PLC0415 - same

    path = state / DATABASE
    rows = list(inspect.messages(path, target, dead=dead, after=after, limit=limit))
    if as_json:
        say_json([_as_json(row) for row in rows])
        return
    if not rows:
        say("nothing there")
        return
    clocks = ["clock"] if any(row["clock"] not in ("", "synced") for row in rows) else []
    columns = ["seq", "time", *clocks, "topic", "tries", *(["reason"] if dead else []), "payload"]
    table(columns, [[_field(row, column) for column in columns] for row in rows])
    if len(rows) == limit:
        say(f"more: --after {rows[-1]['seq']}")


@queue.command()
@click.argument("target")
@click.option("--dead", is_flag=True, help="The dead letters instead of what waits.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A new file; else the output.")
@state_option
def export(target: str, state: Path, output: Path | None, *, dead: bool) -> None:
    """Write all messages of TARGET, one JSON object a line. They stay in the queue."""
    from edge_runtime.store import inspect  # noqa: PLC0415 - same

    path = state / DATABASE
    lines = (json.dumps(_as_json(row)) for row in inspect.messages(path, target, dead=dead, limit=_EVERYTHING))
    if output is None:
        for line in lines:
            say(line)
        return
    try:
        # For its owner only, as the store is.
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            for line in lines:
                file.write(line + "\n")
    except EdgeError:
        raise
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}") from error


@queue.command()
@click.argument("target")
@click.argument("seqs", nargs=-1, type=click.IntRange(1), metavar="[SEQ]...")
@click.option("--all", "everything", is_flag=True, help="All dead letters of TARGET.")
@state_option
def replay(target: str, seqs: tuple[int, ...], state: Path, *, everything: bool) -> None:
    """Put dead letters of TARGET back into its queue: those with the numbers SEQ, or all."""
    if bool(seqs) == everything:
        raise click.UsageError("say which dead letters: sequence numbers, or --all")
    from edge_runtime.store import inspect  # noqa: PLC0415 - same

    path = state / DATABASE
    args: dict[str, Any] = {"all": True} if everything else {"ids": list(seqs)}
    if control.is_running(state):
        count = control.call(state, "queue.replay", target=target, **args)["replayed"]
    else:
        count = inspect.replay(path, target, None if everything else list(seqs))
    say(f"{count} put back into the queue of {clean(target)}")


@queue.command()
@click.argument("target")
@click.option("--dead", is_flag=True, help="The dead letters instead of what waits.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@state_option
def purge(target: str, state: Path, *, dead: bool, yes: bool) -> None:
    """Drop what waits for TARGET, or its dead letters. They are counted, and cannot be had back."""
    from edge_runtime.store import inspect  # noqa: PLC0415 - same

    path = state / DATABASE
    what = "dead letters of" if dead else "messages that wait for"
    if not yes:
        click.confirm(f"drop all {what} {clean(target)}?", abort=True, err=True)
    if control.is_running(state):
        count = control.call(state, "queue.purge", target=target, dead=dead)["purged"]
    else:
        count = inspect.purge(path, target, dead=dead)
    say(f"{count} dropped")


def _as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in row.items() if key != "payload"}
    return {**rest, **payload_json(row["payload"])}


def _field(row: Mapping[str, Any], column: str) -> object:
    return payload_text(row["payload"], 60) if column == "payload" else row[column]
