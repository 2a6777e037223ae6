"""What there is to know of a device before something is installed on it, asked in one round trip."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_runtime.errors import ConfigError, HostError, StoreError

PYTHON = (3, 11)
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64", "armv7l": "armv7l", "armv6l": "armv6l"}
HARDWARE_GROUPS = ("gpio", "i2c", "spi", "dialout")
OWNER = "edge-runtime"
"""Who runs the runtime of a package."""
_CLOCK_S = 120
_MB = 1 << 20

OF_HOME = ".local/share/edge-runtime"
"""Where the runtime of one user alone is, below the home folder."""
PACKAGED = "/usr/lib/edge-runtime/venv/bin/edge"
"""What a package installs. `/usr/bin/edge` leads root to it, as its own user and with its settings."""

_RELEASES = r"""
if found=$(cd / && "$edge" releases --files --json "$@" 2>/dev/null); then
  printf 'releases=%s\n' "$(printf %s "$found" | tr -d '\n')"
else
  printf 'refusal=%s\n' "$(cd / && "$edge" releases --json "$@" 2>&1 >/dev/null | tr '\n' ' ')"
fi
"""
_OF_SYSTEM = f"edge=/usr/bin/edge\n{_RELEASES}"
_PROBE = (
    r"""
LC_ALL=C; export LC_ALL
say() { printf '%s=%s\n' "$1" "$2"; }
say kernel "$(uname -s)"
say architecture "$(uname -m)"
say system "$(. /etc/os-release 2>/dev/null && printf %s "$PRETTY_NAME")"
say python "$(python3 -I -S -c 'import sys, importlib.util
venv = "" if importlib.util.find_spec("venv") else " without venv"
print("%d.%d.%d" % sys.version_info[:3] + venv)' 2>/dev/null)"
say user "$(id -un)"
say home "$HOME"
say groups "$(id -Gn)"
say owner_groups "$(id -Gn edge-runtime 2>/dev/null)"
for group in gpio i2c spi dialout; do getent group $group >/dev/null 2>&1 && say has_group $group; done
if [ "$(id -u)" = 0 ]; then sudo=root
elif ! command -v sudo >/dev/null; then sudo=none
elif sudo -n true 2>/dev/null; then sudo=free
elif id -Gn | tr ' ' '\n' | grep -qx -e sudo -e wheel -e admin; then sudo=asks
else sudo=none; fi
say sudo $sudo
command -v dpkg >/dev/null && say dpkg "$(dpkg --print-architecture)"
say bits "$(getconf LONG_BIT)"
[ -d /run/systemd/system ] && say systemd yes
XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)} systemctl --user show-environment >/dev/null 2>&1 &&
  say user_systemd yes
say time "$(date +%s)"
say home_kb "$(df -Pk "$HOME" | awk 'NR == 2 { print $4 }')"
say system_kb "$(df -Pk /var/lib | awk 'NR == 2 { print $4 }')"
# From the name of a folder: to ask the command itself takes a second on a small device.
version() {
  for one in "$1"/venv/lib/python3*/site-packages/edge_runtime-*.dist-info; do
    [ -d "$one" ] && one=${one##*/edge_runtime-} && echo "${one%.dist-info}" && return
  done
  echo broken
}
if [ -x $packaged ]; then
  case $(dpkg-query --show --showformat='${db:Status-Status}' edge-runtime 2>/dev/null) in
    unpacked | half-*) say system_edge broken ;; # an upgrade has failed, and what was before runs on
    *) say system_edge "$(version /usr/lib/edge-runtime)" ;;
  esac
fi
base=$HOME/$of_home
[ -x "$base/venv/bin/edge" ] && say user_edge "$(version "$base")"
if [ -x $packaged ]; then
  case $sudo in
    root) sh -c "$releases" ;;
    free) sudo -n sh -c "$releases" ;;
  esac
elif [ -x "$base/venv/bin/edge" ]; then
  edge=$base/venv/bin/edge
  set -- --state "$base/state" --app "$base/app"
"""
    + _RELEASES
    + r"""
fi
say end 1
"""
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the runtime is on a device."""

    edge: str
    """The command."""
    base: str
    """Where it is installed."""
    spool: str
    """A folder for what has just come, of whoever installs."""
    options: str = ""
    """What the command has to be told, as a shell reads it."""
    user: str = ""
    """Who calls the command: `root`, or whoever logs in."""
    owner: str = ""
    """Whose process it is; empty: of whoever logs in."""


SYSTEM = Place("/usr/bin/edge", "/usr/lib/edge-runtime", "/var/cache/edge-deploy", user="root", owner=OWNER)


def place_of_user(home: str) -> Place:
    """Return where the runtime is for one user alone."""
    base = f"{home}/{OF_HOME}"
    options = shlex.join(["--state", f"{base}/state", "--app", f"{base}/app"])
    return Place(f"{base}/venv/bin/edge", base, f"{base}/spool", options)


def probe() -> str:
    """Return the script that asks a device for all of `Device`."""
    return f"packaged={PACKAGED}\nof_home={OF_HOME}\nreleases={shlex.quote(_OF_SYSTEM)}\n{_PROBE}"


def probe_releases(place: Place) -> str:
    """Return the script that asks for the releases at a place, for its `user`."""
    return f"edge={shlex.quote(place.edge)}\nset -- {place.options}\n{_RELEASES}\necho end=1"


