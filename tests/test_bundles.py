"""Bundles as files: what is written comes back, and whatever is odd, evil or broken leaves nothing behind."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.bundles import Bundle, describe, open_bundle, write
from edge_runtime.errors import ConfigError
from edge_runtime.pure.bundle import MANIFEST, SIGNATURE, BundleError, File, Manifest, to_bytes
from tests.host.bundles import Signer

CODE = b"def handler(event, context):\n    return event\n"
PICTURE = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("signer"))


def sources(folder: Path) -> dict[str, Path]:
    """Write the files of an app."""
    (folder / "app").mkdir(parents=True)
    (folder / "edge.yaml").write_text("thing: station\n")
    (folder / "app" / "app.py").write_bytes(CODE)
    (folder / "app" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "app" / "run.sh").chmod(0o755)
    (folder / "app" / "leaf.png").write_bytes(PICTURE)
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def build(folder: Path, signer: Signer | None = None, release: str = "1.4.0") -> Path:
    """Write a bundle."""
    found = sources(folder / f"source-{release}")
    path = folder / f"station-{release}.edge"
    write(path, Manifest("station", release, describe(found)), found, None if signer is None else signer.sign)
    return path


def opened(path: Path, signer: Signer) -> Bundle:
    work = path.parent / "work"
    work.mkdir(exist_ok=True)
    return open_bundle(path, [signer.key], work)


def evil(path: Path, members: dict[str, bytes], *, change: Callable[[zipfile.ZipInfo], None] | None = None) -> Path:
    """Write a zip whose manifest names every member, as a builder with bad intentions would."""
    files = tuple(File(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in members.items())
    try:
        body = to_bytes(Manifest("station", "1.4.0", files))
    except BundleError:  # it would not even be signed: so what the zip holds is what matters
        body = to_bytes(Manifest("station", "1.4.0", ()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(MANIFEST, body)
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if change is not None:
                change(info)
            out.writestr(info, data)
    return path


def test_what_is_written_comes_back(tmp_path: Path, signer: Signer) -> None:
    bundle = opened(build(tmp_path, signer), signer)
    assert bundle.is_proved
    assert (bundle.manifest.name, bundle.manifest.release) == ("station", "1.4.0")
    done: list[int] = []
    bundle.unpack(tmp_path / "new", done.append)
    assert sum(done) == bundle.manifest.size
    assert (tmp_path / "new" / "app" / "app.py").read_bytes() == CODE
    assert (tmp_path / "new" / "app" / "leaf.png").read_bytes() == PICTURE
    assert stat.S_IMODE((tmp_path / "new" / "app" / "run.sh").stat().st_mode) & 0o111
    assert not stat.S_IMODE((tmp_path / "new" / "edge.yaml").stat().st_mode) & 0o111


def test_what_is_there_already_may_be_left_out(tmp_path: Path, signer: Signer) -> None:
    found = sources(tmp_path / "source")
    manifest = Manifest("station", "2", describe(found))
    write(tmp_path / "thin.edge", manifest, {"edge.yaml": found["edge.yaml"]}, signer.sign)
    assert (tmp_path / "thin.edge").stat().st_size < 2000
    with pytest.raises(BundleError, match=r"'app/app.py' is in its manifest and not in it"):
        opened(tmp_path / "thin.edge", signer)
    have = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in found.values()}
    bundle = open_bundle(tmp_path / "thin.edge", [signer.key], tmp_path, have)
    assert bundle.is_proved
    bundle.unpack(tmp_path / "new")
    assert (tmp_path / "new" / "app" / "leaf.png").read_bytes() == PICTURE
    found["app/app.py"].write_bytes(b"something else")
    with pytest.raises(BundleError, match=r"'app/app.py' is not the one that the manifest names"):
        bundle.unpack(tmp_path / "newer")
    assert not (tmp_path / "newer").exists()


def test_the_same_content_is_the_same_file(tmp_path: Path, signer: Signer) -> None:
    one, other = build(tmp_path / "a", signer), build(tmp_path / "b", signer)
    os.utime(other, (0, 0))
    assert one.read_bytes() == other.read_bytes()


def test_only_a_known_key_proves(tmp_path: Path, signer: Signer) -> None:
    path = build(tmp_path, signer)
    stranger = Signer(tmp_path / "stranger")
    assert not opened(path, stranger).is_proved
    assert not open_bundle(path, [], tmp_path).is_proved
    assert open_bundle(path, [stranger.key, signer.key], tmp_path).is_proved
    assert not opened(build(tmp_path / "unsigned"), signer).is_proved


def test_every_byte_counts(tmp_path: Path, signer: Signer) -> None:
    """Whatever byte of a bundle is flipped: it is refused, not proved, or unpacks to what was signed."""
    path = build(tmp_path, signer)
    whole = path.read_bytes()
    for place in range(0, len(whole), 31):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        try:
            bundle = open_bundle(path, [signer.key] if place % 217 == 0 else [], tmp_path)
            target = tmp_path / f"new-{place}"
            bundle.unpack(target)
        except BundleError:
            assert not (tmp_path / f"new-{place}").exists()
            continue
        if bundle.is_proved:
            assert (target / "app" / "app.py").read_bytes() == CODE


def test_two_builds_of_the_same_bundle_at_once_are_both_whole(tmp_path: Path, signer: Signer) -> None:
    found = sources(tmp_path / "source")
    manifest = Manifest("station", "1", describe(found))
    path, plain = tmp_path / "x.edge", {name: str(one) for name, one in found.items()}

    def other_build(body: bytes) -> bytes:
        code = (
            "from pathlib import Path\nfrom edge_runtime.bundles import describe, write\n"
            "from edge_runtime.pure.bundle import Manifest\n"
            f"found = {{name: Path(path) for name, path in {plain!r}.items()}}\n"
            f"write(Path({str(path)!r}), Manifest('station', '1', describe(found)), found)"
        )
        subprocess.run([sys.executable, "-c", code], cwd=Path.cwd(), check=True)
        assert opened(path, signer).manifest == manifest
        return signer.sign(body)

    write(path, manifest, found, other_build)
    assert opened(path, signer).is_proved
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_changes_while_it_is_packed_is_told(tmp_path: Path) -> None:
    found = sources(tmp_path / "source")
    manifest = Manifest("station", "1", describe(found))
    found["edge.yaml"].write_text("thing: other\n")
    with pytest.raises(BundleError, match=r"'edge.yaml' has changed since"):
        write(tmp_path / "x.edge", manifest, found)
    assert not list(tmp_path.glob("*x.edge*"))


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "C:\\evil", "a\u202eb", ".", "a/"]
)
def test_a_path_that_leads_out_is_refused(name: str, tmp_path: Path, signer: Signer) -> None:
    path = evil(tmp_path / "evil.edge", {"edge.yaml": b"", name: b"" if name.endswith("/") else b"x"})
    with pytest.raises(BundleError):
        opened(path, signer)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_what_is_no_plain_file_is_refused(kind: int, tmp_path: Path, signer: Signer) -> None:
    def change(info: zipfile.ZipInfo) -> None:
        info.create_system = 3
        info.external_attr = (kind | 0o777) << 16

    path = evil(tmp_path / "evil.edge", {"edge.yaml": b"/etc/passwd"}, change=change)
    with pytest.raises(BundleError, match="is no plain file"):
        opened(path, signer)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path, signer: Signer) -> None:
    path = evil(tmp_path / "evil.edge", {"edge.yaml": b"good"})
    with zipfile.ZipFile(path, "a") as out:
        out.writestr("edge.yaml", b"evil")
    with pytest.raises(BundleError, match="is in it twice"):
        opened(path, signer)


def test_what_the_manifest_does_not_name_is_refused(tmp_path: Path, signer: Signer) -> None:
    path = build(tmp_path, signer)
    with zipfile.ZipFile(path, "a") as out:
        out.writestr("app/more.py", b"evil")
    with pytest.raises(BundleError, match=r"'app/more.py' is not in its manifest"):
        opened(path, signer)


def test_a_bomb_writes_no_more_than_it_says(tmp_path: Path, signer: Signer) -> None:
    """The sizes in the zip are those of the manifest, and what comes out is a thousand times as much."""
    path = evil(tmp_path / "bomb.edge", {"edge.yaml": b"\0" * (4 << 20)})
    data = path.read_bytes()
    small = (4 << 20).to_bytes(4, "little")
    path.write_bytes(data.replace(small, (4000).to_bytes(4, "little")))
    manifest = Manifest("station", "1", (File("edge.yaml", 4000, hashlib.sha256(bytes(4000)).hexdigest()),))
    bundle = Bundle(path, manifest, is_proved=True, body=to_bytes(manifest))
    with pytest.raises(BundleError):
        bundle.unpack(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(BundleError):
        opened(path, signer)


def test_a_zip_of_too_many_bytes_is_refused_before_any_is_unpacked(tmp_path: Path, signer: Signer) -> None:
    path = evil(tmp_path / "bomb.edge", {"edge.yaml": b"\0" * 5000})
    data = path.read_bytes()
    path.write_bytes(data.replace((5000).to_bytes(4, "little"), (0xF000_0000).to_bytes(4, "little")))
    with pytest.raises(BundleError, match="bytes unpacked"):
        opened(path, signer)


def test_what_is_there_already_is_not_touched(tmp_path: Path, signer: Signer) -> None:
    bundle = opened(build(tmp_path, signer), signer)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "kept").write_text("kept")
    with pytest.raises(FileExistsError):
        bundle.unpack(tmp_path / "new")
    assert (tmp_path / "new" / "kept").read_text() == "kept"


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06" + bytes(18), b"not a zip", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_bundle(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.edge").write_bytes(data)
    with pytest.raises(ConfigError):
        open_bundle(tmp_path / "x.edge", [], tmp_path)


def test_a_signature_that_is_none(tmp_path: Path, signer: Signer) -> None:
    path = build(tmp_path)
    for proof in (b"%%%", base64.b64encode(bytes(63)), b"x" * 5000):
        data = path.read_bytes()
        with zipfile.ZipFile(path, "a") as out:
            out.writestr(SIGNATURE, proof)
        with contextlib.suppress(BundleError):
            assert not opened(path, signer).is_proved
        path.write_bytes(data)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_refused_in_words(tmp_path: Path, data: st.DataObject) -> None:
    """No exception but our own, and nothing outside of the folder."""
    base = tmp_path / "base.edge"
    if not base.exists():
        base.write_bytes(build(tmp_path / "made").read_bytes())
    whole = bytearray(base.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.edge"
    path.write_bytes(whole[: data.draw(st.integers(1, len(whole)))] if data.draw(st.booleans()) else whole)
    before = sorted(p.name for p in tmp_path.iterdir())
    try:
        bundle = open_bundle(path, [], tmp_path)
        bundle.unpack(tmp_path / "out")
    except BundleError:
        assert sorted(p.name for p in tmp_path.iterdir()) == before
    else:
        shutil.rmtree(tmp_path / "out")
