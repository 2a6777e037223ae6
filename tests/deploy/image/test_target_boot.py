"""The image in QEMU: it takes an app from user data, looks at images offline, and keeps what it has over a power cut.

It takes minutes, so it is asked for: EDGE_IMAGE=1 builds the image first, EDGE_IMAGE=FILE takes one that is there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime import plugin
from edge_runtime.building.carry_out import carry_out
from edge_runtime.building.plan import Plan
from tests.deploy.image import metadata
from tests.deploy.image.machine import Disks, Machine, missing

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]

ROOT = Path(__file__).parents[3]
ASKED = os.environ.get("EDGE_IMAGE", "")
COLOURS = {"red": "#d01010", "green": "#208030", "blue": "#60a0f0"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if ASKED in ("", "0"):
        pytest.skip("booting an image takes minutes: EDGE_IMAGE=1, as in make test-image")
    if lacking := missing():
        pytest.skip(f"not installed: {', '.join(lacking)}")
    if ASKED != "1":
        return Path(ASKED)
    target = plugin.load("deploy", "image")
    if why := target.missing():
        pytest.skip(f"no image can be made here: {why}")
    plan = target.plan(target.Options(tmp_path_factory.mktemp("image"), formats=()))
    carry_out(plan)
    return Path(plan.results[0])


def converted(image: Path, name: str, folder: Path) -> Path:
    """Return the image in another format."""
    out = folder / f"image.{name}"
    carry_out(Plan("convert", (plugin.load("deploy", "image").convert(image, name, out),)))
    return out


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def user_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the user data of the app that looks at images; beside it is its bundle."""
    folder = tmp_path_factory.mktemp("app")
    bundle, script = folder / "app.edge", folder / "user-data.sh"
    build("bundle", ROOT / "components" / "image_tags", "--release", "1.0.0", "-o", bundle)
    build("seed", bundle, "--script", script)
    return script


def build(*arguments: object) -> None:
    """Run `edge build`."""
    command = [sys.executable, "-m", "edge_runtime", "build", *map(str, arguments)]
    subprocess.run(command, check=True, cwd=ROOT)


@pytest.fixture(scope="module")
def disks(image: Path, key: Path, user_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disks]:
    folder = tmp_path_factory.mktemp("machine")
    seed = folder / "seed.img"
    build("seed", user_data.with_name("app.edge"), "--ssh-key", key.with_suffix(".pub"), "-o", seed)
    yield Disks(folder, image, seed)
    for path in folder.iterdir():
        path.unlink()


def picture(color: str) -> bytes:
    """Return an image of one colour, as PPM: so this test needs no library for images."""
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return b"P6 400 300 255\n" + bytes((red, green, blue)) * (400 * 300)


def put(machine: Machine, name: str, color: str) -> None:
    """Put an image where the app looks, as a whole, and have it on disk: a power cut takes what is not."""
    machine.do(f"cat > /srv/inbox/.{name} && mv /srv/inbox/.{name} /srv/inbox/{name} && sync", stdin=picture(color))


def ledger(machine: Machine) -> dict[str, dict[str, Any]]:
    return {row["target"]: row for row in json.loads(machine.do("sudo edge ledger --json"))}


def cloud_of(machine: Machine, images: int) -> dict[str, int]:
    """Return the tag cloud when so many images are in it. The shell waits: nobody tells it either."""
    script = f"""for n in $(seq 120); do
        sudo edge shadow get > /tmp/shadow 2>/dev/null
        grep -q '"seen": {images},' /tmp/shadow && break; sleep 1; done
        cat /tmp/shadow"""
    reported = json.loads(machine.do(script))["state"]["reported"]["images"]
    assert reported["seen"] == images
    found: dict[str, int] = reported["cloud"]
    return found


