"""How long a machine from the disk image takes from power on to its first event: `EDGE_IMAGE=FILE`, in QEMU.

`image_boot` counts from the start of QEMU until the runtime, which has its app already, has taken its first event, by
the stamp of that event. The reference is the same machine without the runtime and its volume, until systemd has reached
multi-user.target; `image_boot_floor` is against the moment from which systemd starts any service at all. All is told
by the clock of the machine's kernel, which the console ties to the start of QEMU: when somebody looks does not matter.
Emulated, all of it is slow: the ratios are what counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks._figure import figure
from tests.deploy.image.machine import Disks, Machine, missing

_ROOT = Path(__file__).parents[2]
_APP = """\
thing: first
devices: {machine: {driver: system, every: 1h}}
functions: {first: {code: ./first, handler: app.handler, events: [{device: machine}]}}
"""
_HANDLER = """\
def handler(event, _context):
    print("first event at", event["detail"]["mono_ns"])
"""
_FIRST_EVENT = """for n in $(seq 120); do
    sudo journalctl --boot --unit edge-runtime --output cat | grep -m 1 -o 'first event at .*' && exit; sleep 1; done
    exit 1"""


def main() -> None:
    """Start a machine three times: to take the app, with it, and without the runtime. Print the figure."""
    image = Path(os.environ["EDGE_IMAGE"])
    if lacking := missing():
        raise SystemExit(f"not installed: {', '.join(lacking)}")
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as work:
        folder = Path(work)
        key = folder / "id"
        subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        disks = Disks(folder, image, _seed(folder, key))
        with Machine(disks, key) as machine:
            machine.until("finished at")
            machine.do(_FIRST_EVENT)
            machine.do("sync")
        with Machine(disks, key) as machine:
            machine.until("finished at")
            first_ns = int(machine.do(_FIRST_EVENT).split()[-1])
            first_s = machine.kernel_s + first_ns / 1e9
            floor_s = _reached(machine, "basic.target")
            machine.do("sudo systemctl disable edge-runtime.service edge-data.service && sync")
        with Machine(disks, key) as machine:
            machine.until("finished at")
            other_s = _reached(machine, "multi-user.target")
    reference = "multi-user.target without the runtime"
    figure("image_boot", first_s, "s", reference=reference, reference_value=other_s, goal=1.5, better="lower")
    reference = "basic.target of the same start"
    figure("image_boot_floor", first_s, "s", reference=reference, reference_value=floor_s, goal=2.5, better="lower")


def _reached(machine: Machine, target: str) -> float:
    """Return after how many seconds systemd has reached a target."""
    shown = machine.do(f"systemctl show --value --property ActiveEnterTimestampMonotonic {target}")
    return machine.kernel_s + int(shown) / 1e6


def _seed(folder: Path, key: Path) -> Path:
    """Make the disk that gives a machine its app and who may log in."""
    app, bundle, seed = folder / "app", folder / "app.edge", folder / "seed.img"
    (app / "first").mkdir(parents=True)
    (app / "edge.yaml").write_text(_APP, encoding="utf-8")
    (app / "first" / "app.py").write_text(_HANDLER, encoding="utf-8")
    edge = [sys.executable, "-m", "edge_runtime", "build"]
    subprocess.run([*edge, "bundle", str(app), "--release", "1.0.0", "-o", str(bundle)], check=True, cwd=_ROOT)
    public = str(key.with_suffix(".pub"))
    subprocess.run([*edge, "seed", str(bundle), "--ssh-key", public, "-o", str(seed)], check=True, cwd=_ROOT)
    return seed


if __name__ == "__main__":
    main()
