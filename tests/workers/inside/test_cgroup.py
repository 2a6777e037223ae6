"""Control groups, on folders that look like the kernel's, and on the kernel's own where they may be made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.workers.inside import cgroup

ME = os.getpid()


def version_2(folder: Path, *, controllers: str = "cpu memory pids", below: str = "", processes: str = "") -> Path:
    """Make what the kernel shows of the group `/app`; return the file that names it."""
    base = folder / "fs" / "app"
    base.mkdir(parents=True)
    (base / "cgroup.controllers").write_text(controllers)
    (base / "cgroup.subtree_control").write_text(below)
    (base / "cgroup.procs").write_text(processes)
    listed = folder / "listed"
    listed.write_text("0::/app\n")
    return listed


def made(folder: Path) -> Path:
    """Return this process's group."""
    return folder / "fs" / "app" / f"edge-{ME}"


def find(folder: Path, listed: Path) -> cgroup.Groups:
    """Look for groups; the host is process 77."""
    return cgroup.find(77, str(listed), str(folder / "fs"))


def like_the_kernel(group: Path, *names: str) -> None:
    """Make the files that the kernel makes by itself."""
    for name in names:
        (group / name).write_text("")


def test_a_worker_has_a_group_of_its_own(tmp_path: Path) -> None:
    found = find(tmp_path, version_2(tmp_path, below="memory"))
    group = made(tmp_path)
    like_the_kernel(group, "cgroup.controllers")
    groups = cgroup.Groups(found.path)  # as the host does, by what the zygote tells
    assert (group / "cgroup.subtree_control").read_text() == "+memory"
    with pytest.raises(FileNotFoundError):  # a folder that is not the kernel's has no such files
        groups.make(5, 64)
    assert groups.path == str(group)
    like_the_kernel(group / "5", "memory.max", "memory.swap.max", "cgroup.procs")
    (group / "6").mkdir()
    groups.put(77, 5)
    assert (group / "5" / "cgroup.procs").read_text() == "77"
    groups.remove(6)
    assert not (group / "6").exists()
    groups.remove(6)


def test_the_host_makes_way(tmp_path: Path) -> None:
    listed = version_2(tmp_path, processes=f"77\n{ME}\n")
    find(tmp_path, listed)
    base = tmp_path / "fs" / "app"
    assert (base / "cgroup.subtree_control").read_text() == "+memory"
    assert (base / "edge-host" / "cgroup.procs").read_text() in {"77", str(ME)}  # each was written, the last is seen


def test_a_second_zygote_finds_the_place_of_the_first(tmp_path: Path) -> None:
    listed = version_2(tmp_path, below="memory")
    host = tmp_path / "fs" / "app" / "edge-host"
    host.mkdir()
    (host / "cgroup.controllers").write_text("memory")
    (host / "cgroup.subtree_control").write_text("")
    (host / "cgroup.procs").write_text(f"77\n78\n{ME}\n")  # the first zygote is there as well
    listed.write_text("0::/app/edge-host\n")
    assert find(tmp_path, listed).path == str(made(tmp_path))


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"controllers": "cpu pids"}, "the memory controller is not handed to the host's control group"),
        ({"processes": f"1\n77\n{ME}\n99\n"}, "2 other processes share the host's control group"),
    ],
)
def test_it_says_why_there_can_be_none(tmp_path: Path, state: dict[str, str], why: str) -> None:
    with pytest.raises(OSError, match=why):
        find(tmp_path, version_2(tmp_path, **state))


def test_without_control_groups(tmp_path: Path) -> None:
    listed = tmp_path / "listed"
    listed.write_text("3:cpu:/\n")
    with pytest.raises(OSError, match="there are no control groups"):
        find(tmp_path, listed)


@pytest.mark.parametrize("seen", ["/container/x", "/elsewhere"])
def test_version_1(tmp_path: Path, seen: str) -> None:
    top = tmp_path / "fs" / "memory"
    (top / "container" / "x").mkdir(parents=True)
    listed = tmp_path / "listed"
    listed.write_text(f"4:cpu,memory:{seen}\n0::/\n")
    find(tmp_path, listed)
    base = top / "container" / "x" if seen == "/container/x" else top
    assert (base / f"edge-{ME}").is_dir()


def test_what_dead_zygotes_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "edge-4194305" / "3").mkdir(parents=True)  # no process has such a number
    (tmp_path / f"edge-{ME}" / "1").mkdir(parents=True)
    (tmp_path / "edge-host").mkdir()
    cgroup.clean(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"edge-{ME}", "edge-host"]


def test_all_goes_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "edge-1"
    (folder / "3").mkdir(parents=True)
    cgroup.Groups(str(folder)).close()
    assert list(tmp_path.iterdir()) == []
