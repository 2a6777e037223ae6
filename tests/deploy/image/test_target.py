"""The image: its plan, a small disk made in the same way, and what user data holds. The boot is in test_target_boot."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_runtime import plugin
from edge_runtime.building.carry_out import carry_out
from edge_runtime.building.plan import Plan, Run, shown
from edge_runtime.errors import ConfigError, LimitError

GOLDEN = Path(__file__).parent / "golden"
HERE = Path(__file__).parents[3] / "deploy" / "image"
_NOISE = re.compile(r"(DEBIAN_FRONTEND=\S+ )?PATH=\S+ ")


@pytest.fixture(scope="module")
def image() -> Any:  # noqa: ANN401 - a module
    return plugin.load("deploy", "image")


def test_the_plan(image: Any, tmp_path: Path) -> None:  # noqa: ANN401 - as above
    options = image.Options(
        tmp_path, Path("/pool/edge-runtime_1.0.0_amd64.deb"), "1.0.0", mirror="http://mirror/debian"
    )
    text = shown(image.plan(options), {tmp_path: "OUT", HERE: "DEPLOY"})
    assert _NOISE.sub("", text) == (GOLDEN / "plan.txt").read_text(encoding="utf-8")


def test_the_runtime_is_built_first_when_there_is_no_package(image: Any, tmp_path: Path) -> None:  # noqa: ANN401 - as above
    text = shown(image.plan(image.Options(tmp_path, version="1.0.0", formats=())), {tmp_path: "OUT"})
    steps = text.splitlines()
    deb = next(n for n, line in enumerate(steps) if line.startswith("deb ") or "edge-runtime_1.0.0_amd64.deb" in line)
    assert deb < next(n for n, line in enumerate(steps) if " mmdebstrap " in line)
    assert steps[-1] == "result OUT/edge-runtime-1.0.0-amd64.raw"


def test_debian_is_asked_for_what_the_machines_need(image: Any, tmp_path: Path) -> None:  # noqa: ANN401 - as above
    steps = image.plan(image.Options(tmp_path, Path("/r.deb"), "1.0.0")).steps
    command = next(step.command for step in steps if isinstance(step, Run) and step.command[0] == "mmdebstrap")
    assert command[-2:] == ("bookworm", f"{tmp_path}/.image/root")
    (include,) = (word.removeprefix("--include=").split(",") for word in command if word.startswith("--include="))
    assert {"linux-image-amd64", "cloud-init", "openssh-server", "python3-venv", "python3-pil"} <= set(include)
    assert not any("cloud-amd64" in name or "unattended" in name or name.startswith("grub") for name in include)
    hooks = [word.partition("=")[2] for word in command if "-hook=" in word]
    assert hooks == [
        f"sync-in {tmp_path}/.image/early /",
        f"sync-in {tmp_path}/.image/overlay /",
        f"copy-in {tmp_path}/.image/r.deb /root",
        'chroot "$1" apt-get install --yes --no-install-recommends /root/r.deb',
        'chroot "$1" rm /root/r.deb',
        f'{tmp_path}/.image/finish.sh "$1"',
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size_mb": 1000}, "an image of 1000 MB"),
        ({"size_mb": 2 << 20}, "an image of 2097152 MB"),
        ({"formats": ("vhd",)}, "there is no image format 'vhd'"),
    ],
)
def test_what_cannot_be_made_is_said(image: Any, tmp_path: Path, options: dict[str, Any], message: str) -> None:  # noqa: ANN401 - as above
    with pytest.raises(ConfigError, match=message):
        image.plan(image.Options(tmp_path, Path("/r.deb"), "1.0.0", **options))


def test_what_is_missing_is_named_by_its_package(image: Any) -> None:  # noqa: ANN401 - as above
    assert image.missing({"no-such-tool": "b", "nor-this": "a", "sh": "dash"}, root=False) == "apt-get install a b"
    assert image.missing({"sh": "dash"}, root=False) == ""


def needs(image: Any, *programs: str) -> None:  # noqa: ANN401 - as above
    why = image.missing({name: image.PROGRAMS[name] for name in programs}, root=False)
    if why:
        pytest.skip(f"no disk can be made here: {why}")


def run(*command: object) -> str:
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    done = subprocess.run([str(part) for part in command], env={"PATH": path}, capture_output=True, check=True)
    return done.stdout.decode()


def test_a_disk_has_a_boot_record_a_kernel_and_a_root(image: Any, tmp_path: Path) -> None:  # noqa: ANN401 - as above
    needs(image, "mkfs.vfat", "mcopy", "syslinux", "mke2fs", "sfdisk")
    root, raw = tmp_path / "root", tmp_path / "disk.raw"
    for name, text in (("boot/edge/vmlinuz", "kernel"), ("boot/edge/initrd", "ram"), ("etc/hostname", "edge\n")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    carry_out(Plan("disk", tuple(image.disk(root, tmp_path, raw, 1024))))
    assert raw.stat().st_size == 1 << 30
    assert raw.stat().st_blocks * 512 < 100 << 20  # the rest are holes
    table = json.loads(run("sfdisk", "--json", raw))["partitiontable"]
    assert table["label"] == "dos"
    assert [(p["start"], p["size"], p["type"], p.get("bootable", False)) for p in table["partitions"]] == [
        (2048, 196608, "c", True),
        (198656, 1898496, "83", False),
    ]
    with raw.open("rb") as disk:
        assert disk.read(440) == image.BOOT_RECORD.read_bytes()[:440].ljust(440, b"\0")
        disk.seek(510)
        assert disk.read(2) == b"\x55\xaa"
    boot = f"{raw}@@{2048 * 512}"
    assert run("mtype", "-i", boot, "::vmlinuz") == "kernel"
    assert run("mtype", "-i", boot, "::initrd") == "ram"
    assert "root=LABEL=edgeroot" in run("mtype", "-i", boot, "::syslinux.cfg")
    assert "LDLINUX" in run("mdir", "-a", "-i", boot).upper()
    ext4 = tmp_path / "there.ext4"
    run(
        "dd",
        f"if={raw}",
        f"of={ext4}",
        "bs=1M",
        "iflag=skip_bytes",
        f"skip={198656 * 512}",
        "conv=sparse",
        "status=none",
    )
    run("e2fsck", "-fn", ext4)
    assert run("blkid", "-o", "value", "-s", "LABEL", ext4) == "edgeroot\n"
    assert run("debugfs", "-R", "cat /etc/hostname", ext4) == "edge\n"
    assert "vmlinuz" not in run("debugfs", "-R", "ls /boot/edge", ext4)  # it is on the boot partition alone


@pytest.mark.parametrize(
    ("name", "about"), [("qcow2", {}), ("vmdk", {"create-type": "streamOptimized"})], ids=["qcow2", "vmdk"]
)
def test_the_other_formats_hold_the_same_disk(image: Any, name: str, about: dict[str, str], tmp_path: Path) -> None:  # noqa: ANN401 - as above
    """`streamOptimized` is what VMware's OVF and the import of EC2 take."""
    needs(image, "qemu-img")
    raw, out = tmp_path / "disk.raw", tmp_path / f"disk.{name}"
    raw.write_bytes(bytes(3 << 20) + bytes(range(256)) * 4096 + bytes(4 << 20))
    carry_out(Plan("convert", (image.convert(raw, name, out),)))
    assert run("qemu-img", "compare", "-f", "raw", "-F", name, raw, out) == "Images are identical.\n"
    run("qemu-img", "check", "-f", name, out)
    found = json.loads(run("qemu-img", "info", "--output=json", out))
    assert (found["format"], found["virtual-size"]) == (name, 8 << 20)
    assert found["format-specific"]["data"].items() >= about.items()
    assert out.stat().st_size < 1 << 20


