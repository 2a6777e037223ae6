"""`edge invoke`: call a function by hand, on the running host or without one."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edge_runtime import control
from edge_runtime.cli._common import (
    APP_FILE,
    app_file,
    app_state_option,
    clean,
    payload_json,
    payload_text,
    read_input,
    say,
    say_json,
    size,
    state_of,
)
from edge_runtime.errors import ConfigError, FunctionError, HostError, NotFoundError
from edge_runtime.pure.platform_lines import is_platform


@click.command()
@click.argument("name")
@click.option("--event", metavar="FILE|-", help="The event, a JSON file; - reads it from the standard input.")
@click.option("--topic", default="", help="The topic that the handler finds in its context.")
@click.option("--async", "later", is_flag=True, help="Put the event into the function's queue and do not wait.")
@click.option("--local", is_flag=True, help="Start the function here, also when a host is running.")
@click.option("--app", type=click.Path(path_type=Path), envvar="EDGE_APP", help="The app, for a call without a host.")
@app_state_option
@click.option("--log", "whole_log", is_flag=True, help="The whole log, with the lines START, END and REPORT.")
@click.option("--quiet", is_flag=True, help="Neither log nor figures, only the reply.")
@click.option("--json", "as_json", is_flag=True, help="The reply, the log and the figures as one JSON object.")
def invoke(  # noqa: PLR0913 - one parameter an option
    name: str,
    *,
    event: str | None,
    topic: str,
    later: bool,
    local: bool,
    app: Path | None,
    state: Path | None,
    whole_log: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Call the function NAME and print its reply; its log and what it took go to the standard error.

    The running host calls it, with its warm workers. Where no host runs, the function is started here for this one
    call, and a line says so; what it publishes or invokes then goes nowhere.

    Without --event the event is {}; `edge event` prints others. The exit status is 1 when the handler failed, and its
    error and stack trace are printed. With --async the event goes to topic function/NAME/invoke of the running host.
    """
    if later and (local or topic):
        raise click.UsageError("--async cannot be had with --local or --topic: it needs a host, and has a topic")
    data = _read(event)
    path = app_file(app) if app or state is None else state.parent / APP_FILE
    folder = state_of(path, state)
    if later:
        _emit(name, data, folder, as_json=as_json)
        return
    answer = _call_here(name, data, topic, path, folder) if local else _call(name, data, topic, path, folder)
    payload = control.unpack(answer.pop("payload"))
    fault = _fault(payload) if answer["error"] else {}
    if as_json:
        say_json({**answer, **payload_json(payload)})
    else:
        if not quiet:
            _print_log(str(answer.get("log", "")), fault, whole=whole_log)
        _print_reply(payload, failed=bool(answer["error"]))
        if fault:
            _print_trace(fault)
        if not quiet:
            _print_figures(name, answer)
    if answer["error"]:
        text = f"{answer['error']}: {fault['errorMessage']}" if fault.get("errorMessage") else str(answer["error"])
        raise FunctionError(f"function {name!r} failed: {text}", kind=str(answer["error"]))


def _read(event: str | None) -> bytes:
    data = b"{}" if event is None else read_input(event)
    try:
        json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the event is no JSON: {error}", hint="make one: edge event") from error
    return data


def _emit(name: str, data: bytes, state: Path, *, as_json: bool) -> None:
    topic = f"function/{name}/invoke"
    answer = control.call(state, "publish", topic=topic, payload=control.pack(data))
    if f"function/{name}" not in answer.get("targets", ()):
        raise NotFoundError(f"there is no function named {name!r}", hint="see what there is: edge status")
    if as_json:
        say_json(answer)
    else:
        say(clean(answer["id"]))
        click.echo(f"queued on topic {topic}; what becomes of it: edge queue show function/{name}", err=True)


def _call(name: str, data: bytes, topic: str, app: Path, state: Path) -> dict[str, Any]:
    """Ask the host; where none runs, do without. Raises: HostError when neither it nor an app file is there."""
    try:
        more: dict[str, Any] = {"topic": topic} if topic else {}
        return control.call(state, "invoke", name=name, payload=control.pack(data), **more)
    except HostError:
        if control.is_running(state) or not app.is_file():
            raise
    click.echo(f"note: no host is running; {clean(name)} is started here for this call", err=True)
    return _call_here(name, data, topic, app, state)


def _call_here(name: str, data: bytes, topic: str, app: Path, state: Path) -> dict[str, Any]:
    import asyncio  # noqa: PLC0415 - with a host it is not needed

    from edge_runtime.host.once import invoke_once  # noqa: PLC0415 - same
    from edge_runtime.loaders import load_app  # noqa: PLC0415 - same

    context = {"custom": {"subject": topic}} if topic else None
    result = asyncio.run(invoke_once(load_app(app, state), name, data, context))
    return {**result._asdict(), "payload": control.pack(result.payload)}


def _print_log(log: str, fault: Mapping[str, Any], *, whole: bool) -> None:
    """Print the log, without what is printed by other means when it is not asked for."""
    head = f"[ERROR] {fault.get('errorType')}"
    for entry in log.split("\n"):
        known = is_platform(entry) or (entry.startswith(head) and "Traceback" in entry)
        if entry and (whole or not known):
            _complain(entry)


def _print_reply(payload: bytes, *, failed: bool) -> None:
    """Print a reply: for a program as it is, for a person indented; the error object of a failure is for programs."""
    if not sys.stdout.isatty():
        click.echo(payload)
        return
    if failed:
        return
    try:
        lines = json.dumps(json.loads(payload), indent=2, ensure_ascii=False).split("\n")
    except (ValueError, RecursionError):
        lines = [payload_text(payload, len(payload))]
    for line in lines:
        say(clean(line))


def _print_trace(fault: Mapping[str, Any]) -> None:
    trace = fault.get("stackTrace") or fault.get("trace")  # Python's name and Node's
    if isinstance(trace, list) and trace:
        click.echo("stack trace:", err=True)
        for entry in trace:
            _complain(str(entry).rstrip("\n"))


def _print_figures(name: str, answer: Mapping[str, Any]) -> None:
    parts = [f"{answer['duration_ms']:.2f} ms"]
    if answer["init_ms"]:
        parts.append(f"init {answer['init_ms']:.2f} ms")
    if answer["peak_kb"]:
        parts.append(f"{size(answer['peak_kb'] * 1024)} of memory")
    click.echo(f"{clean(name)}: {', '.join(parts)}", err=True)


def _complain(text: str) -> None:
    """Write to the standard error. An entry of several lines has returns and no-break spaces in it, as in AWS."""
    for line in text.replace("\u00a0", " ").splitlines():
        click.echo("\t".join(clean(part) for part in line.split("\t")), err=True)


def _fault(payload: bytes) -> dict[str, Any]:
    """Return the error object of a handler, which may be its own and hold anything."""
    try:
        fault = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return fault if isinstance(fault, dict) else {}
