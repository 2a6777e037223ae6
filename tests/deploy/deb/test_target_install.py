"""install.sh and repository.sh: a stranger's two commands, on a machine of his."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.debian import Machine, call, debian
from tests.deploy.deb.packages import NEEDED, Packages

DEB = Path(__file__).parents[3] / "deploy" / "deb"
INSTALL, REPOSITORY = DEB / "install.sh", DEB / "repository.sh"


def refused(folder: Path, *words: str, os_release: str = "ID=debian\n", architecture: str = "amd64") -> str:
    """Run install.sh as on a system of some kind, and return why it does nothing."""
    programs = folder / "programs"
    programs.mkdir()
    for name, text in {"dpkg": f"echo {architecture}", "sudo": "echo SUDO >&2; exit 99", "id": "echo 1000"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    (folder / "os-release").write_text(os_release)
    script = INSTALL.read_text().replace("/etc/os-release", str(folder / "os-release"))
    path = f"{programs}:{os.environ['PATH']}"
    done = call("sh", "-s", *words, stdin=script, environment={"PATH": path}, check=False)
    assert done.returncode == 1
    assert "SUDO" not in done.stderr
    return done.stderr


def test_it_can_be_read_at_a_glance() -> None:
    lines = INSTALL.read_text().splitlines()
    assert len(lines) <= 60
    assert lines[-1] == 'main "$@"'


def test_a_download_that_was_cut_runs_nothing() -> None:
    text = INSTALL.read_text()
    for end in range(0, len(text) - len('main "$@"\n'), 29):
        assert "==>" not in call("sh", "-s", "file:///nowhere", stdin=text[:end], check=False).stdout, end


def test_what_it_does_not_know_is_refused_politely(tmp_path: Path) -> None:
    def folder(name: str) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name

    place = "https://127.0.0.1:1/edge"
    assert "usage: sh install.sh REPOSITORY" in refused(folder("a"))
    assert "packages for Debian and its kin, and this is fedora" in refused(
        folder("b"), place, os_release="ID=fedora\n"
    )
    assert "there are no packages for riscv64" in refused(folder("c"), place, architecture="riscv64")
    assert "ftp://x/edge-runtime.asc is neither https:// nor file:///" in refused(folder("d"), "ftp://x")
    assert "cannot be had" in refused(folder("e"), f"file://{tmp_path}/none")
    (tmp_path / "edge-runtime.asc").write_text("key")
    assert "and not 00: nothing was changed" in refused(folder("f"), f"file://{tmp_path}", "00")
    kin = 'ID=raspbian\nID_LIKE="debian"\n'
    assert "cannot be had" in refused(folder("g"), f"file://{tmp_path}/none", os_release=kin)


def test_the_scripts_are_without_fault() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    scripts = [INSTALL, REPOSITORY, *(DEB / "files" / name for name in ("edge", "postinst", "prerm", "postrm"))]
    assert call("shellcheck", *scripts, check=False).stdout == ""


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_it_installs_from_a_signed_repository_and_from_no_other(tmp_path: Path) -> None:
    root = debian(*NEEDED)
    for program in ("gpg", "dpkg-scanpackages"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    shared, home = tmp_path / "shared", tmp_path / "gpg"
    shared.mkdir()
    home.mkdir(mode=0o700)
    Packages(shared).good()
    keys = {"GNUPGHOME": str(home)}
    try:
        for name in ("edge", "eve"):
            call("gpg", "--batch", "--passphrase", "", "--quick-generate-key", f"{name}@example.org", "ed25519", "sign",
                environment=keys)  # fmt: skip
        digest = call("sh", REPOSITORY, shared, "edge@example.org", environment=keys).stdout.strip().rpartition(" ")[2]
        key, signed = ((shared / name).read_bytes() for name in ("edge-runtime.asc", "InRelease"))
        call("sh", REPOSITORY, shared, "eve@example.org", environment=keys)
    finally:
        call("gpgconf", "--kill", "all", environment=keys)
    (shared / "edge-runtime.asc").write_bytes(key)
    shutil.copy(INSTALL, shared)
    with Machine(tmp_path / "machine", root, shared=shared) as machine:
        install = ("sh", "/mnt/install.sh", "file:///mnt", digest)
        assert machine.run(*install, check=False).returncode != 0  # signed by somebody else
        assert "edge-runtime" not in machine.says("dpkg-query", "--show", "--showformat=${Package} ")
        (shared / "InRelease").write_bytes(signed)
        steps = [line for line in machine.says(*install).splitlines() if line.startswith("==>")]
        assert [step[:8] for step in steps] == ["==> 1/3 ", "==> 2/3 ", "==> 3/3 ", "==> it r"]
        assert machine.says("systemctl", "is-active", "edge-runtime") == "active"
        machine.run(*install)  # a second time
