"""Tables for a terminal. Imported only when there is one."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def draw(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Draw a table on the standard output, as wide as the terminal. Cells are text: markup in them is not obeyed."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    numbers = [n for n in range(len(columns)) if rows and all(_is_number(row[n]) for row in rows)]
    for index, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if index in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).isdigit() or cell == "-"
