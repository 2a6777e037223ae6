"""`edge plan`: what an outage of the link would do, and what would make it go better."""

from __future__ import annotations

import re
from pathlib import Path

import click

from edge_runtime.cli._common import Span, app_file, app_state_option, json_option, say, say_json, state_of
from edge_runtime.errors import EdgeError
from edge_runtime.pure import units

_RATE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*(s|min|m|h|d))?\s*", re.ASCII)
_SECONDS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_MOST_S = 10 * 366 * 86_400.0


class _Rate(click.ParamType[float]):
    name = "rate"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read `2/s`, `30/min`, `5/h` or `100/d`."""
        found = _RATE.fullmatch(str(value))
        if found is None:
            self.fail(
                f"{value!r} is no rate: write how many in which time, as in 2/s, 30/min, 5/h or 100/d", param, ctx
            )
        return float(found[1]) / _SECONDS[found[2] or "s"]


class _Outage(Span):
    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a time span that a link may be away."""
        seconds = super().convert(value, param, ctx)
        if not 0 < seconds <= _MOST_S:
            self.fail(f"{value!r} is no outage: from a moment to ten years", param, ctx)
        return seconds


class _Bytes(click.ParamType[int]):
    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read `200`, `1.5KB`."""
        try:
            return units.size(int(value) if str(value).isdecimal() else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option(
    "--outage", type=_Outage(), required=True, metavar="TIME", help="How long the link is away: 14d, 8h, 1d12h."
)
@click.option("--rate", type=_Rate(), metavar="N/TIME", help="Messages to the cloud: 2/s, 30/min.  [default: measured]")
@click.option(
    "--bytes", "payload", type=_Bytes(), metavar="SIZE", help="Of a payload: 200, 1.5KB.  [default: measured]"
)
@click.option("--app", type=click.Path(path_type=Path), envvar="EDGE_APP", help="The app file.  [default: edge.yaml]")
@app_state_option
@json_option
@click.pass_context
def plan(
    ctx: click.Context,
    *,
    outage: float,
    rate: float | None,
    payload: int | None,
    app: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Reckon what an outage of the link that begins now would do.

    When the queue is full, what is lost then, what waits in the end, how long that takes to leave when the link is
    back, and which settings would make it go better. Rates and sizes are those that the host has measured, running or
    not; without any, the exit status is 2. All figures are means: a week that is not like the last one goes otherwise.
    """
    from edge_runtime.cli import _plan_words as words  # noqa: PLC0415 - the help does not need the store
    from edge_runtime.cli._plan_facts import Given, UnknownError, facts  # noqa: PLC0415 - same

    path = app_file(app)
    try:
        found = facts(path, state_of(path, state), Given(rate, payload))
    except UnknownError as error:
        raise click.UsageError(str(error), ctx) from error
    try:
        report = words.Report.of(found, outage)
    except ValueError as error:  # the memo of the data budget, a later version's
        raise EdgeError(f"what was used of the data budget cannot be read: {error}") from error
    if as_json:
        say_json(report.as_json())
        return
    for line in report.lines():
        say(line)
