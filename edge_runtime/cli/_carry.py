"""What the verbs that carry out a plan share: show it, or do it with a bar that tells how far it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from edge_runtime.building.plan import Plan
from edge_runtime.cli._common import say, say_json, size

if TYPE_CHECKING:
    from edge_runtime.building.carry_out import Far


def carry(plan: Plan, *, dry_run: bool, as_json: bool = False) -> None:
    """Do what a plan says and tell what came of it; with `dry_run` show it, and do nothing.

    Raises: as `carry_out`.
    """
    from edge_runtime.building.plan import shown  # noqa: PLC0415 - the help of these verbs does not need it

    if dry_run:
        say(shown(plan).rstrip("\n"))
        return
    run_plan(plan)
    sizes = {str(path): path.stat().st_size if path.is_file() else None for path in plan.results}
    if as_json:
        say_json([{"file": path, "bytes": count} for path, count in sizes.items()])
        return
    for path, count in sizes.items():
        say(path if count is None else f"{path}: {size(count)}")


def run_plan(plan: Plan, far: Far | None = None) -> None:
    """Do what a plan says, with a bar on a terminal; `far` runs steps on other machines.

    Raises: as `carry_out`.
    """
    from edge_runtime.building.carry_out import carry_out, nowhere  # noqa: PLC0415 - the help does not need it

    if sys.stderr.isatty():
        _with_bar(plan, far or nowhere)
    else:
        carry_out(plan, far=far or nowhere)


def _with_bar(plan: Plan, far: Far) -> None:
    from rich.console import Console  # noqa: PLC0415 - rich takes a fifth of a second
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - same

    from edge_runtime.building.carry_out import carry_out  # noqa: PLC0415 - as above

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(plan.target, total=1.0)
        carry_out(plan, lambda what, share: bar.update(task, description=what, completed=share), far)