def test_an_app_from_user_data_looks_at_images_and_all_of_it_outlives_a_power_cut(disks: Disks, key: Path) -> None:
    with Machine(disks, key) as machine:
        assert "is well" in machine.until("edge-app:")
        machine.until("finished at")
        assert any("becomes the volume for data" in line for line in machine.said)
        status = json.loads(machine.do("sudo edge status --json"))
        assert status["thing"] == "image-tags"
        assert machine.do("findmnt -no SOURCE /var/lib/edge-runtime").startswith("/dev/vd")  # virtio
        assert machine.do("findmnt -no SOURCE /").startswith("/dev/sda")  # IDE
        assert machine.do("systemctl --failed --no-legend").strip() == ""
        put(machine, "a.ppm", COLOURS["red"])
        put(machine, "b.ppm", COLOURS["green"])
        first = cloud_of(machine, 2)
        assert (first["red"], first["green"], first["landscape"]) == (1, 1, 2)
        before = ledger(machine)
        put(machine, "c.ppm", COLOURS["blue"])  # its event may be anywhere on its way
        machine.cut()
    with Machine(disks, key) as machine:
        machine.until("finished at")
        assert not any("edge-app:" in line for line in machine.said)  # user data is carried out once
        assert not any("becomes the volume for data" in line for line in machine.said)
        cloud = cloud_of(machine, 3)
        assert (cloud["red"], cloud["green"], cloud["blue"], cloud["landscape"]) == (1, 1, 1, 3)
        after = ledger(machine)
        assert all(row["balanced"] and row["missing"] == 0 for row in after.values())
        assert after["function/tags"]["produced"] >= before["function/tags"]["produced"]
        assert machine.do("sudo edge releases --json").count("1.0.0-")
        assert not machine.ended


def test_without_a_volume_for_data_it_runs_and_says_so(disks: Disks, image: Path, key: Path, tmp_path: Path) -> None:
    """From the QCOW2, which starts as the RAW disk does."""
    with Machine(Disks(tmp_path, converted(image, "qcow2", tmp_path), disks.seed, data_mb=0), key) as machine:
        assert "the state stays on the root disk" in machine.until("edge-data:")
        assert "is well" in machine.until("edge-app:")
        machine.until("finished at")
        assert json.loads(machine.do("sudo edge status --json"))["thing"] == "image-tags"
        assert machine.do("findmnt -no SOURCE --target /var/lib/edge-runtime").startswith("/dev/sda")


def test_a_machine_is_told_by_a_metadata_service_as_on_a_snowball_edge(
    image: Path, key: Path, user_data: Path, tmp_path: Path
) -> None:
    told = metadata.put(tmp_path, user_data.read_bytes(), key.with_suffix(".pub").read_text())
    with Machine(Disks(tmp_path, image, None), key, told=told) as machine:
        assert "is well" in machine.until("edge-app:")
        machine.until("finished at")
        assert machine.do("cloud-init query instance_id") == "s.i-0123456789abcdef0\n"  # its key is from there too
        assert machine.do("hostname") == "field-7\n"
        assert json.loads(machine.do("sudo edge status --json"))["thing"] == "image-tags"
        assert machine.do("systemctl --failed --no-legend").strip() == ""
        put(machine, "a.ppm", COLOURS["red"])
        assert cloud_of(machine, 1)["red"] == 1
        assert not machine.ended


def test_a_machine_is_told_by_a_metadata_service_that_wants_a_token(
    image: Path, key: Path, user_data: Path, tmp_path: Path
) -> None:
    """With ids as in EC2, cloud-init asks for a token first. From the VMDK, as the import of EC2 takes it."""
    told = metadata.put(tmp_path, user_data.read_bytes(), key.with_suffix(".pub").read_text(), "v2")
    with Machine(Disks(tmp_path, converted(image, "vmdk", tmp_path), None), key, told=told, ec2=True) as machine:
        assert "is well" in machine.until("edge-app:")
        machine.until("finished at")
        assert '"PUT /latest/api/token HTTP/1.1" 200' in (told / "asked").read_text()
        assert machine.do("cloud-init query instance_id") == "s.i-0123456789abcdef0\n"
        assert json.loads(machine.do("sudo edge status --json"))["thing"] == "image-tags"
