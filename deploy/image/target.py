"""A disk image for x86-64 machines: `edge build image`.

RAW with a BIOS boot record, as Snowball Edge, KVM, Proxmox, VMware, VirtualBox, EC2 and bare machines take it; also as
QCOW2 and VMDK. Debian, its generic kernel, the runtime, cloud-init, an SSH server. The root disk may be IDE, SATA,
SCSI, virtio or NVMe. State goes to a second volume, labelled edge-data. See README.md beside this file.

It is made without mounting anything: needed are root, for the owners of files, and the programs of `PROGRAMS`.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import edge_runtime
from edge_runtime import plugin
from edge_runtime.building.plan import Copy, Plan, Remove, Run, Step, Write
from edge_runtime.errors import ConfigError, LimitError

HERE = Path(__file__).parent
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
    "syslinux": "syslinux",
    "mke2fs": "e2fsprogs",
    "sfdisk": "fdisk",
    "qemu-img": "qemu-utils",
}
"""By program: the Debian package that has it."""
SEED_PROGRAMS = {name: PROGRAMS[name] for name in ("mkfs.vfat", "mcopy")}
BOOT_RECORD = Path("/usr/lib/syslinux/mbr/mbr.bin")
"""Of the Debian package syslinux-common."""
SUITE = "bookworm"
PACKAGES = (
    "linux-image-amd64", "initramfs-tools", "zstd", "kmod", "systemd-sysv", "udev", "dbus", "libnss-systemd",
    "libpam-systemd", "systemd-resolved", "systemd-timesyncd", "iproute2", "ca-certificates", "e2fsprogs",
    "openssh-server", "sudo", "cloud-init", "cloud-guest-utils", "fdisk", "python3", "python3-venv", "python3-pil",
)  # fmt: skip
"""The generic kernel: the one for clouds lacks the drivers of IDE disks. Pillow is for analysing images."""
LEFT_OUT = (
    "/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/i18n/*",
    *(f"/lib/modules/*/kernel/{part}/*" for part in ("sound", "drivers/gpu", "drivers/infiniband", "drivers/media")),
)  # fmt: skip
"""Also of later upgrades: documentation, and drivers of what a machine without a screen does not have."""
FORMATS = {"qcow2": ("-O", "qcow2", "-c"), "vmdk": ("-O", "vmdk", "-o", "subformat=streamOptimized")}
LEAST_MB, MOST_MB = 1024, 1 << 20
"""What a Snowball Edge takes: 1 GB to 1 TB."""
MOST_USER_DATA = 16_384
"""Bytes, before base64 (Amazon EC2 user guide, "Run commands when you launch an EC2 instance with user data input")."""
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_SECTOR = 512
_BOOT_AT, _BOOT = 2048, 96 * 2048
_ROOT_AT = _BOOT_AT + _BOOT
"""In sectors."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an image is to be."""

    out: Path
    """The folder for the results."""
    deb: Path | None = None
    """The runtime's package, made for amd64; None: it is made first."""
    version: str = edge_runtime.__version__
    size_mb: int = 3072
    """Of the root disk. It grows at the first start when the disk has more."""
    formats: Sequence[str] = ("qcow2", "vmdk")
    """Beside RAW."""
    mirror: str = ""
    """Where packages come from; empty: where mmdebstrap takes them from by itself."""


def plan(options: Options) -> Plan:
    """Return how the image is made. Raises: ConfigError for options with no meaning."""
    if not LEAST_MB <= options.size_mb <= MOST_MB:
        raise ConfigError(f"an image of {options.size_mb} MB", hint=f"{LEAST_MB} to {MOST_MB} MB")
    unknown = [name for name in options.formats if name not in FORMATS]
    if unknown:
        raise ConfigError(f"there is no image format {unknown[0]!r}", hint=f"known, beside RAW: {', '.join(FORMATS)}")
    work = options.out / ".image"
    raw = options.out / f"edge-runtime-{options.version}-amd64.raw"
    converted = {name: raw.with_suffix(f".{name}") for name in options.formats}
    package = _package(options, work)
    deb = package.results[0]
    steps: list[Step] = [Remove(work), *package.steps, *_overlay("early", work), *_overlay("overlay", work)]
    steps += [Copy(HERE / "finish.sh", work / "finish.sh", 0o755)]
    steps += [_root(deb, options.mirror, work), *disk(work / "root", work, raw.with_suffix(".part"), options.size_mb)]
    steps += [_run("mv", raw.with_suffix(".part"), raw)]
    steps += [convert(raw, name, path) for name, path in converted.items()]
    return Plan("image", (*steps, Remove(work)), (raw, *converted.values()))


