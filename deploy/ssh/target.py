"""A device over SSH: its runtime, if it has none or an older one, and a release of an app.

Each step is one command on the device. What is sent goes to a spool folder first; a file that is not whole is removed
there. One deployment at a time: the spool folder has a lock, which ends with whoever holds it.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.building.device import OF_HOME, Place
from edge_runtime.building.plan import Plan, Remote, Step

BUSY, CUT = 75, 74
"""What a step ends with when another deployment is under way, and when not all of its input came."""
INSTALLER = Path(__file__).parent.parent / "installer" / "edge-install.sh"
UNIT = "edge-runtime.service"
_WAIT_S = 60

_RECEIVE = """set -eu
LC_ALL=C; export LC_ALL
umask 077
mkdir -p {spool}
cd {spool}
exec 9>lock
flock -n 9 || {{ echo 'another deployment is under way' >&2; exit {busy}; }}
rm -f part {name}
cat >part
if [ "$(wc -c <part)" -ne {size} ]; then
  rm -f part
  echo 'the connection broke before all was here' >&2
  exit {cut}
fi
mv part {name}
"""
_INSTALL = """status=0
{edge} install "$PWD/{name}" {options} --health {health:g} --json || status=$?
rm -f {name}
exit $status
"""
_PACKAGE = """status=0
if command -v apt-get >/dev/null; then
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends --allow-downgrades --reinstall \\
    install "$PWD/{name}" 9>&- >&2 || status=$?
else
  dpkg -i {name} 9>&- >&2 || status=$?
fi
rm -f {name}
exit $status
"""
_RUNTIME = """cat >edge-install.sh <<'END OF THE INSTALLER'
{installer}
END OF THE INSTALLER
status=0
sh edge-install.sh install "$PWD/{name}" {base} 9>&- >&2 || status=$?
rm -f {name} edge-install.sh
mkdir -p {base}/state {base}/app
chmod 700 {base}/state
exit $status
"""
_START = """set -eu
LC_ALL=C; export LC_ALL
XDG_RUNTIME_DIR=${{XDG_RUNTIME_DIR:-/run/user/$(id -u)}}; export XDG_RUNTIME_DIR
base={base}
units=$HOME/.config/systemd/user
mkdir -p "$units"
cat >"$units/{unit}.new" <<'END OF THE UNIT'
{text}
END OF THE UNIT
mv "$units/{unit}.new" "$units/{unit}"
loginctl enable-linger 2>/dev/null || echo 'it ends when {user} logs out: sudo loginctl enable-linger {user}'
systemctl --user daemon-reload
systemctl --user enable --quiet {unit}
answers() {{
  systemctl --user restart {unit} || return 1
  end=$(($(date +%s) + {wait}))
  until "$base/venv/bin/edge" releases --state "$base/state" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt $end ] || return 1
    sleep 0.2
  done
}}
answers && exit 0
echo 'the runtime does not start: journalctl --user -u {unit}' >&2
before=$(readlink "$base/venv.before" || :)
if [ -n "$before" ] && [ "$before" != "$(readlink "$base/venv")" ]; then
  ln -sfn "$before" "$base/.link" && mv -T "$base/.link" "$base/venv"
  answers && echo 'the one before runs again' >&2
fi
exit 1
"""
_UNIT = """[Unit]
Description=Edge runtime: AWS Lambda handlers on the events of this device
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
Environment=EDGE_STATE=%h/{base}/state EDGE_APP=%h/{base}/app PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1
WorkingDirectory=%h/{base}/state
ExecStartPre=-%h/{base}/venv/bin/edge safe
ExecStart=%h/{base}/venv/bin/edge run
ExecStopPost=%h/{base}/venv/bin/edge safe
Restart=always
RestartSec=2
WatchdogSec=30
TimeoutStartSec=120
TimeoutStopSec=30
TimeoutAbortSec=5
KillMode=mixed
# A control group for each worker of a function bounds its memory.
Delegate=memory
UMask=0077

[Install]
WantedBy=default.target"""
"""`%h` is the home folder, whatever signs are in its path: systemd puts it in after it has parted the words."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime that is to be installed."""

    file: Path
    """A package, or a bundle of `edge build runtime`."""
    size: int
    starts: bool = True
    """Whether there is a service manager of whoever logs in, which runs it."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release that is to be installed."""

    file: Path
    size: int
    health_s: float


def plan(host: str, place: Place, user: str, runtime: Runtime | None, release: Release | None) -> Plan:
    """Return what is done on a device: `user` is who logs in there. Reads the installer only."""
    steps: list[Step] = []
    if runtime is not None:
        steps += _of_runtime(host, place, user, runtime)
    if release is not None:
        name = "release.edge"
        install = _INSTALL.format(
            edge=shlex.quote(place.edge), name=name, options=place.options, health=release.health_s
        )
        script = _receive(place, name, release.size) + install
        steps.append(Remote(host, "installing the release", script, place.user, release.file))
    return Plan("ssh", tuple(steps))


def _of_runtime(host: str, place: Place, user: str, runtime: Runtime) -> list[Step]:
    if place.user:
        script = _receive(place, "edge-runtime.deb", runtime.size) + _PACKAGE.format(name="edge-runtime.deb")
        return [Remote(host, "installing the package of the runtime", script, place.user, runtime.file)]
    base = shlex.quote(place.base)
    installer = INSTALLER.read_text(encoding="utf-8").rstrip("\n")
    install = _RUNTIME.format(installer=installer, name="edge-runtime.zip", base=base)
    script = _receive(place, "edge-runtime.zip", runtime.size) + install
    steps: list[Step] = [Remote(host, "installing the runtime", script, place.user, runtime.file)]
    if runtime.starts:
        text = _UNIT.format(base=OF_HOME)
        start = _START.format(base=base, unit=UNIT, text=text, user=shlex.quote(user), wait=_WAIT_S)
        steps.append(Remote(host, "starting the runtime", start))
    return steps


def _receive(place: Place, name: str, size: int) -> str:
    return _RECEIVE.format(spool=shlex.quote(place.spool), name=name, size=size, busy=BUSY, cut=CUT)
