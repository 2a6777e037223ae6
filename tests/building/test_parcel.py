"""A release on its way: its number, and what of it is sent."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edge_runtime.building.parcel import check_release, next_release, parcel_of
from edge_runtime.errors import ConfigError, StoreError


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "app.py").write_text("def handler(event, context): ...\n")
    (tmp_path / "edge.yaml").write_text("thing: station\nfunctions: {f: {code: ./f, handler: app.handler}}\n")
    return tmp_path / "edge.yaml"


def test_only_what_a_device_has_not_is_in_the_bundle(app: Path, tmp_path: Path) -> None:
    parcel = parcel_of(app)
    digests = {file.path: file.sha256 for file in parcel.files}
    assert list(digests) == ["edge.yaml", "f/app.py"]
    assert parcel.write(tmp_path / "whole.edge", "1", None) == 2
    assert parcel.write(tmp_path / "thin.edge", "1", None, {digests["edge.yaml"]}) == 1
    assert zipfile.ZipFile(tmp_path / "thin.edge").namelist() == ["manifest.json", "f/app.py"]


def test_a_number_changes_the_manifest_and_not_the_content(app: Path) -> None:
    parcel = parcel_of(app)
    assert parcel.manifest("1").content == parcel.manifest("2").content
    (app.parent / "f" / "app.py").write_text("def handler(event, context): return 1\n")
    assert parcel_of(app).manifest("1").content != parcel.manifest("1").content


def test_where_it_cannot_be_written(app: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written: No such file or directory"):
        parcel_of(app).write(tmp_path / "no" / "x.edge", "1", None)


@pytest.mark.parametrize(
    ("facts", "number"),
    [
        ({}, "1.0.0"),
        ({"highest": "", "current": "", "failed": ""}, "1.0.0"),
        ({"highest": "7", "current": "7-abc"}, "8"),
        ({"highest": "1.9", "current": "1.8-abc"}, "1.10"),
        ({"highest": "1.4.0", "current": "1.4.0-abc", "failed": "1.4.1-def"}, "1.4.2"),
        ({"highest": "1.9.9", "current": "1.10-abc"}, "1.11"),
    ],
)
def test_the_next_number(facts: dict[str, str], number: str) -> None:
    assert next_release(facts) == number


def test_what_is_no_number() -> None:
    assert check_release("1.4") == "1.4"
    with pytest.raises(ConfigError, match="write one to four numbers"):
        check_release("v1")
