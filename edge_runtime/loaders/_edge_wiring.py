"""Check what the devices of `edge.yaml` are wired to. Nothing is opened: it may be a laptop's file for a Pi."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_runtime.app import Device
from edge_runtime.devices import wiring
from edge_runtime.errors import ConfigError, NotFoundError
from edge_runtime.loaders._edge_checks import words
from edge_runtime.loaders._yaml import Document


def check(board: str, devices: Sequence[Device], base: Path, document: Document) -> tuple[str, ...]:
    """Note in the document what does not fit the board, or each other; return what the host says when it starts.

    `board` is the name of a board file; empty: this machine's board, or else the header that all Pis have. `base` is
    the folder of the app file, which may hold a `hardware` folder.
    """
    if not board and not devices:
        return ()
    try:
        found = wiring.check(devices, wiring.board_for(board, base), base)
    except (ConfigError, NotFoundError) as error:
        document.add(("board",), words(error))
        return ()
    for problem in found.problems:
        document.add(("devices", problem.device, *problem.where), problem.text)
    return found.notes
