"""`edge record`: what devices tell, as a trace that can be played."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import click

from edge_runtime import control
from edge_runtime.cli._common import Span, clean, state_option
from edge_runtime.cli._nearest import check_devices
from edge_runtime.errors import ConfigError, HostError
from edge_runtime.pure.trace import Recorder

_NO_LEVELS = ("held", "rotated", "set", "fault")


class Reading(NamedTuple):
    """What a device measured."""

    wall_s: float
    device: str
    value: object


class _OverError(Exception):
    """The time to record is over."""


@click.command()
@click.argument("devices", nargs=-1, metavar="[DEVICE]...")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file; else it is written out."
)
@click.option("--for", "for_s", type=Span(), default=0.0, metavar="TIME", help="End after so long, as in 10m.")
@state_option
def record(devices: tuple[str, ...], output: Path | None, for_s: float, state: Path) -> None:
    """Record what devices of the running host measure, as a trace for `edge run --simulate --script`.

    All devices, or those that are named. A FILE that ends in .csv is CSV, any other is JSON lines. What is written is
    each reading before it was calibrated, and each edge of an input. Ends with Ctrl-C.
    """
    known = [str(row["name"]) for row in control.call(state, "devices")["devices"]]
    check_devices(devices, known)
    wanted = set(devices or known)
    with _opened(output) as file:
        recorder, count, missed = Recorder(output.name if output else ""), 0, 0
        file.write(recorder.head())
        file.flush()
        with contextlib.suppress(_OverError, KeyboardInterrupt), _for(for_s):
            for item in control.ask(state, "tail", filter="device/#"):
                missed = item["missed"]
                reading = reading_of(item)
                if reading is not None and reading.device in wanted:
                    file.write(recorder.line(*reading))
                    file.flush()
                    count += 1
    more = f"; {missed} events came too fast and are left out" if missed else ""
    click.echo(f"{count} readings recorded{more}", err=True)


def reading_of(item: Mapping[str, Any]) -> Reading | None:
    """Return what a device measured, by an event of it as `tail` shows it; None for what is no reading."""
    try:
        event = json.loads(control.unpack(item["payload"]))
        detail = event["detail"]
        name, kind = detail["device"], detail["event"]
        value = detail.get("raw", detail["value"])
    except (ValueError, LookupError, TypeError, AttributeError):
        return None  # somebody else published there
    if value is None or not isinstance(name, str):
        return None
    is_level = event.get("source") == "edge.gpio" and kind not in _NO_LEVELS
    return Reading(item["time"], name, value) if kind == "reading" or is_level else None


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        file = path.open("x", encoding="utf-8")
    except FileExistsError:
        raise ConfigError(f"{clean(path)} is there already", hint="name a new file") from None
    except OSError as error:
        raise ConfigError(f"{clean(path)} cannot be written: {error.strerror}") from error
    with file:
        try:
            yield file
        except HostError:
            click.echo(f"what was recorded until then is in {clean(path)}", err=True)
            raise


@contextlib.contextmanager
def _for(seconds: float) -> Iterator[None]:
    """Raise `_OverError` after so many seconds; 0: never."""

    def end(*_: object) -> None:
        raise _OverError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
