"""A Debian package that installs without a network: wheels, the one installer, a hardened unit, sysusers.

It holds the runtime bundle of each machine that it may come to; its `postinst` makes the virtual environment from it,
as a component of Greengrass or `edge deploy` does. See README.md beside this file for what it puts where.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from edge_runtime.building.plan import Copy, Deb, Plan, Remove, Step, Write
from edge_runtime.errors import ConfigError

NAME = "edge-runtime"
MACHINES: Mapping[str, tuple[str, ...]] = {
    "amd64": ("x86_64",),
    "arm64": ("aarch64",),
    "armhf": ("armv7l",),
    "all": ("x86_64", "aarch64", "armv7l"),
}
"""Which machines a package's architecture may come to, as `uname -m` says."""
ALSO: Mapping[str, tuple[str, ...]] = {"armhf": ("armv6l",), "all": ("armv6l",)}
"""And these, where there is a bundle for them: Raspberry Pi OS calls the oldest Pis armhf too."""

HOME = "usr/lib/edge-runtime"
"""Where it lives on the device, below `/`. Code and environment; neither settings nor state."""
_FILES = Path(__file__).parent / "files"
_INSTALLER = Path(__file__).parent.parent / "installer" / "edge-install.sh"
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+~-]*")
_PLACES = {
    "edge-runtime.service": "usr/lib/systemd/system/edge-runtime.service",
    "sysusers.conf": "usr/lib/sysusers.d/edge-runtime.conf",
    "tmpfiles.conf": "usr/lib/tmpfiles.d/edge-runtime.conf",
    "edge.env": "etc/edge-runtime/edge.env",
    "copyright": "usr/share/doc/edge-runtime/copyright",
}
_CONTROL = """Package: {name}
Version: {version}
Architecture: {architecture}
Maintainer: edge-runtime <edge-runtime@localhost>
Section: net
Priority: optional
Depends: python3 (>= 3.11), python3-venv, openssl, systemd, init-system-helpers (>= 1.54~)
Recommends: python3-lgpio, python3-gpiozero, python3-spidev, ca-certificates
Description: run AWS Lambda handlers on device events, and keep everything while offline
 Sensors, timers and messages become events in a durable queue; Lambda handlers run on them, with
 and without a network; what is meant for AWS IoT Core is sent until it is acknowledged.
 .
 All Python packages are inside: the installation needs no network and no compiler.
"""


def plan(out: Path, work: Path, bundles: Mapping[str, Path], architecture: str, version: str) -> Plan:
    """Return how the package comes about in the folder `out`, by way of the folder `work`, which is removed.

    `bundles` are runtime bundles by machine (`edge build runtime`); `architecture` is one of MACHINES.

    Raises: ConfigError when a bundle is missing or too many, or the version is none that dpkg takes.
    """
    if architecture not in MACHINES:
        raise ConfigError(f"there is no package for {architecture!r}", hint=f"known: {', '.join(MACHINES)}")
    if not _VERSION.fullmatch(version):
        raise ConfigError(f"{version!r} is no version of a Debian package", hint="as 1.4.0, or 1.4.0-1")
    needed, known = MACHINES[architecture], {*MACHINES[architecture], *ALSO.get(architecture, ())}
    if missing := [machine for machine in needed if machine not in bundles]:
        raise ConfigError(
            f"a package for {architecture} needs the runtime for {', '.join(missing)}",
            hint=f"edge build runtime --arch {missing[0]}",
        )
    if strange := sorted(set(bundles) - known):
        raise ConfigError(f"a package for {architecture} never comes to {', '.join(strange)}")
    root, control = work / "root", work / "control"
    result = out / f"{NAME}_{version}_{architecture}.deb"
    about = _CONTROL.format(name=NAME, version=version, architecture=architecture)
    steps: list[Step] = [Remove(root), Remove(control), Write(control / "control", about.encode())]
    steps += [Copy(_FILES / name, control / name, 0o755) for name in ("postinst", "prerm", "postrm")]
    steps += [
        Write(control / "conffiles", b"/etc/edge-runtime/edge.env\n"),
        # When Debian goes on to its next Python, the environment is made anew for it.
        Write(control / "triggers", b"interest-noawait /usr/bin/python3\n"),
    ]
    steps += [Copy(_FILES / name, root / place, 0o644) for name, place in _PLACES.items()]
    steps += [
        Copy(_FILES.parent / "README.md", root / "usr/share/doc/edge-runtime/README.md", 0o644),
        Copy(_FILES / "edge", root / "usr/bin/edge", 0o755),
        Copy(_INSTALLER, root / HOME / "edge-install.sh", 0o755),
    ]
    steps += [
        Copy(path, root / HOME / "bundles" / f"{NAME}-{name}.zip", 0o644) for name, path in sorted(bundles.items())
    ]
    return Plan("deb", (*steps, Deb(root, control, result), Remove(root), Remove(control)), (result,))