def missing(wanted: Mapping[str, str] = PROGRAMS, *, root: bool = True) -> str:
    """Return why it cannot be made here, empty when it can. `root`: whether it takes root."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    packages = sorted({package for name, package in wanted.items() if shutil.which(name, path=path) is None})
    if not packages and "syslinux" in wanted and not BOOT_RECORD.is_file():
        packages = ["syslinux-common"]
    if packages:
        return f"apt-get install {' '.join(packages)}"
    return "" if not root or os.geteuid() == 0 else "do it as root, who alone may make files of others: sudo edge build"


def disk(root: Path, work: Path, raw: Path, size_mb: int) -> list[Step]:
    """Return how a folder becomes a disk that starts: MBR, a FAT partition with SYSLINUX and the kernel, ext4.

    Nothing is mounted. The file system of the root is made by itself and copied to its place: `mke2fs -d` with an
    offset, as of e2fsprogs 1.47.0, leaves it empty without a word.
    """
    boot, ext4 = work / "boot.fat", work / "root.ext4"
    sectors = size_mb * 2048
    table = f"label: dos\nunit: sectors\n\n{_BOOT_AT},{_BOOT},c,*\n{_ROOT_AT},{sectors - _ROOT_AT},83\n"
    return [
        _run("truncate", "-s", _BOOT * _SECTOR, boot),
        _run("mkfs.vfat", "-F", "32", "-n", "EDGEBOOT", boot),
        # The kernel lies on the FAT partition alone; /boot of the root has what upgrades make the next one from.
        _run("sh", "-c", f'exec mcopy -i {shlex.quote(str(boot))} "$1"/boot/edge/* ::', "sh", root),
        _run("mcopy", "-i", boot, HERE / "syslinux.cfg", "::syslinux.cfg"),
        _run("syslinux", "--install", boot),
        _run("sh", "-c", 'rm -f "$1"/boot/edge/*', "sh", root),
        _run("mke2fs", "-q", "-F", "-t", "ext4", "-m", "1", "-L", "edgeroot", "-d", root, ext4,
             f"{(sectors - _ROOT_AT) // 2}k"),
        _run("truncate", "-s", sectors * _SECTOR, raw),
        _run("sfdisk", "--quiet", raw, stdin=table),
        _run("dd", f"if={BOOT_RECORD}", f"of={raw}", "bs=440", "count=1", "conv=notrunc", "status=none"),
        _dd(boot, raw, _BOOT_AT),
        _dd(ext4, raw, _ROOT_AT),
    ]  # fmt: skip


def convert(raw: Path, name: str, out: Path) -> Step:
    """Return how a RAW disk becomes one of another format, of `FORMATS`: the same bytes in another file."""
    return _run("qemu-img", "convert", "-f", "raw", *FORMATS[name], raw, out)


def user_data(bundle: Path) -> bytes:
    """Return a shell script that puts a bundle in place at the first start of a machine, as user data takes it.

    Raises: LimitError for a bundle that EC2 and its like do not take as user data, ConfigError when it is missing.
    """
    try:
        data = bundle.read_bytes()
    except OSError as error:
        raise ConfigError(f"{bundle} cannot be read: {error.strerror}") from error
    text = "\n".join(textwrap.wrap(base64.b64encode(data).decode(), 120))
    script = (
        "#!/bin/sh\n"
        "# The user data of a machine with the edge runtime: an app, put in place at the first start.\n"
        "set -eu\n"
        "exec /usr/lib/edge-image/install-app <<'END'\n"
        f"{text}\n"
        "END\n"
    ).encode()
    if len(script) > MOST_USER_DATA:
        raise LimitError(
            f"{bundle} has {len(data)} bytes, and user data takes {MOST_USER_DATA} as base64",
            hint="have the user data fetch it from a bucket, or copy it to the machine: edge install",
        )
    return script


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine without metadata is told of itself."""

    name: str
    key: str = ""
    """The public SSH key of who may log in; empty: nobody."""


