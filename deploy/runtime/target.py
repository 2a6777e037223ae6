"""The runtime as one bundle that installs without a network and without a compiler: `edge build runtime`.

It holds `wheels/`, all that is needed for every supported Python, with what installs it (`building.pack.TOOLS`), and
`requirements.lock`, which names each by its hash. `deploy/installer/edge-install.sh` makes an environment of it.
"""

from __future__ import annotations

import os
from pathlib import Path

import edge_runtime
from edge_runtime.building.own_wheel import NAME
from edge_runtime.building.plan import OwnWheel, Pack, Pins, Plan, PureWheels, Step, Wheels
from edge_runtime.building.wheels import PYTHONS, TAGS
from edge_runtime.errors import ConfigError

LOCKS = Path(__file__).parent.parent / "locks"
WITHOUT_WHEELS = frozenset({"armv7l", "armv6l"})
"""Architectures that take what is in `pure.txt` without its compiled parts."""


def work_folder() -> Path:
    """Return where wheels are kept, so that the next build needs no network."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-runtime" / "build"


def plan(
    architecture: str, out: Path, *, key: Path | None = None, work: Path | None = None, locks: Path = LOCKS
) -> Plan:
    """Return the plan of the bundle for one architecture, as `uname -m` says it.

    Raises: ConfigError when there are no locks for it.
    """
    if architecture not in TAGS:
        known = f"known: {', '.join(TAGS)}"
        raise ConfigError(f"the runtime cannot be built for {architecture!r}", hint=known)
    place = (work or work_folder()) / architecture
    fetched, pure, own, pins = place / "wheels", place / "pure", place / "own", place / "requirements.lock"
    folders: tuple[Path, ...] = (fetched, own)
    steps: list[Step] = [Wheels(locks / f"{architecture}.txt", fetched, architecture, PYTHONS)]
    if architecture in WITHOUT_WHEELS:
        steps.append(PureWheels(locks / "pure.txt", pure))
        folders += (pure,)
    parts = (("requirements.lock", pins), *(("wheels", folder) for folder in folders))
    steps += [
        OwnWheel(own),
        Pins(folders, pins),
        Pack(parts, out, NAME, edge_runtime.__version__, architecture, key),
    ]
    return Plan("runtime", tuple(steps), (out,))
