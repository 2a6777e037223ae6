"""Releases on a device: at every moment one of them runs, whatever is cut off."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge_runtime.bundles import Bundle, describe, open_bundle, write
from edge_runtime.errors import ConfigError, HostError, NotFoundError, StoreError
from edge_runtime.pure.bundle import BundleError, Manifest
from edge_runtime.releases import KEPT, MOST_STARTS, Record, Releases, Trial, name_of


def bundle(folder: Path, release: str, text: str = "") -> Bundle:
    source = folder / f"source-{release}"
    source.mkdir(exist_ok=True)
    (source / "edge.yaml").write_text(f"thing: station  # {release}{text}\n")
    found = {"edge.yaml": source / "edge.yaml"}
    path = folder / f"{release}{text}.edge"
    write(path, Manifest("station", release, describe(found)), found)
    return open_bundle(path, [], folder)


def install(releases: Releases, one: Bundle) -> str:
    """Put a release in place, on trial."""
    name = name_of(one)
    releases.check(one)
    releases.stage(one, name)
    releases.put_in_place(name, 1.0)
    return name


def well(releases: Releases, one: Bundle) -> str:
    name = install(releases, one)
    assert releases.begin() == ""
    releases.confirm()
    return name


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path / "app")


def test_nothing_is_there_at_first(releases: Releases) -> None:
    assert releases.current == ""
    assert releases.begin() == ""
    assert releases.record() == Record()
    assert releases.files() == {}
    with pytest.raises(NotFoundError, match="no release of an app"):
        _ = releases.app_file


def test_a_release_is_put_in_place_and_found_well(releases: Releases, tmp_path: Path) -> None:
    one = bundle(tmp_path, "1.0")
    name = well(releases, one)
    assert name == f"1.0-{one.digest[:8]}"
    assert releases.current == name
    assert releases.app_file == releases.root / "releases" / name / "edge.yaml"
    assert releases.app_file.read_text() == "thing: station  # 1.0\n"
    assert releases.record() == Record(highest="1.0", order=(name,))
    assert list(releases.files().values()) == [releases.app_file]


def test_the_newest_three_are_kept(releases: Releases, tmp_path: Path) -> None:
    names = [well(releases, bundle(tmp_path, f"1.{number}")) for number in range(5)]
    kept = {path.name for path in (releases.root / "releases").iterdir()}
    assert kept == set(names[-KEPT:])
    assert releases.back() == names[3]
    assert releases.back() == names[2]
    with pytest.raises(NotFoundError, match=r"no release before 1.2-"):
        releases.back()
    assert releases.app_file.read_text() == "thing: station  # 1.2\n"


def test_an_older_release_is_refused_and_the_same_number_is_not(releases: Releases, tmp_path: Path) -> None:
    well(releases, bundle(tmp_path, "1.10"))
    with pytest.raises(BundleError, match=r"release 1.9 is older than 1.10"):
        releases.check(bundle(tmp_path, "1.9"))
    releases.check(bundle(tmp_path, "1.10", "again"))
    releases.check(bundle(tmp_path, "1.10.1"))


def test_one_that_is_not_well_is_given_up(releases: Releases, tmp_path: Path) -> None:
    old = well(releases, bundle(tmp_path, "1"))
    new = install(releases, bundle(tmp_path, "2"))
    assert releases.give_up("the function 'f' does not start") == old
    assert releases.current == old
    assert releases.record() == Record("1", None, new, "the function 'f' does not start", (old,))
    releases.told()
    assert releases.record() == Record("1", None, "", "", (old,))


def test_one_that_ends_its_process_again_and_again_is_given_up(releases: Releases, tmp_path: Path) -> None:
    old = well(releases, bundle(tmp_path, "1"))
    new = install(releases, bundle(tmp_path, "2"))
    for _ in range(MOST_STARTS):
        assert releases.begin() == ""
        assert releases.current == new
    assert releases.begin() == "it was started 2 times and never found well"
    assert releases.current == old
    assert releases.begin() == ""


def test_the_first_one_has_nothing_to_go_back_to(releases: Releases, tmp_path: Path) -> None:
    name = install(releases, bundle(tmp_path, "1"))
    for _ in range(MOST_STARTS + 2):
        assert releases.begin() == ""
    assert releases.current == name
    assert releases.record().failed == name


def test_there_is_no_way_back_during_a_trial(releases: Releases, tmp_path: Path) -> None:
    well(releases, bundle(tmp_path, "1"))
    install(releases, bundle(tmp_path, "2"))
    with pytest.raises(ConfigError, match="is on trial"):
        releases.back()


def test_what_was_staged_may_be_discarded_and_what_runs_not(releases: Releases, tmp_path: Path) -> None:
    name = well(releases, bundle(tmp_path, "1"))
    other = bundle(tmp_path, "2")
    folder = releases.stage(other, name_of(other))
    assert releases.stage(other, name_of(other)) == folder
    releases.discard(name_of(other))
    releases.discard(name)
    assert not folder.exists()
    assert releases.app_file.exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"highest": 1}', '{"highest":"1","trial":{"x":1},"failed":"","reason":"","order":[]}']
)
def test_a_record_that_cannot_be_read_forgets_no_release(releases: Releases, tmp_path: Path, text: str) -> None:
    name = well(releases, bundle(tmp_path, "1.4"))
    (releases.root / "record.json").write_text(text)
    assert releases.record().highest == "1.4"
    assert releases.begin() == ""
    assert releases.current == name


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot be changed"):
        Releases(tmp_path / "app").put_in_place("1-00000000", 1.0)


def test_what_is_on_trial_is_nothing_to_go_back_to(releases: Releases, tmp_path: Path) -> None:
    old = well(releases, bundle(tmp_path, "1"))
    install(releases, bundle(tmp_path, "2"))
    install(releases, bundle(tmp_path, "3"))
    assert releases.give_up("ill") == old


CUTS = ["unpacked", "staged", "recorded", "switched", "confirmed", "returned"]
STEPS = """
import sys
from pathlib import Path
from edge_runtime.bundles import open_bundle
from edge_runtime.releases import Releases, name_of

