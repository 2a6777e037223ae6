"""Names that a person has mistyped: the error says the nearest one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from edge_runtime.errors import NotFoundError
from edge_runtime.plugin import nearest


class NearestGroup(click.Group):
    """A group that names the nearest command when there is none of a name."""

    def called(self, name: str) -> str:
        """Return what the error calls a command of this name."""
        return f"command {name!r}"

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            ctx.fail(f"no {self.called(args[0])}{nearest(args[0], known) or '; there is ' + ', '.join(known)}")
        return super().resolve_command(ctx, args)


def check_devices(names: Iterable[str], known: Sequence[str]) -> None:
    """Return if there is a device of each name. Raises: NotFoundError."""
    for name in names:
        if name not in known:
            raise NotFoundError(f"there is no device {name!r}{nearest(name, known)}", hint=f"known: {', '.join(known)}")
