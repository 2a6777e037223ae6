"""Packages as bytes: dpkg takes them, and the same content is the same package."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from edge_runtime.building.carry_out import carry_out
from edge_runtime.building.deb import write_deb
from edge_runtime.building.plan import Deb, Plan, shown
from tests.debian import call

CONTROL = "Package: thing\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: a thing\n"
LONG = "usr/share/" + "x" * 120 + "/long.txt"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with `root` and `control`."""
    for name, text, mode in (
        ("root/usr/bin/thing", "#!/bin/sh\necho thing\n", 0o700),
        (f"root/{LONG}", "long" * 500, 0o600),
        ("root/etc/thing/thing.conf", "a=1\n", 0o644),
        ("control/control", CONTROL, 0o644),
        ("control/postinst", "#!/bin/sh\n", 0o644),
        ("control/conffiles", "/etc/thing/thing.conf\n", 0o644),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    return tmp_path


def members(path: Path) -> dict[str, bytes]:
    """Return what is in an `ar` archive."""
    data, found, at = path.read_bytes(), {}, 8
    assert data[:8] == b"!<arch>\n"
    while at < len(data):
        head = data[at : at + 60]
        assert head[58:] == b"`\n"
        size = int(head[48:58])
        found[head[:16].decode().strip()] = data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    return found


def test_what_is_in_it(tree: Path) -> None:
    write_deb(tree / "root", tree / "control", tree / "out" / "thing.deb")
    inside = members(tree / "out" / "thing.deb")
    assert list(inside) == ["debian-binary", "control.tar.gz", "data.tar"]
    assert inside["debian-binary"] == b"2.0\n"
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(inside["control.tar.gz"]))) as tar:
        assert [(one.name, one.mode) for one in tar] == [
            ("./conffiles", 0o644),
            ("./control", 0o644),
            ("./md5sums", 0o644),
            ("./postinst", 0o755),
        ]
        control = tar.extractfile("./control")
        assert control is not None
        assert control.read().decode() == CONTROL + "Installed-Size: 10\n"
    with tarfile.open(fileobj=io.BytesIO(inside["data.tar"])) as tar:
        files = {one.name: (one.mode, one.uid, one.mtime) for one in tar if one.isfile()}
        assert {one.mode for one in tar if one.isdir()} == {0o755}
    assert files == {
        "./etc/thing/thing.conf": (0o644, 0, 315_532_800),
        "./usr/bin/thing": (0o755, 0, 315_532_800),
        f"./{LONG}": (0o644, 0, 315_532_800),
    }
    assert sorted(path.name for path in (tree / "out").iterdir()) == ["thing.deb"]


def test_the_same_content_is_the_same_package(tree: Path) -> None:
    write_deb(tree / "root", tree / "control", tree / "a.deb")
    for path in (tree / "root").rglob("*"):
        os.utime(path, (1, 1))
    write_deb(tree / "root", tree / "control", tree / "b.deb")
    assert (tree / "a.deb").read_bytes() == (tree / "b.deb").read_bytes()


def test_dpkg_takes_it(tree: Path) -> None:
    if not shutil.which("dpkg-deb"):
        pytest.skip("dpkg is not installed")
    plan = Plan("test", (Deb(tree / "root", tree / "control", tree / "thing.deb"),))
    assert shown(plan, {tree: "T"}) == "target test\npackage T/root with T/control as T/thing.deb\n"
    carry_out(plan)
    call("dpkg-deb", "-R", tree / "thing.deb", tree / "unpacked")
    assert (tree / "unpacked" / LONG).read_text() == "long" * 500
    call("env", "-C", tree / "unpacked", "md5sum", "--quiet", "--check", "DEBIAN/md5sums")
    assert call("dpkg-deb", "-f", tree / "thing.deb", "Installed-Size").stdout == "10\n"