def test_nothing_in_the_image_restarts_the_machine() -> None:
    words = re.compile(r"\b(reboot|poweroff|shutdown|halt|kexec|init 6)\b")
    found = [
        f"{path.relative_to(HERE)}: {line}"
        for path in sorted(HERE.rglob("*"))
        if path.is_file() and path.suffix not in (".md", ".py", ".pyc")
        for line in path.read_text(encoding="utf-8").splitlines()
        if words.search(line.partition("#")[0])
    ]
    assert found == []
    cloud = yaml.safe_load((HERE / "overlay/etc/cloud/cloud.cfg.d/90-edge.cfg").read_text(encoding="utf-8"))
    modules = [*cloud["cloud_init_modules"], *cloud["cloud_config_modules"], *cloud["cloud_final_modules"]]
    assert "scripts-user" in modules
    assert not {"power-state-change", "package-update-upgrade-install"} & set(modules)
    assert cloud["datasource_list"] == ["NoCloud", "Ec2", "None"]
    assert cloud["datasource"]["Ec2"]["strict_id"] is False


def test_scripts_are_shell() -> None:
    scripts = [p for p in sorted(HERE.rglob("*")) if p.is_file() and p.read_bytes().startswith(b"#!/bin/sh")]
    assert {p.name for p in scripts} >= {"finish.sh", "data-volume", "boot-files", "install-app"}
    for path in scripts:
        run("sh", "-n", path)


