"""A release that is put in place without a trial, by one who keeps proofs and versions of his own."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from edge_runtime.bundles import describe, write
from edge_runtime.errors import HostError
from edge_runtime.host.installer import place_for_good, stage_offline
from edge_runtime.pure.bundle import BundleError, Manifest
from edge_runtime.releases import Releases

KEY = base64.b64encode(bytes(32)).decode()


class Place:
    """A folder of releases, and bundles for it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "state"
        self.state.mkdir()
        self.releases = Releases(folder / "app")

    def bundle(self, release: str, text: str = "", architecture: str = "", name: str = "edge.yaml") -> Path:
        """Write an unsigned bundle of an app."""
        source = self.folder / release
        source.mkdir(exist_ok=True)
        (source / name).write_text(f"thing: station\n{text}")
        files = {name: source / name}
        path = self.folder / f"{release}.edge"
        write(path, Manifest("station", release, describe(files), architecture), files)
        return path

    def put(self, bundle: Path) -> str:
        """Put it in place for good, and return its number."""
        name = place_for_good(self.releases, self.state, bundle)
        assert self.releases.current == name
        return name.partition("-")[0]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_it_is_in_place_at_once_and_not_on_trial(place: Place) -> None:
    assert place.put(place.bundle("2")) == "2"
    record = place.releases.record()
    assert (record.trial, record.highest, record.order) == (None, "2", (place.releases.current,))
    assert place.releases.begin() == ""
    assert place.releases.app_file.read_text() == "thing: station\n"


def test_an_older_one_is_taken_too_and_three_are_kept(place: Place) -> None:
    for release in ("2", "3", "1", "4", "2"):
        assert place.put(place.bundle(release)) == release
    assert [name.partition("-")[0] for name in place.releases.record().order] == ["2", "4", "1"]
    assert len(list((place.releases.root / "releases").iterdir())) == 3
    assert place.releases.record().highest == "4"


def test_one_that_is_there_already_changes_nothing(place: Place) -> None:
    bundle = place.bundle("1")
    place.put(bundle)
    record = place.releases.root / "record.json"
    before = record.stat().st_mtime_ns, place.releases.app_file.stat().st_ino
    place.put(bundle)
    assert (record.stat().st_mtime_ns, place.releases.app_file.stat().st_ino) == before


def test_it_ends_the_trial_of_the_one_that_is_in_place(place: Place) -> None:
    place.put(place.bundle("1"))
    bundle = place.bundle("2")
    stage_offline(place.releases, place.state, bundle, 60)
    assert place.releases.record().trial is not None
    assert place.put(bundle) == "2"
    assert place.releases.record().trial is None


def test_no_signature_is_asked_for_though_keys_are_known(place: Place) -> None:
    keys = f"link: {{driver: paho, endpoint: x, jobs: {{keys: ['{KEY}']}}}}\n"
    place.put(place.bundle("1", keys))
    with pytest.raises(BundleError, match="is signed by none of the keys"):
        stage_offline(place.releases, place.state, place.bundle("2"), 0)
    assert place.put(place.bundle("2")) == "2"


def test_what_is_no_release_for_here_is_refused_and_the_one_before_stays(place: Place) -> None:
    place.put(place.bundle("1"))
    before = place.releases.current
    with pytest.raises(BundleError, match=r"2\.edge has no edge\.yaml: it is no release of an app"):
        place.put(place.bundle("2", name="other.txt"))
    with pytest.raises(BundleError, match="the bundle is for no_such_machine, and this machine is "):
        place.put(place.bundle("3", architecture="no_such_machine"))
    (place.folder / "4.edge").write_text("x")
    with pytest.raises(BundleError, match="is no bundle, or damaged"):
        place.put(place.folder / "4.edge")
    assert place.releases.current == before


def test_a_process_that_has_the_releases_is_not_gone_behind(place: Place) -> None:
    bundle = place.bundle("1")
    with place.releases.held(), pytest.raises(HostError, match="another process has the releases"):
        place.put(bundle)
    assert place.releases.current == ""
