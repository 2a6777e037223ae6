"""What the verbs share: options, input, output that is safe for a terminal and for a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge_runtime.errors import ConfigError, EdgeError, LimitError
from edge_runtime.pure import units

if TYPE_CHECKING:
    from edge_runtime.store.inspect import LedgerRow

F = TypeVar("F", bound=Callable[..., Any])
_OF_RELEASES = frozenset({"lock", "record.json", "releases"})

APP_FILE = "edge.yaml"
DATABASE = "queue.db"
"""The file in the state folder that holds the queues."""
MAX_INPUT = 6 << 20
"""Bytes of a payload: AWS Lambda's limit of a synchronous invocation, and more than any queue takes."""


class Span(click.ParamType[float]):
    """A time span as an option: `14d`, `8h`, `1d12h`; in seconds."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return it in seconds. Raises: click.BadParameter."""
        try:
            return units.seconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def state_option(function: F) -> F:
    """Add `--state DIR` for a verb that speaks to a host or looks into its store."""
    return click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(".edge"),
        envvar="EDGE_STATE",
        show_envvar=True,
        show_default=True,
        help="The state folder of the host.",
    )(function)


def app_argument(function: F) -> F:
    """Add the argument APP, for `app_file`."""
    return click.argument("app", type=click.Path(path_type=Path), required=False, envvar="EDGE_APP")(function)


def app_state_option(function: F) -> F:
    """Add `--state DIR` for a verb that knows the app file, for `state_of`."""
    return click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="EDGE_STATE",
        show_envvar=True,
        help="The state folder of the host.  [default: .edge beside the app file]",
    )(function)


def json_option(function: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON instead of a table.")(function)


def app_file(given: Path | None) -> Path:
    """Return the app file: the one given, or `edge.yaml` in the folder given or else in this one."""
    path = given or Path(APP_FILE)
    if (path / "current").is_symlink():
        path /= "current"  # a folder of releases: the app is the one that runs
    return path / APP_FILE if path.is_dir() else path


def is_releases(path: Path) -> bool:
    """Tell whether a path is a folder of releases, or an empty one that may become one."""
    return (
        path.is_dir()
        and not (path / APP_FILE).exists()
        and ((path / "current").is_symlink() or {one.name for one in path.iterdir()} <= _OF_RELEASES)
    )


def state_of(app: Path, given: Path | None) -> Path:
    """Return the state folder: the one given, or `.edge` beside the app file."""
    return given or app.parent / ".edge"


def read_input(source: str) -> bytes:
    """Return the bytes of a file, or of the standard input for `-`.

    Raises: ConfigError when it cannot be read, LimitError when it is too big.
    """
    try:
        if source == "-":
            data = sys.stdin.buffer.read(MAX_INPUT + 1)
        else:
            with Path(source).open("rb") as file:
                data = file.read(MAX_INPUT + 1)
    except OSError as error:
        raise ConfigError(f"{source} cannot be read: {error.strerror}") from error
    if len(data) > MAX_INPUT:
        raise LimitError(f"{source} has more than {MAX_INPUT} bytes")
    return data


def clean(text: object) -> str:
    r"""Return a text on one line without anything that a terminal would obey: control signs become `\x1b`, `\n`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def say(text: str) -> None:
    """Write a line and let it go at once, so that a pipe sees it."""
    click.echo(text)


def say_json(value: object, *, indent: int | None = 2) -> None:
    """Write a value as JSON, in ASCII: on one line when there is no indent."""
    click.echo(json.dumps(value, indent=indent))


def complain(error: EdgeError) -> None:
    """Write an error and what to do about it to the standard error."""
    for line in str(error).splitlines():
        click.echo(f"error: {clean(line)}", err=True)
    if error.hint:
        click.echo(f"hint: {clean(error.hint)}", err=True)


def payload_json(payload: bytes) -> dict[str, str]:
    """Return a payload as fields of a JSON object: `payload` when it is text, else `payload_base64`."""
    try:
        return {"payload": payload.decode("utf-8")}
    except UnicodeDecodeError:
        import base64  # noqa: PLC0415 - rarely needed

        return {"payload_base64": base64.b64encode(payload).decode("ascii")}


def payload_text(payload: bytes, most: int = 200) -> str:
    """Return a payload for a person: its text on one line, cut, or how many bytes it has."""
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return f"<{len(payload)} bytes 0x{payload[:16].hex()}{'...' if len(payload) > 16 else ''}>"  # noqa: PLR2004 - a look at it
    return clean(text if len(text) <= most else f"{text[:most]}...")


def size(count: float) -> str:
    """Return a number of bytes for a person."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":  # noqa: PLR2004 - the step from unit to unit
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError  # pragma: no cover - GB ends the loop


def duration(seconds: float) -> str:
    """Return a time span for a person, in its two largest units."""
    left = int(seconds)
    parts = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def when(seconds: float) -> str:
    """Return a moment, given in seconds since the epoch, in local time."""
    from datetime import UTC, datetime  # noqa: PLC0415 - not for every verb

    moment = datetime.fromtimestamp(seconds, UTC).astimezone()
    return moment.isoformat(sep=" ", timespec="milliseconds")


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write rows under columns: drawn on a terminal, plain columns in a pipe."""
    names, cells = list(columns), [[_cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        from edge_runtime.cli._table import draw  # noqa: PLC0415 - rich takes a fifth of a second

        draw(names, cells)
        return
    widths = [max(len(row[n]) for row in [names, *cells]) for n in range(len(names))]
    for row in [[name.upper() for name in names], *cells]:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def ledger_table(books: Iterable[LedgerRow]) -> None:
    """Write what became of the messages for each target."""
    names = ("target", "produced", "delivered", "queued", "expired", "dropped", "dead", "balanced")
    table(names, [[getattr(row, name) for name in names] for row in books])


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return clean(", ".join(f"{key} {part}" for key, part in value.items())) or "-"
    if isinstance(value, list | tuple):
        return clean(", ".join(str(part) for part in value)) or "-"
    return clean(value)
