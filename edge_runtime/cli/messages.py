"""`edge publish`, `edge tail`: events by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edge_runtime import control
from edge_runtime.cli._common import (
    clean,
    json_option,
    payload_json,
    payload_text,
    read_input,
    say,
    say_json,
    state_option,
    when,
)


@click.command()
@click.argument("topic")
@click.argument("payload", default="")
@state_option
@json_option
def publish(topic: str, payload: str, state: Path, *, as_json: bool) -> None:
    """Emit an event on a topic, and return when it is safe on disk.

    PAYLOAD is sent as it is written; `-` reads it from the standard input. Prints the event's id.
    """
    data = read_input("-") if payload == "-" else payload.encode("utf-8", "surrogateescape")
    answer = control.call(state, "publish", topic=topic, payload=control.pack(data))
    say_json(answer) if as_json else say(clean(answer["id"]))
    if answer.get("targets") == []:
        click.echo(f"note: nothing in the app takes {clean(topic)!r}, so nothing was stored", err=True)


@click.command()
@click.argument("filter_", metavar="[FILTER]", default="#")
@state_option
@json_option
def tail(filter_: str, state: Path, *, as_json: bool) -> None:
    """Show events as they happen, those whose topic matches FILTER.

    A time with a question mark is an estimate: the clock is not known to be right. With --json, one object a line.
    Ends with Ctrl-C, or when the pipe it writes to is closed.
    """
    for item in control.ask(state, "tail", filter=filter_):
        payload = control.unpack(item["payload"])
        if as_json:
            rest = {key: value for key, value in item.items() if key != "payload"}
            say_json({**rest, **payload_json(payload)}, indent=None)
        else:
            say(_line(item, payload))


def _line(item: Mapping[str, Any], payload: bytes) -> str:
    targets = ",".join(item.get("targets") or ()) or "nobody"
    mark = "" if item.get("clock", "synced") != "unsynced" else "?"
    head = f"{when(item['time'])}{mark}  {clean(item['topic'])}  {clean(item['source'])} > {clean(targets)}"
    return f"{head}  {payload_text(payload)}"
