"""Named places at which a test can end the process as a power cut would.

`EDGE_FAILPOINT=commit.done:3` kills this process with SIGKILL when it reaches `commit.done` for the third time. Without
the variable a failpoint costs one comparison. Every name is listed here, so that a torture run can visit them all.
"""

from __future__ import annotations

import os
import signal

NAMES = (
    "open.created",
    "upgrade.begin",
    "upgrade.before",
    "upgrade.done",
    "commit.begin",
    "commit.rows",
    "commit.deletes",
    "commit.before",
    "commit.done",
    "commit.marked",
    "ballast.released",
    "evict.done",
    "thin.done",
    "invoke.sent",
    "invoke.replied",
    "uplink.sent",
    "uplink.acked",
    "close.begin",
    "release.unpacked",
    "release.staged",
    "release.recorded",
    "release.switched",
    "release.confirmed",
    "release.returned",
    "release.removing",
)

_name, _, _nth = os.environ.get("EDGE_FAILPOINT", "").partition(":")
_left = int(_nth or "1")


def reach(name: str) -> None:
    """Die here if the environment says so."""
    global _left  # noqa: PLW0603 - a countdown of the process is what this module is
    if name != _name:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