folder, end = Path(sys.argv[1]), sys.argv[2]
releases, new = Releases(folder / "app"), open_bundle(folder / "2.edge", [], folder)
releases.begin()
releases.stage(new, name_of(new))
releases.put_in_place(name_of(new), 1.0)
releases.begin()
releases.confirm() if end == "well" else releases.give_up("ill")
"""


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("end", ["well", "ill"])
def test_a_power_cut_at_every_step_leaves_one_that_runs(releases: Releases, tmp_path: Path, cut: str, end: str) -> None:
    """The process is killed at a step; then the same is done once more, and ends as it should."""
    old = well(releases, bundle(tmp_path, "1"))
    new = name_of(bundle(tmp_path, "2"))
    command = [sys.executable, "-c", STEPS, str(tmp_path), end]
    killed = subprocess.run(command, env={"EDGE_FAILPOINT": f"release.{cut}", "PATH": ""}, cwd=Path.cwd(), check=False)
    reached = (cut, end) not in {("confirmed", "ill"), ("returned", "well")}
    assert (killed.returncode == -9) is reached
    assert releases.current in {old, new}
    assert "thing: station" in releases.app_file.read_text()
    trial = releases.record().trial
    assert trial is None or isinstance(trial, Trial)
    if cut in {"unpacked", "staged", "recorded"}:
        assert releases.current == old
    releases.begin()
    assert not list((releases.root / "releases").glob(".*"))
    assert releases.app_file.exists()
    subprocess.run(command, cwd=Path.cwd(), check=True)
    assert releases.current == (new if end == "well" else old)
    assert json.loads((releases.root / "record.json").read_text())["trial"] is None
    assert releases.app_file.exists()


def test_after_going_back_the_one_before_is_the_one_that_ran(releases: Releases, tmp_path: Path) -> None:
    """Somebody went from 3 back to 2 and then took 4: behind 4 lies 2, not the 3 that was not wanted."""
    _, two, _ = (well(releases, bundle(tmp_path, str(number))) for number in (1, 2, 3))
    assert releases.back() == two
    well(releases, bundle(tmp_path, "4"))
    assert releases.back() == two


def test_half_a_release_that_was_being_removed_is_never_taken_for_a_whole_one(
    releases: Releases, tmp_path: Path
) -> None:
    """The power goes while the oldest release is removed."""
    first = bundle(tmp_path, "1")
    for number in (1, 2, 3):
        well(releases, bundle(tmp_path, str(number)))
    install(releases, bundle(tmp_path, "4"))
    code = (
        "from pathlib import Path\nfrom edge_runtime.releases import Releases\n"
        f"Releases(Path({str(releases.root)!r})).confirm()"
    )
    env = {"EDGE_FAILPOINT": "release.removing", "PATH": ""}
    killed = subprocess.run([sys.executable, "-c", code], env=env, cwd=Path.cwd(), check=False)
    assert killed.returncode == -9
    names = {path.name for path in (releases.root / "releases").iterdir()}
    assert name_of(first) not in names
    assert f".{name_of(first)}.gone" in names
    releases.begin()
    assert not list((releases.root / "releases").glob(".*"))


def test_a_release_that_is_kept_is_not_discarded(releases: Releases, tmp_path: Path) -> None:
    old = well(releases, bundle(tmp_path, "1"))
    well(releases, bundle(tmp_path, "2"))
    releases.discard(old)
    assert releases.app_file_of(old).exists()


def test_one_process_at_a_time_has_the_releases(releases: Releases) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom edge_runtime.releases import Releases\n"
        f"with Releases(Path({str(releases.root)!r})).held():\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(HostError, match="another process has the releases in"), releases.held():
            pass
        other.communicate(b"")
    with releases.held():
        pass


def test_two_threads_do_not_unpack_the_same_release_at_once(releases: Releases, tmp_path: Path) -> None:
    """Somebody gave up and asked again: the first thread is still at it, and would leave half a release."""
    sources = {name: tmp_path / "source" / name for name in ("a/1", "edge.yaml", "z")}
    for path in sources.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    write(tmp_path / "x.edge", Manifest("station", "1", describe(sources)), sources)
    one = open_bundle(tmp_path / "x.edge", [], tmp_path)
    second = threading.Thread(target=releases.stage, args=(one, "1-a"))

    def begin_second(_: int) -> None:
        if second.ident is None:
            second.start()
            second.join(0.3)

    folder = releases.stage(one, "1-a", begin_second)
    second.join()
    assert {name: (folder / name).read_text() for name in sources} == {"a/1": "1", "edge.yaml": "edge.yaml", "z": "z"}


def test_what_is_here_is_what_is_still_right(releases: Releases, tmp_path: Path) -> None:
    one = bundle(tmp_path, "1")
    well(releases, one)
    facts = releases.facts(files=True)
    assert (facts["name"], facts["content"]) == ("station", one.manifest.content)
    assert list(facts["here"]) == [one.manifest.files[0].sha256]
    releases.app_file.write_text("changed by hand")
    facts = releases.facts(files=True)
    assert (facts["here"], facts["content"]) == ({}, "")
    assert "here" not in releases.facts()


def test_who_cannot_take_over_leaves_the_one_that_ran(releases: Releases, tmp_path: Path) -> None:
    """Somebody goes back to a release that can no longer start."""
    old, new = (well(releases, bundle(tmp_path, str(number))) for number in (1, 2))
    assert releases.back() == old
    releases.stay(new, "its store is gone")
    assert releases.current == new
    assert (releases.record().failed, releases.record().reason) == (old, "its store is gone")
    releases.stay("app", "there was no release before")
    assert releases.current == new
