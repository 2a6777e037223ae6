"""What `edge doctor` examines, and what its checks yield."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Level = Literal["ok", "skip", "warn", "fail"]
LEVELS: tuple[Level, ...] = ("fail", "warn", "skip", "ok")
"""The worst first. `skip`: it could not be checked, and the text says why."""
WORDS: dict[Level, str] = {"fail": "fail", "warn": "warn", "skip": "not checked", "ok": "ok"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `fix` is a command or what to write, empty when all is well."""

    what: str
    level: Level
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is examined, and how far that may go."""

    path: Path
    """The app file; or a folder that waits for its first release."""
    state: Path
    """The state folder."""
    probe: bool = True
    """Whether to connect as the app would, when no host does."""
    publish: str = ""
    """A topic to publish on while connected; empty: none."""
    policies: tuple[Path, ...] = ()
    """Policy documents to hold the app against."""
    patience_s: float = 5.0
    """How long to wait for one answer of the network."""


def summary(found: Iterable[Finding]) -> str:
    """Return how many findings there are of each level, the worst first: `2 fail, 1 warn, 14 ok`."""
    levels = [finding.level for finding in found]
    return ", ".join(f"{levels.count(level)} {WORDS[level]}" for level in LEVELS if level in levels)
