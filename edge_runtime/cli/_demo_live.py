"""The demo's live table. Imported only when the output is a terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_runtime.cli.demo import Screen, figures

if TYPE_CHECKING:
    from edge_runtime.cli._demo_site import Cloud, World

_NOTES = 6


class LiveScreen(Screen):
    """One table that is drawn anew, and the last things that happened below it."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(show)
        self._notes: deque[str] = deque(maxlen=_NOTES)
        self._live = Live(refresh_per_second=8)

    def __enter__(self) -> Self:
        """Take the screen."""
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Give the screen back; the last table stays."""
        self._live.__exit__(*error)  # type: ignore[arg-type]  # handed on as it came

    def show(self, passed: float, status: dict[str, Any], cloud: Cloud, world: World, note: str) -> None:
        """Draw."""
        if note:
            self._notes.append(f"{passed:5.1f} s  {note}")
        found = Table(title=f"field station, {passed:.0f} s", title_justify="left")
        found.add_column("what")
        found.add_column("now", justify="right")
        for name, value in figures(status, cloud, world):
            found.add_row(name, str(value))
        for queue in status.get("queues", []):
            found.add_row(f"queue {queue['target']}", f"{queue['queued']} waiting, {queue['delivered']} delivered")
        self._live.update(Group(found, *(Text(note) for note in self._notes)))
