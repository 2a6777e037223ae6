"""How long a machine from the disk image takes from power on to its first event: `EDGE_IMAGE=FILE`, in QEMU.

`image_boot` counts from the start of QEMU until the runtime has accepted an event of its app, which is on the volume
already; the reference is the login prompt of the same start. Emulated, all of it is slow: the ratio is what counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks._figure import figure
from tests.deploy.image.machine import Disks, Machine, missing

_ROOT = Path(__file__).parents[2]
_PRODUCED = """sudo edge ledger --json | tr -d ' \\n' | sed 's/.*"function.tags","produced":\\([0-9]*\\).*/\\1/'"""


def main() -> None:
    """Start a machine twice, and print the figure of the second time."""
    image = Path(os.environ["EDGE_IMAGE"])
    if lacking := missing():
        raise SystemExit(f"not installed: {', '.join(lacking)}")
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as work:
        folder = Path(work)
        key, bundle, seed = folder / "id", folder / "app.edge", folder / "seed.img"
        subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        edge = [sys.executable, "-m", "edge_runtime", "build"]
        app = [str(_ROOT / "components" / "image_tags"), "--release", "1.0.0", "-o", str(bundle)]
        subprocess.run([*edge, "bundle", *app], check=True, cwd=_ROOT)
        public = str(key.with_suffix(".pub"))
        subprocess.run([*edge, "seed", str(bundle), "--ssh-key", public, "-o", str(seed)], check=True, cwd=_ROOT)
        disks = Disks(folder, image, seed)
        with Machine(disks, key) as machine:
            machine.until("finished at")
            # A file that nobody has taken away is told at each start: that is the event of the second one.
            machine.do("echo P3 1 1 255 0 0 0 > /srv/inbox/a.ppm")
            machine.do(_more_than(0))
            before = int(machine.do(_PRODUCED))
            machine.do("sync")
        with Machine(disks, key) as machine:
            machine.until("login:")
            login_s = time.monotonic() - machine.started_s
            machine.until("finished at")
            machine.do(_more_than(before))
            accepted_s = time.monotonic() - machine.started_s
    figure("image_boot", accepted_s, "s", reference="login prompt", reference_value=login_s, goal=3.0, better="lower")


def _more_than(count: int) -> str:
    """Return a script that ends when the function has been given more events than that."""
    return f'until [ "$({_PRODUCED})" -gt {count} ]; do sleep 0.5; done'


if __name__ == "__main__":
    main()
