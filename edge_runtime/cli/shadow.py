"""`edge shadow`: the shadows that the running host keeps, whether the cloud can be reached or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edge_runtime import control
from edge_runtime.cli._common import clean, json_option, read_input, say, say_json, state_option, table
from edge_runtime.errors import ConfigError, EdgeError, LimitError, NotFoundError

_CLASSIC = "classic"
_ERRORS: dict[int, type[EdgeError]] = {404: NotFoundError, 413: LimitError, 429: LimitError}
_HINTS = {
    404: "edge shadow ls lists those that are there",
    409: "somebody was quicker: edge shadow get, and try again",
    413: "AWS takes 8 KB of state",
}


@click.group()
def shadow() -> None:
    """Look at shadows, change and delete them.

    NAME is that of a named shadow; without it the classic one is meant. `edge status` says how they do in the cloud.
    """


@shadow.command()
@state_option
@json_option
def ls(state: Path, *, as_json: bool) -> None:
    """List the shadows that are there."""
    names = [name or _CLASSIC for name in control.call(state, "shadow.ls")["names"]]
    if as_json:
        say_json(names)
    elif names:
        table(["shadow"], [[name] for name in names])
    else:
        say("there are no shadows")


@shadow.command()
@click.argument("name", default=_CLASSIC)
@state_option
def get(name: str, state: Path) -> None:
    """Print a shadow: its state, what is desired and not reported as `delta`, and its version."""
    say_json(_ask(state, "get", name))


@shadow.command()
@click.argument("request", metavar="STATE")
@click.argument("name", default=_CLASSIC)
@state_option
def update(request: str, name: str, state: Path) -> None:
    """Change a shadow, or make one.

    STATE is what to set, '{"desired": {"pump": "on"}}', or a whole request of AWS with `state` and perhaps `version`;
    `-` reads it from the standard input. What is set to null is removed.
    """
    text = read_input("-") if request == "-" else request.encode("utf-8", "surrogateescape")
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        hint = """write it as in: edge shadow update '{"desired": {"pump": "on"}}'"""
        raise ConfigError(f"the state is no JSON: {error}", hint=hint) from error
    if isinstance(tree, dict) and "state" not in tree:
        text = json.dumps({"state": tree}).encode()
    say_json(_ask(state, "update", name, payload=control.pack(text)))


@shadow.command()
@click.argument("name", default=_CLASSIC)
@state_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, state: Path, *, yes: bool) -> None:
    """Delete a shadow, and its twin in the cloud if it has one."""
    if not yes:
        click.confirm(f"delete the shadow {clean(name)}?", abort=True, err=True)
    answer = _ask(state, "delete", name)
    say(f"deleted at version {answer.get('version')}")


def _ask(state: Path, method: str, name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return what the host answers. Raises: EdgeError with AWS's code and words when that is a refusal."""
    answer = control.call(state, "shadow", method=method, name="" if name == _CLASSIC else name, **more)
    body: dict[str, Any] = json.loads(control.unpack(answer["payload"]))
    code = int(answer["code"])
    if code != 200:  # noqa: PLR2004 - HTTP's word for it
        raise _ERRORS.get(code, ConfigError)(f"{code} {body.get('message', '')}", hint=_HINTS.get(code, ""))
    return body
