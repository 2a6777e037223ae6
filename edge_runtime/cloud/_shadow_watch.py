"""What was set in which shadow, for whoever acts on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from edge_runtime.model import NO_HEADERS
from edge_runtime.pure import _shadow_tree as trees
from edge_runtime.pure._shadow_tree import Tree
from edge_runtime.pure.permissions import DEPTH, depth


class Touched(NamedTuple):
    """What became of one shadow since it was last asked for, all updates in one."""

    patch: Tree
    """The `state` that was set, also where it was so before; empty for a deletion."""
    headers: Mapping[str, str] = NO_HEADERS
    """Of the update that came after most functions in a row."""


class Watch:
    """One who wants to know. What he has not taken yet is gathered: it never grows beyond the shadows themselves."""

    def __init__(self) -> None:
        self._touched: dict[str, Touched] = {}
        self._some = asyncio.Event()

    def note(self, name: str, patch: Tree, headers: Mapping[str, str]) -> None:
        """Take notice of an update or a deletion that is on disk."""
        known = self._touched.get(name)
        if known is not None:
            patch = trees.overlay(known.patch, patch)
            headers = max(known.headers, headers, key=depth)
        self._touched[name] = Touched(patch, {DEPTH: headers[DEPTH]} if DEPTH in headers else NO_HEADERS)
        self._some.set()

    async def take(self) -> dict[str, Touched]:
        """Return what has happened, by the name of the shadow, as soon as something has."""
        await self._some.wait()
        self._some.clear()
        found, self._touched = self._touched, {}
        return found
