"""The `edge` command. Each group of verbs is a module of its own, imported only when one of its verbs is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from edge_runtime import __version__
from edge_runtime.cli._common import complain
from edge_runtime.errors import EdgeError

VERBS: dict[str, tuple[str, str]] = {
    "init": ("init", "Write a small app to begin with."),
    "demo": ("demo", "See the main job on this machine, in 40 seconds."),
    "run": ("run", "Run an app in the foreground."),
    "safe": ("safe", "Make outputs safe after a host that was killed."),
    "status": ("state", "Show how the running host does."),
    "devices": ("devices", "List the devices with their values; watch them, check their wiring."),
    "tail": ("messages", "Show events as they happen."),
    "record": ("record", "Record what devices measure, to be played again."),
    "publish": ("messages", "Emit an event on a topic."),
    "invoke": ("invoke", "Call a function and print its reply."),
    "event": ("event", "Print a sample event of a trigger."),
    "token": ("token", "Print what leads an AWS SDK to the running host."),
    "ledger": ("state", "Show what became of every message."),
    "queue": ("queue", "Look into queues, replay and purge them."),
    "plan": ("plan", "Reckon what an outage of the link would do."),
    "shadow": ("shadow", "Look at shadows, change and delete them."),
    "broker": ("broker", "Let devices connect to the broker of the host."),
    "build": ("build", "Build what goes to devices: a bundle of an app."),
    "deploy": ("deploy", "Put an app on devices over SSH, or on a USB stick for them."),
    "install": ("install", "Put a bundle in the place of the release that runs."),
    "releases": ("install", "Show the releases on this device, go back to the one before."),
    "provision": ("provision", "Get this device its certificate from AWS IoT Core."),
    "doctor": ("doctor", "Check this machine and say what to mend."),
    "standin": ("standin", "Run a stand-in for AWS IoT Core."),
}
"""By verb: the module in this folder that defines the command of that name, and its short help."""


class Edge(click.Group):
    """A group that knows the names and short helps of its commands, and imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        """Return the verbs, the first to be used first."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - same
        """Import and return a command; None when there is none of that name."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"edge_runtime.cli.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from edge_runtime.plugin import nearest  # noqa: PLC0415 - what is right needs no difflib

            ctx.fail(f"no command {args[0]!r}{nearest(args[0], VERBS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - same
        """Write the list of commands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - the signature is click's
        """Run the command; an error of ours becomes two lines and the exit status 1."""
        try:
            return super().invoke(ctx)
        except EdgeError as error:
            complain(error)
            ctx.exit(1)
        except KeyboardInterrupt:
            ctx.exit(130)


@click.group(cls=Edge, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, message="edge %(version)s")
def cli() -> None:
    """Run AWS Lambda handlers on device events, keep everything while offline, sync to AWS IoT Core."""


def main() -> None:
    """Run the command line, and end the process with its exit status."""
    sys.exit(cli(prog_name="edge"))
