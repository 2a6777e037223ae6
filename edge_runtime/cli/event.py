"""`edge event`: sample events of the triggers, made by the files in `pure/events/samples`."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import click

from edge_runtime import plugin
from edge_runtime.cli._common import json_option, say, say_json, table
from edge_runtime.cli._nearest import NearestGroup
from edge_runtime.errors import ConfigError, LimitError
from edge_runtime.pure.events.paths import put

_KIND = "pure.events.samples"
_MOST = 6 << 20
_Sample = Callable[..., Any]


class _Service(NearestGroup):
    """The samples of one service."""

    def called(self, name: str) -> str:
        return f"sample event {f'{self.name} {name}'!r}"


class _Services(NearestGroup):
    """Finds the services by their files, and imports one when it is asked for."""

    def called(self, name: str) -> str:
        return f"sample event {name!r}"

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        return plugin.names(_KIND)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _service(cmd_name) if cmd_name in self.list_commands(ctx) else None


@click.group(cls=_Services, invoke_without_command=True)
@json_option
@click.pass_context
def event(ctx: click.Context, *, as_json: bool) -> None:
    """Print a sample event of a trigger.

    As in: edge event s3 put --key a.jpg | edge invoke NAME --event -

    Without SERVICE the samples are listed. The options of a sample are in its --help.
    """
    if ctx.invoked_subcommand is not None:
        return
    rows = _rows(plugin.names(_KIND))
    if as_json:
        say_json(rows)
    else:
        table(["event", "what", "options"], [[row["event"], row["what"], row["options"]] for row in rows])


def _rows(services: Iterable[str]) -> list[dict[str, str]]:
    return [
        {
            "event": " ".join((*_words(service, name), *(f"[{choice.metavar}]" for choice in _choices(sample)))),
            "what": _summary(sample),
            "options": " ".join(parameter.opts[0] for parameter in _options(sample)),
        }
        for service in services
        for name, sample in _samples(service).items()
    ]


def _words(service: str, name: str) -> tuple[str, ...]:
    return (service,) if name == service else (service, name)


def _samples(service: str) -> Mapping[str, _Sample]:
    """Return the samples of a service, in the order of its file."""
    module = plugin.load(_KIND, service)
    found = [
        one
        for one in vars(module).values()
        if inspect.isfunction(one) and one.__module__ == module.__name__ and not one.__name__.startswith("_")
    ]
    return {one.__name__.replace("_", "-"): one for one in found}


def _service(service: str) -> click.Command:
    samples = _samples(service)
    if list(samples) == [service]:
        return _command(service, samples[service])
    about = (inspect.getdoc(plugin.load(_KIND, service)) or "").partition("\n\n")[0]
    group = _Service(service, help=about, short_help=about)
    for name, sample in samples.items():
        group.add_command(_command(name, sample))
    return group


def _command(name: str, sample: _Sample) -> click.Command:
    changes = click.Option(
        ["--set", "changes"], multiple=True, metavar="PATH=VALUE", help="Set any value, as in Records[0].awsRegion=x."
    )

    def make(changes: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401 - what click has read
        _print(sample, given, changes)

    parameters: list[click.Parameter] = [*_choices(sample), *_options(sample), changes]
    return click.Command(name, callback=make, params=parameters, help=f"Print an event: {_summary(sample)}.")


def _print(sample: _Sample, given: dict[str, Any], changes: Iterable[str]) -> None:
    choices = [choice.name or "" for choice in _choices(sample)]
    try:
        made = sample(
            *(given[name] for name in choices if name), **{k: v for k, v in given.items() if k not in choices}
        )
    except ValueError as error:
        raise ConfigError(f"the event cannot be made: {error}") from error
    for change in changes:
        path, mark, text = change.partition("=")
        if not mark:
            raise ConfigError(f"--set {change}: there is no '='", hint="write PATH=VALUE")
        made = put(made, path, text)
    text = json.dumps(made, indent=2)
    if len(text) > _MOST:
        raise LimitError(f"the event has more than {_MOST} bytes, which no function takes")
    say(text)


def _summary(sample: _Sample) -> str:
    first = (inspect.getdoc(sample) or "").partition("\n")[0].partition(". ")[0].rstrip(".")
    return first.removeprefix("Return ").partition(": ")[0]


def _choices(sample: _Sample) -> list[click.Argument]:
    """Return the positional parameters: choices that may be left out."""
    hints = typing.get_type_hints(sample)
    return [
        click.Argument(
            [p.name],
            type=click.Choice(typing.get_args(hints[p.name])),
            default=p.default,
            required=False,
            metavar="|".join(typing.get_args(hints[p.name])),
        )
        for p in inspect.signature(sample).parameters.values()
        if typing.get_origin(hints[p.name]) is Literal
    ]


def _options(sample: _Sample) -> list[click.Option]:
    """Return the keyword-only parameters as options; one that counts has a bound, so that no typo fills the memory."""
    return [
        click.Option(
            [f"--{p.name.replace('_', '-')}", p.name],
            type=click.IntRange(1, 1000) if p.name == "count" else type(p.default),
            default=p.default,
            show_default=p.default != "",
            is_flag=isinstance(p.default, bool),
        )
        for p in inspect.signature(sample).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    ]