def seed(bundle: Path, script: Path | None, out: Path | None, machine: Machine, work: Path) -> Plan:
    """Return how user data with a bundle comes about: as a `script`, and in the disk `out` that cloud-init looks for.

    It finds the disk by its label, cidata. Raises: as `user_data`; ConfigError for a name that no machine can have.
    """
    if not _NAME.fullmatch(machine.name):
        raise ConfigError(f"{machine.name!r} is no name of a machine", hint="letters, digits and -")
    data = user_data(bundle)
    steps: list[Step] = [] if script is None else [Write(script, data, 0o755)]
    if out is not None:
        about = f"instance-id: {machine.name}\nlocal-hostname: {machine.name}\n"
        about += f"public-keys:\n  - {machine.key}\n" if machine.key else ""
        steps += [
            Write(work / "meta-data", about.encode()),
            Write(work / "user-data", data),
            Remove(out),
            _run("truncate", "-s", 1 << 20, out),
            _run("mkfs.vfat", "-n", "CIDATA", out),
            _run("mcopy", "-i", out, work / "meta-data", work / "user-data", "::"),
        ]
    return Plan("seed", tuple(steps), tuple(path for path in (script, out) if path is not None))


def _overlay(name: str, work: Path) -> Iterator[Step]:
    """Yield a copy for each file of a folder; which may be executed is told by its first line, as wheels forget it."""
    for path in sorted((HERE / name).rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                executable = file.read(2) == b"#!"
            yield Copy(path, work / name / path.relative_to(HERE / name), 0o755 if executable else 0o644)


def _package(options: Options, work: Path) -> Plan:
    """Return how the runtime's package comes about, its one result."""
    if options.deb is not None:
        copy = work / options.deb.name
        return Plan("deb", (Copy(options.deb, copy),), (copy,))
    bundle = work / "edge-runtime-x86_64.zip"
    runtime: Plan = plugin.load("deploy", "runtime").plan("x86_64", bundle)
    deb: Plan = plugin.load("deploy", "deb").plan(work, work / "deb", {"x86_64": bundle}, "amd64", options.version)
    return Plan("deb", (*runtime.steps, *deb.steps), deb.results)


def _root(deb: Path, mirror: str, work: Path) -> Step:
    """Return how the root folder is made: Debian, then the overlay, then the runtime, then the last touches."""
    place, inside = shlex.quote(str(work)), shlex.quote(f"/root/{deb.name}")
    hooks = (
        f"sync-in {place}/overlay /",
        f"copy-in {shlex.quote(str(deb))} /root",
        f'chroot "$1" apt-get install --yes --no-install-recommends {inside}',
        f'chroot "$1" rm {inside}',
        f'{place}/finish.sh "$1"',
    )
    return _run(
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        '--aptopt=Acquire::Languages "none"',
        f"--essential-hook=sync-in {place}/early /",
        *(f"--customize-hook={hook}" for hook in hooks),
        f"--include={','.join(PACKAGES)}",
        SUITE,
        work / "root",
        *([mirror] if mirror else []),
        environment={"DEBIAN_FRONTEND": "noninteractive"},
    )


def _dd(source: Path, raw: Path, sector: int) -> Step:
    """Return how a partition is put into the disk; what is zeros stays a hole."""
    at = sector * _SECTOR
    return _run("dd", f"if={source}", f"of={raw}", "bs=1M", f"seek={at}", "oflag=seek_bytes", "conv=sparse,notrunc",
                "status=none")  # fmt: skip


def _run(*command: object, stdin: str = "", environment: dict[str, str] | None = None) -> Run:
    path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    return Run(tuple(str(part) for part in command), environment=path | (environment or {}), stdin=stdin.encode())
