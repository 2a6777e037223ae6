"""`edge broker`: who may connect to the broker that the host runs for devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from edge_runtime import control
from edge_runtime.app import LocalBroker
from edge_runtime.cli._broker_words import SNIPPETS, credentials
from edge_runtime.cli._common import app_file, app_state_option, clean, json_option, say, say_json, state_of, table
from edge_runtime.errors import ConfigError
from edge_runtime.pure import mosquitto

F = TypeVar("F", bound=Callable[..., Any])


def _place(function: F) -> F:
    """Add `--app` and `--state`."""
    app = click.option(
        "--app", type=click.Path(path_type=Path), envvar="EDGE_APP", help="The app file.  [default: edge.yaml]"
    )
    return app(app_state_option(function))


def _as_option(function: F) -> F:
    return click.option("--as", "kind", type=click.Choice(list(SNIPPETS)), help="Print the device's configuration.")(
        function
    )


@click.group()
def broker() -> None:
    """Say which devices may connect to the broker that the host runs.

    `broker: {}` in the app file has the host run one, by mosquitto: with TLS, for devices that have a password, each on
    its own topics. Works with and without a running host.
    """


@broker.command("add-device")
@click.argument("name")
@click.option(
    "--topics",
    multiple=True,
    metavar="FILTER",
    help="Topics that it may read and write, repeatable.  [default: NAME/#]",
)
@_as_option
@_place
@json_option
def add_device(
    name: str, topics: tuple[str, ...], kind: str | None, app: Path | None, state: Path | None, *, as_json: bool
) -> None:
    """Let the device NAME connect, and print what it needs for that. Its password is shown this once.

    It may read and write its own topics, and nothing else. With --as they are those that its firmware uses as it comes.
    """
    mosquitto.check_device(name)
    wanted = mosquitto.topics_of(name, kind or "", topics)
    _show(_do(app, state, "add", name=name, topics=list(wanted)), kind, as_json=as_json)


@broker.command()
@click.argument("name")
@_as_option
@_place
@json_option
def passwd(name: str, kind: str | None, app: Path | None, state: Path | None, *, as_json: bool) -> None:
    """Give the device NAME another password. The old one ends at once, and so do connections that were made with it."""
    _show(_do(app, state, "passwd", name=name), kind, as_json=as_json)


@broker.command("remove-device")
@click.argument("name")
@_place
def remove_device(name: str, app: Path | None, state: Path | None) -> None:
    """Let the device NAME connect no more; if it is connected, it is cut off."""
    _do(app, state, "remove", name=name)
    say(f"{clean(name)} can connect no more")


@broker.command()
@_place
@json_option
def ls(app: Path | None, state: Path | None, *, as_json: bool) -> None:
    """List the devices that may connect, with their topics."""
    rows = _do(app, state, "ls")["devices"]
    if as_json:
        say_json(rows)
    elif rows:
        table(["device", "topics"], [[row["name"], row["topics"]] for row in rows])
    else:
        say("no device may connect yet: edge broker add-device NAME")


@broker.command()
@_place
def config(app: Path | None, state: Path | None) -> None:
    """Print the configuration that mosquitto is started with."""
    path = app_file(app)
    say(mosquitto.configuration(_spec(path, state_of(path, state))).rstrip())


def _spec(path: Path, state: Path) -> LocalBroker:
    from edge_runtime.loaders import load_app  # noqa: PLC0415 - pydantic takes its time

    spec = load_app(path, state).broker
    if spec is None:
        raise ConfigError(f"{path} declares no broker", hint="write into it: broker: {address: 0.0.0.0}")
    return spec


def _do(
    app: Path | None,
    state: Path | None,
    op: str,
    **args: Any,  # noqa: ANN401 - whatever JSON the verb takes
) -> Mapping[str, Any]:
    """Have the running host do it, or do it when there is none."""
    path = app_file(app)
    folder = state_of(path, state)
    if control.is_running(folder):
        return control.call(folder, "broker", op=op, **args)
    from edge_runtime.host._broker_folder import BrokerFolder  # noqa: PLC0415 - not for the help
    from edge_runtime.host.broker import act  # noqa: PLC0415 - same

    return act(BrokerFolder(folder), _spec(path, folder), {"op": op, **args})


def _show(found: Mapping[str, Any], kind: str | None, *, as_json: bool) -> None:
    if as_json:
        say_json(found)
        return
    for line in credentials(found):
        say(line)
    if kind is not None:
        say("")
        for line in SNIPPETS[kind](found):
            say(line)