@dataclass(frozen=True, slots=True)
class Device:
    """What a device says of itself."""

    architecture: str
    system: str
    python: tuple[int, ...]
    user: str
    home: str
    sudo: str
    """`root`, `free`, `asks` for a password, or `none`."""
    debian: str = ""
    """What dpkg calls its architecture; empty where there is no dpkg."""
    has_systemd: bool = False
    has_user_systemd: bool = False
    missing_groups: Sequence[str] = ()
    """Groups of hardware that are there and that whoever logs in is not in."""
    owner_missing_groups: Sequence[str] = ()
    time_s: int = 0
    home_bytes: int = 0
    system_bytes: int = 0
    system_edge: str = ""
    """Its version; empty when it is not there, `broken` when it, or the package, is not whole."""
    user_edge: str = ""
    releases: Mapping[str, Any] = field(default_factory=dict)
    """What `edge releases --files` says; empty when it was not asked."""
    refusal: str = ""
    """Why it says nothing."""


def read(host: str, text: str) -> Device:
    """Return what the answer to `probe` says.

    Raises: HostError when it was cut off, ConfigError when the runtime cannot run there.
    """
    known, groups = _lines(host, text)
    if known["kernel"] != "Linux":
        raise ConfigError(f"{host} runs {known['kernel'] or 'an unknown system'}; devices run Linux")
    machine = known["architecture"]
    if known.get("bits") == "32":  # programs of 32 bits under a kernel of 64, as on many a Raspberry Pi
        machine = {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}.get(machine, machine)
    architecture = ARCHITECTURES.get(machine)
    if architecture is None:
        raise ConfigError(
            f"{host} is a {machine or 'machine without a name'}, which the runtime is not built for",
            hint=f"built for: {', '.join(dict.fromkeys(ARCHITECTURES.values()))}",
        )
    mine, owners = known.get("groups", "").split(), known.get("owner_groups", "").split()
    return Device(
        architecture=architecture,
        system=known.get("system", "") or "Linux",
        python=_python(host, known.get("python", "")),
        user=known.get("user", ""),
        home=known.get("home", "").rstrip("/"),
        sudo=known.get("sudo", "none"),
        debian=known.get("dpkg", ""),
        has_systemd="systemd" in known,
        has_user_systemd="user_systemd" in known,
        missing_groups=[group for group in groups if group not in mine],
        owner_missing_groups=[group for group in groups if owners and group not in owners],
        time_s=_number(known.get("time", "")),
        home_bytes=_number(known.get("home_kb", "")) * 1024,
        system_bytes=_number(known.get("system_kb", "")) * 1024,
        system_edge=known.get("system_edge", ""),
        user_edge=known.get("user_edge", ""),
        releases=_json(host, known.get("releases", "")),
        refusal=known.get("refusal", "").strip(),
    )


def read_releases(host: str, text: str) -> tuple[Mapping[str, Any], str]:
    """Return what the answer to `probe_releases` says: the releases, or why there is no word of them."""
    known, _ = _lines(host, text)
    return _json(host, known.get("releases", "")), known.get("refusal", "").strip()


def check_room(host: str, folder: str, free: int, needed: int) -> None:
    """Return when there is room. Raises: StoreError."""
    if free < needed:
        raise StoreError(
            f"{host} has no room: {needed / _MB:.0f} MB are needed in {folder}, and {free / _MB:.0f} MB are free",
            hint=f"see what is large: ssh {host} df -h",
        )


def advice(device: Device, place: Place, now_s: float) -> list[str]:
    """Return what is not as it should be, and what to do about it, a line each."""
    found = []
    who = place.owner or device.user
    missing = device.owner_missing_groups if place.owner else device.missing_groups
    if missing:
        found.append(
            f"{who} is not in {', '.join(missing)}, so those devices stay closed: "
            f"sudo usermod -aG {','.join(missing)} {who}, and start the runtime again"
        )
    behind_s = now_s - device.time_s
    if abs(behind_s) > _CLOCK_S:
        found.append(
            f"its clock is {abs(behind_s) / 60:.0f} min {'behind' if behind_s > 0 else 'ahead'}: "
            "sudo timedatectl set-ntp true"
        )
    return found


def _lines(host: str, text: str) -> tuple[dict[str, str], list[str]]:
    known: dict[str, str] = {}
    groups = []
    for line in text.splitlines():
        key, sign, value = line.partition("=")
        if key == "has_group":
            groups.append(value)
        elif sign and re.fullmatch("[a-z_]+", key):
            known[key] = value
    if known.get("end") != "1":
        said = text.strip()[-200:]
        raise HostError(
            f"{host} does not answer as a shell does{f': {said!r}' if said else ''}",
            hint=f"see what this prints: ssh {host} echo well",
        )
    return known, groups


def _python(host: str, text: str) -> tuple[int, ...]:
    """Return its version. Raises: ConfigError when there is none that will do."""
    version = tuple(int(part) for part in re.findall(r"\d+", text)[:3])
    wanted = ".".join(str(part) for part in PYTHON)
    if not version:
        raise ConfigError(f"{host} has no python3", hint=f"ssh -t {host} sudo apt-get install python3 python3-venv")
    if version < PYTHON:
        raise ConfigError(
            f"{host} has Python {text.split(maxsplit=1)[0]}, and {wanted} is needed",
            hint="Raspberry Pi OS 12 (bookworm) and newer have it: write a new card",
        )
    if "without venv" in text:
        raise ConfigError(
            f"Python on {host} has no module venv", hint=f"ssh -t {host} sudo apt-get install python3-venv"
        )
    return version


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _json(host: str, text: str) -> Mapping[str, Any]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise HostError(f"what {host} says of its releases is no JSON: {error}") from error
    return found if isinstance(found, dict) else {}
