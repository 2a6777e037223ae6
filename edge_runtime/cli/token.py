"""`edge token`: what leads the AWS CLI and every AWS SDK to the running host."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from edge_runtime import control
from edge_runtime.cli._common import json_option, say, say_json, state_option


@click.command()
@state_option
@json_option
def token(state: Path, *, as_json: bool) -> None:
    """Print the environment variables that lead an AWS SDK or the AWS CLI to the running host.

    \b
    eval "$(edge token)"
    aws lambda invoke --function-name NAME --payload '{}' /dev/stdout
    aws iot-data publish --topic a/b --payload 'aGk='

    Whoever has the token may use every function and topic of the host, on this machine; keep it to yourself.
    """  # noqa: D301 - \b is click's mark, and must not be two characters
    variables = control.call(state, "endpoint")["variables"]
    if as_json:
        say_json(variables)
        return
    for name, value in variables.items():
        say(f"export {name}={shlex.quote(value)}")
