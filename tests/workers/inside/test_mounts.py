"""The small root, seen from inside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.workers.inside.mounts import OPT, TASK, TMP
from tests.workers.inside.driving import Driver

SHARED = "/dev/shm"  # noqa: S108 - the one inside

LOOK = """
import os
def look(path):
    try:
        if os.path.isdir(path):
            return sorted(os.listdir(path))
        with open(path, "rb") as file:
            return file.read(100).decode()
    except OSError as error:
        return error.strerror
def handler(event, context):
    return [look(path) for path in event]
"""
WRITE = """
def handler(event, context):
    failed = []
    for path in event:
        try:
            open(path, "w").close()
        except OSError as error:
            failed.append([path, error.strerror])
    return failed
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    driver = Driver(tmp_path)
    if not driver.isolation["files"]:
        driver.close()
        pytest.skip("no mount namespaces here")
    yield driver
    assert driver.close() == 0


def terms(**more: object) -> dict[str, object]:
    """Return terms for a worker."""
    return {"uid": 70_001, "processes": 100, "hide": [], "read": [], **more}


def test_a_worker_sees_its_own_and_what_programs_need(driver: Driver) -> None:
    root, task, tmp, run = driver.run(LOOK, ["/", TASK, TMP, OPT])
    assert {"bin", "dev", "etc", "lib", "opt", "proc", "sys", "tmp", "usr", "var"} <= set(root)
    assert not {"boot", "home", "mnt", "media", "srv"} & set(root) - {Path(os.__file__).parts[1]}
    assert (task, tmp, run) == (["app.py"], [], [])


def test_the_device_is_out_of_reach(driver: Driver) -> None:
    assert driver.run(LOOK, ["/.host", "/var/lib", "/etc/shadow", "/dev/mem"]) == [
        "Permission denied",
        "No such file or directory",
        "Permission denied",
        "No such file or directory",
    ]


def test_layers_and_further_folders_are_there_to_read(driver: Driver, tmp_path: Path) -> None:
    for name in ("layers", "node"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    opt, node = str(tmp_path / "layers"), str(tmp_path / "node")
    told = driver.run(LOOK, ["/opt/file", f"{node}/file", str(tmp_path)], opt=opt, jail=terms(read=[node]))
    assert told == ["layers", "node", ["node"]]
    assert driver.run(LOOK, [f"{node}/file"]) == ["No such file or directory"]  # of the next worker
    failed = driver.run(WRITE, ["/opt/new", f"{node}/new", "/var/task/new"], opt=opt, jail=terms(read=[node]))
    assert failed == [[path, "Read-only file system"] for path in ("/opt/new", f"{node}/new", "/var/task/new")]


def test_what_is_hidden_in_the_code_is_empty(driver: Driver, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / ".edge").mkdir(parents=True)
    (project / ".edge" / "queue.db").touch()
    (project / "edge.yaml").write_text("secret")
    (project / "app.py").write_text(LOOK)
    hide = [str(project / ".edge"), str(project / "edge.yaml"), str(tmp_path), str(project / "none")]
    paths = ["/var/task/.edge", "/var/task/edge.yaml", "/var/task/app.py"]
    edge, app, code = driver.run("", paths, root=str(project), jail=terms(hide=hide))
    assert (edge, app, code) == ([], "", LOOK[:100])


def test_files_are_private_and_small_devices_work(driver: Driver, tmp_path: Path) -> None:
    paths = [f"{TMP}/a", f"/var{TMP}/b", f"{SHARED}/c", "/dev/null"]
    assert driver.run(WRITE, paths) == []
    assert sorted(path.name for path in (tmp_path / "tmp1").iterdir()) == ["a", "b"]
    assert driver.run(LOOK, [TMP, SHARED, "/dev/null"]) == [[], [], ""]


def test_code_that_only_its_owner_may_read_is_shown_as_the_functions_own(driver: Driver, tmp_path: Path) -> None:
    if not driver.isolation["users"]:
        pytest.skip("the tests are not root's")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "app.py").write_text(LOOK)
    (closed / "app.py").chmod(0o600)
    (closed / "others").touch(mode=0o600)
    os.chown(closed / "others", 1, 1)
    paths = ["/var/task", "/var/task/others"]
    assert driver.run("", paths, root=str(closed)) == [["app.py", "others"], "Permission denied"]
    assert (closed / "app.py").stat().st_uid == 0


def test_code_that_cannot_be_read_is_an_error_that_says_so(driver: Driver, tmp_path: Path) -> None:
    if not driver.isolation["users"]:
        pytest.skip("the tests are not root's")
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "app.py").write_text(LOOK)
    closed.chmod(0o000)
    with pytest.raises(AssertionError, match=r"chmod -R o\+rX "):
        driver.run("", [], root=str(closed))
