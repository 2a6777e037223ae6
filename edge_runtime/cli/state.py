"""`edge status`, `edge ledger`: how it goes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
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
from edge_runtime.cli._devices_shown import devices_shown

_WAITING = {"used up": "budget used up", "waits for the night": "what is not urgent waits for the night"}


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
    say(f"clock   {_clock(answer['clock'])}")
    say(f"link    {_link(answer.get('link'))}")
    for line in _beside(answer):
        say(f"        {line}")
    say(f"store   {_store(answer['store'])}")
    for note in answer["store"].get("notes", ()):
        say(f"        {clean(note)}")
    for line in _if_there(answer):
        say(line)
    for part in ("functions", "queues", "devices", "shadows"):
        rows = answer.get(part)
        if rows:
            say("")
            say(part)
            _rows(devices_shown(rows) if part == "devices" else rows)
    failing = [row for row in answer.get("parts") or () if row.get("state") != "running"]
    if failing:
        say("")
        say("failing")
        _rows(failing)


def _clock(clock: Mapping[str, Any]) -> str:
    if clock.get("fault"):
        return f"{clean(clock['fault'])}: edge doctor"
    return f"{when(clock['wall'])}{'' if clock.get('synced', True) else ', not synchronized'}"


def _link(link: Mapping[str, Any] | None) -> str:
    if not link:
        return "none declared"
    text = f"{clean(link['driver'])} {clean(link['state'])} for {duration(link['since_s'])}"
    if (budget := link.get("budget")) and budget["state"] in _WAITING:
        text += f", {_WAITING[budget['state']]}" + (f" until {when(budget['until'])}" if budget["until"] else "")
    text += f", {link['inflight']} not yet acknowledged"
    return f"{text}; last error: {clean(link['last_error'])}" if link.get("last_error") else text


def _beside(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield what else there is to say of the link: what mends it, its certificate, its data budget, its agents."""
    link = answer.get("link") or {}
    if link.get("hint") and link["state"] != "up":
        yield f"try: {clean(link['hint'])}"
    if certificate := answer.get("certificate"):
        yield _certificate(certificate)
    if budget := link.get("budget"):
        text = f"budget {size(budget['used'])} of {size(budget['limit'])} used this {clean(budget['per'])}"
        if budget["state"] == "night":
            text += "; at night all goes and nothing counts"
        elif budget["state"] in _WAITING:
            text += f"; only priorities 0 to {budget['least']} go"
        yield text
    for name, state in (link.get("agents") or {}).items():
        yield f"agent {clean(name)}: {clean(state)}"


def _if_there(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each thing that not every host has."""
    if broker := answer.get("broker"):
        yield f"broker  {_broker(broker)}"
    if lent := answer.get("credentials"):
        yield f"keys    {_credentials(lent)}"
    if job := answer.get("job"):
        yield f"job     {_job(job)}"
    if answer.get("isolation"):
        yield f"kept    {_isolation(answer['isolation'])}"


def _certificate(state: Mapping[str, Any]) -> str:
    text = f"certificate {clean(state['id'][:12])}, holds until {clean(state['until'])}" if state["id"] else ""
    return "; ".join(filter(None, (text, clean(state["note"]))))


def _credentials(lent: Mapping[str, Any]) -> str:
    text = f"AWS credentials: {clean(lent['state'])}"
    return f"{text}; last error: {clean(lent['last_error'])}" if lent.get("last_error") else text


def _job(job: Mapping[str, Any]) -> str:
    what = " ".join(clean(job[key]) for key in ("operation", "step") if job[key])
    return f"{clean(job['id'])}: {', '.join(filter(None, (what, clean(job['status']))))}"


def _broker(broker: Mapping[str, Any]) -> str:
    plain = f" and, without TLS, {broker['plain_port']}" if broker["plain_port"] else ""
    ports = f"{broker['port']}{plain}"
    text = f"mosquitto {clean(broker['version'])} {clean(broker['state'])}, {clean(broker['address'])} port {ports}"
    return f"{text}; last error of what goes out: {clean(broker['last_error'])}" if broker["last_error"] else text


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
@click.pass_context
def ledger(ctx: click.Context, state: Path, *, as_json: bool) -> None:
    """Show what became of every message that was ever accepted, counted in the database itself.

    For each target, produced = delivered + queued + expired + dropped + dead. The exit status is 1 when that does not
    hold. Works with and without a running host.
    """
    from edge_runtime.store import inspect  # noqa: PLC0415 - status does not need the store

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
