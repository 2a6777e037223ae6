"""`edge build image` and `edge build seed`, as far as they go without root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_runtime import plugin
from edge_runtime.cli import cli


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "app.edge"
    path.write_bytes(b"bundle")
    return path


def edge(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["build", *map(str, arguments)])
    return done.exit_code, done.output


def test_an_image_is_shown_before_it_is_made(tmp_path: Path) -> None:
    status, text = edge("image", "-o", tmp_path, "--deb", tmp_path / "r.deb", "--format", "vmdk", "--dry-run")
    assert status == 0
    assert text.splitlines()[0] == "target image"
    assert text.splitlines()[-1].endswith("-amd64.vmdk")
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_no_machine_takes(tmp_path: Path) -> None:
    status, text = edge("image", "-o", tmp_path, "--deb", tmp_path / "r.deb", "--size", "100")
    assert status == 1
    assert text.startswith("error: an image of 100 MB\nhint: 1024 to 1048576 MB")


def test_user_data_is_written(bundle: Path, tmp_path: Path) -> None:
    script = tmp_path / "user-data.sh"
    status, text = edge("seed", bundle, "--script", script, "--json")
    assert (status, json.loads(text)) == (0, [{"file": str(script), "bytes": script.stat().st_size}])
    assert script.read_text().startswith("#!/bin/sh\n")


def test_a_seed_disk_is_written(bundle: Path, tmp_path: Path) -> None:
    target = plugin.load("deploy", "image")
    if why := target.missing(target.SEED_PROGRAMS, root=False):
        pytest.skip(why)
    key = tmp_path / "id.pub"
    key.write_text("ssh-ed25519 AAAA me\n")
    status, text = edge("seed", bundle, "--ssh-key", key, "-o", tmp_path / "seed.img", "--name", "edge-7")
    assert (status, text) == (0, f"{tmp_path / 'seed.img'}: 1.0 MB\n")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "is no public SSH key"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_key_that_is_not_public(bundle: Path, tmp_path: Path, key: str | None, message: str) -> None:
    if key is not None:
        (tmp_path / "id").write_text(key)
    status, text = edge("seed", bundle, "--ssh-key", tmp_path / "id", "-o", tmp_path / "seed.img")
    assert status == 1
    assert message in text


def test_it_must_be_said_what_to_write(bundle: Path) -> None:
    status, text = edge("seed", bundle)
    assert status == 2
    assert "say --script FILE, --out FILE, or both" in text