# -- user data ---------------------------------------------------------------------------------------------------------


def test_user_data_gives_the_bundle_to_the_machine(image: Any, tmp_path: Path) -> None:  # noqa: ANN401 - as above
    bundle, script = tmp_path / "a.edge", tmp_path / "user-data.sh"
    bundle.write_bytes(bytes(range(256)) * 10)
    carry_out(image.seed(bundle, script, None, image.Machine("edge-1"), tmp_path))
    text = script.read_text()
    assert text.startswith("#!/bin/sh\n")
    assert "/usr/lib/edge-image/install-app" in text
    taken = tmp_path / "install-app"
    taken.write_text(f"#!/bin/sh\nbase64 -d > {tmp_path}/got\n")
    taken.chmod(0o755)
    script.write_text(text.replace("/usr/lib/edge-image/install-app", str(taken)))
    run("sh", script)
    assert (tmp_path / "got").read_bytes() == bundle.read_bytes()


def test_what_is_no_user_data_is_said(image: Any, tmp_path: Path) -> None:  # noqa: ANN401 - as above
    bundle = tmp_path / "a.edge"
    with pytest.raises(ConfigError, match=r"a\.edge cannot be read: No such file"):
        image.user_data(bundle)
    bundle.write_bytes(bytes(13_000))
    with pytest.raises(LimitError, match=r"has 13000 bytes, and user data takes 16384 as base64"):
        image.user_data(bundle)
    bundle.write_bytes(b"1")
    with pytest.raises(ConfigError, match="'a b' is no name of a machine"):
        image.seed(bundle, None, tmp_path / "seed", image.Machine("a b"), tmp_path)


def test_a_seed_disk_is_found_by_its_label(image: Any, tmp_path: Path) -> None:  # noqa: ANN401 - as above
    needs(image, "mkfs.vfat", "mcopy")
    bundle, disk = tmp_path / "a.edge", tmp_path / "seed.img"
    bundle.write_bytes(b"bundle")
    carry_out(image.seed(bundle, None, disk, image.Machine("edge-1", "ssh-ed25519 AAAA me"), tmp_path / "work"))
    assert run("blkid", "-o", "value", "-s", "LABEL", disk) == "CIDATA\n"
    about = yaml.safe_load(run("mtype", "-i", disk, "::meta-data"))
    assert about == {"instance-id": "edge-1", "local-hostname": "edge-1", "public-keys": ["ssh-ed25519 AAAA me"]}
    assert base64.b64encode(b"bundle").decode() in run("mtype", "-i", disk, "::user-data")
