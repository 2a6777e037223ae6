"""The live picture of `edge devices watch`. Imported only where there is a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edge_runtime.cli._common import clean
from edge_runtime.cli._devices_watch import Picture, cells


def drawn(picture: Picture) -> RenderableType:
    """Return the picture for a terminal. Texts of devices are shown as they are: markup in them is not obeyed."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in (("name", "left"), ("value", "right"), ("", "left"), ("least to most", "left")):
        table.add_column(Text(name), justify=justify, no_wrap=True)  # type: ignore[arg-type]  # two of rich's words
    table.add_column(Text("last event"), overflow="fold")
    for track in picture.tracks.values():
        name, line, marks, bounds, now = cells(track)
        graph = Text(line, style="cyan")
        if marks.strip():
            graph = Text.assemble(graph, "\n", (marks, "yellow"))
        table.add_row(Text(name), Text(now, style="bold"), graph, Text(bounds), Text(clean(track.last)))
    return Group(table, Text("Ctrl-C ends it", style="dim"))
