"""Manifests: the same bytes for the same content, and nothing odd gets through."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.bundle import MOST_FILES, BundleError, File, Manifest, check_paths, read, to_bytes

ZERO = "0" * 64
SMALL = Manifest("station", "1.4.0", (File("app/a.py", 3, ZERO), File("edge.yaml", 7, ZERO), File("x", 0, ZERO, True)))


def body(**change: Any) -> bytes:  # noqa: ANN401 - JSON
    return json.dumps({**json.loads(to_bytes(SMALL)), **change}).encode()


def test_what_is_written_is_read() -> None:
    assert read(to_bytes(SMALL)) == SMALL
    assert read(to_bytes(replace(SMALL, architecture="aarch64"))).architecture == "aarch64"
    assert SMALL.size == 10


def test_the_order_of_files_changes_nothing() -> None:
    assert to_bytes(replace(SMALL, files=SMALL.files[::-1])) == to_bytes(SMALL)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no JSON"),
        (b"[]", "is no JSON object"),
        (b'{"format":1,"format":1}', "a key stands twice"),
        (b"[" * 100_000, "is no JSON"),
        (body(format=2), "has format 2; this runtime reads 1"),
        (body(format=True), "has format True"),
        (body(also=1), "an unknown key 'also'"),
        (body(files=[]), "has no 'files'"),
        (body(name=1), "no text 'name'"),
        (body(name="../x"), "is no name of a bundle"),
        (body(release="1.4-beta"), "write one to four numbers"),
        (body(architecture="x86-64"), "is no architecture"),
        (body(files={"a": 1}), "does not say size and sha256 of 'a'"),
        (body(files={"a": {"size": -1, "sha256": ZERO}}), "says no size of 'a'"),
        (body(files={"a": {"size": True, "sha256": ZERO}}), "says no size of 'a'"),
        (body(files={"a": {"size": 1, "sha256": "ABC"}}), "says no sha256 of 'a'"),
        (body(files={"a": {"size": 1, "sha256": ZERO, "executable": 1}}), "neither true nor false"),
        (body(files={"a": {"size": 1, "sha256": ZERO, "mode": 7}}), "and nothing else"),
        (body(files={str(n): {"size": 1, "sha256": ZERO} for n in range(MOST_FILES + 1)}), "20001 files; 20000 may be"),
        (body(files={str(n): {"size": 2 << 30, "sha256": ZERO} for n in range(2)}), "bytes unpacked"),
        (b" " * (9 << 20), "has 9437184 bytes"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_no_manifest(data: bytes, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        read(data)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "..",
        "a/../../b",
        "./a",
        "a//b",
        "a/",
        "C:/a",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\u202eb",
        "a\u200bb",
        "a\ud800",
        "e\u0301.py",
        "a. ",
        "a.",
        " a",
        "x" * 256,
        "/".join(["abcdefgh"] * 120),
        "manifest.json",
        "manifest.sig",
    ],
)
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(BundleError, match="the bundle has a file"):
        check_paths([path])


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["a", "a"], "which are one file"),
        (["a/Dup.py", "a/dup.py"], "which are one file"),
        (["straße", "STRASSE"], "which are one file"),
        (["a/x", "A/y"], "which are one on some systems"),
        (["a", "a/b"], "as a file and 'a' as a folder"),
        (["a/b/c", "A"], "as a file and 'a' as a folder"),
    ],
)
def test_what_cannot_lie_beside_each_other(paths: list[str], words: str) -> None:
    with pytest.raises(BundleError, match=words):
        check_paths(paths)


@given(st.lists(st.text(max_size=20), max_size=5))
def test_any_paths_are_taken_or_refused(paths: list[str]) -> None:
    try:
        check_paths(paths)
    except BundleError:
        return
    for path in paths:
        assert path
        assert not path.startswith("/")
        assert not set(path.split("/")) & {"", ".", ".."}
    assert len({path.casefold() for path in paths}) == len(paths)


KEYS = st.sampled_from(["format", "name", "release", "files", "a"])
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
JSON = st.recursive(
    LEAVES, lambda some: st.lists(some, max_size=3) | st.dictionaries(KEYS, some, max_size=5), max_leaves=8
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_manifest_or_refused(data: bytes) -> None:
    try:
        manifest = read(data)
    except BundleError:
        return
    assert read(to_bytes(manifest)) == replace(manifest, files=tuple(sorted(manifest.files, key=lambda f: f.path)))
