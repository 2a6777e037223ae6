"""`edge status`, `edge devices`, `edge ledger`: how it goes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from edge_runtime import control
from edge_runtime.cli._common import (
    DATABASE,
    clean,
    duration,
    json_option,
    say,
    say_json,
    size,
    state_option,
    table,
    when,
)


@click.command()
@state_option
@json_option
def status(state: Path, *, as_json: bool) -> None:
    """Show how the running host does: its link, its store, its functions, queues and devices."""
    answer = control.call(state, "status")
    if as_json:
        say_json(answer)
        return
    say(f"thing   {clean(answer['thing'])}")
    say(f"up      {duration(answer['uptime_s'])}")
    say(f"clock   {when(answer['clock']['wall'])}")
    say(f"link    {_link(answer.get('link'))}")
    say(f"store   {_store(answer['store'])}")
    for note in answer["store"].get("notes", ()):
        say(f"        {clean(note)}")
    if answer.get("isolation"):
        say(f"kept    {_isolation(answer['isolation'])}")
    for part in ("functions", "queues", "devices"):
        rows = answer.get(part)
        if rows:
            say("")
            say(part)
            _rows(rows)
    failing = [row for row in answer.get("parts") or () if row.get("state") != "running"]
    if failing:
        say("")
        say("failing")
        _rows(failing)


def _link(link: Mapping[str, Any] | None) -> str:
    if not link:
        return "none declared"
    text = f"{clean(link['driver'])} {clean(link['state'])} for {duration(link['since_s'])}"
    text += f", {link['inflight']} not yet acknowledged"
    return f"{text}; last error: {clean(link['last_error'])}" if link.get("last_error") else text


def _store(store: Mapping[str, Any]) -> str:
    limit = f" of {size(store['limit'])}" if store.get("limit") else ""
    return f"{size(store['bytes'])}{limit}, log {size(store['wal_bytes'])}"


def _isolation(found: Mapping[str, Any]) -> str:
    missing = [clean(layer["name"]) for layer in found["layers"] if not layer["active"]]
    text = f"functions apart: {clean(found['level'])}"
    return f"{text}; missing: {', '.join(missing)}, see edge doctor" if missing else text


def _rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Write objects as a table: their fields are the columns."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table(
        [name.replace("_", " ") for name in columns],
        [[size(row[c]) if c == "bytes" else row.get(c) for c in columns] for row in rows],
    )


@click.command()
@state_option
@json_option
def devices(state: Path, *, as_json: bool) -> None:
    """List the devices of the running host with their values."""
    rows = control.call(state, "devices")["devices"]
    if as_json:
        say_json(rows)
    elif rows:
        _rows(rows)
    else:
        say("no devices are declared")


@click.command()
@state_option
@json_option
@click.pass_context
def ledger(ctx: click.Context, state: Path, *, as_json: bool) -> None:
    """Show what became of every message that was ever accepted, counted in the database itself.

    For each target, produced = delivered + queued + expired + dropped + dead. The exit status is 1 when that does not
    hold. Works with and without a running host.
    """
    from edge_runtime.store import inspect  # noqa: PLC0415 - status and devices do not need the store

    books = inspect.ledger(state / DATABASE)
    wrong = [row for row in books if not row.balanced]
    rows = [dataclasses.asdict(row) for row in books]
    if as_json:
        say_json(
            [{**row, "missing": book.missing, "balanced": book.balanced} for row, book in zip(rows, books, strict=True)]
        )
    else:
        _rows(rows)
        say("")
        for book in wrong:
            say(f"{clean(book.target)} does not balance: {book.missing} missing")
        if not wrong:
            say("everything is accounted for")
    ctx.exit(1 if wrong else 0)
