"""What a worker is told of its new place, and what it may use there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.workers.inside import jail
from edge_runtime.workers.inside.mounts import OPT, TASK, TMP
from tests.workers.inside.driving import Driver

LIMITS = """
import os, resource
def handler(event, context):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {
        "uid": [os.getresuid(), os.getresgid(), os.getgroups()],
        "capabilities": [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
        "processes": resource.getrlimit(resource.RLIMIT_NPROC)[0],
        "file": resource.getrlimit(resource.RLIMIT_FSIZE)[0],
        "own environment": open("/proc/self/environ").read(),
        "places": [os.getcwd(), os.environ["TMPDIR"], os.environ["LAYERS"], context.function_name],
    }
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    driver = Driver(tmp_path)
    yield driver
    assert driver.close() == 0


def test_a_worker_runs_as_a_user_of_its_own_without_any_capability(driver: Driver, tmp_path: Path) -> None:
    if not driver.isolation["users"]:
        pytest.skip("the tests are not root's")
    opt = tmp_path / "layers"
    opt.mkdir()
    environment = {"TMPDIR": str(tmp_path / "tmp1"), "LAYERS": f"/x:{opt}/python:{tmp_path}/layersx"}
    told = driver.run(LIMITS, opt=str(opt), environment=environment)
    assert told == {
        "uid": [[70_001] * 3, [70_001] * 3, []],
        "capabilities": [0] * 5,
        "processes": 20,
        "file": 512 * 1024 * 1024,
        "own environment": "HOST=secret\0",
        "places": ["/var/task", TMP, f"/x:/opt/python:{tmp_path}/layersx", None],
    }


def test_switched_off_nothing_is_done(tmp_path: Path) -> None:
    driver = Driver(tmp_path, EDGE_ISOLATION="off")
    try:
        assert driver.isolation == {}
        source = "import os\ndef handler(event, context): return [os.getuid(), os.getcwd(), os.path.exists('/tmp')]\n"
        assert driver.run(source) == [os.getuid(), str(tmp_path / "code1"), True]
    finally:
        assert driver.close() == 0


def test_paths_move_with_their_folders() -> None:
    spec = {
        "root": "/app/code",
        "opt": "/state/layers/ab",
        "exec": ("/app/code/bootstrap", "--root", "/app/codex"),
        "environment": {
            "LAMBDA_TASK_ROOT": "/app/code",
            "LD_LIBRARY_PATH": "/app/code/lib:/state/layers/ab/lib:/usr/lib",
            "TMPDIR": "/state/tmp/1",
            "TEXT": "see: /app/code",
            "URL": "http://127.0.0.1:1/app/code",
        },
    }
    places = {"/app/code": TASK, "/state/tmp/1": TMP, "/state/layers/ab": OPT}
    assert jail.moved(spec, places) == {
        "root": "/var/task",
        "opt": "/opt",
        "exec": ["/var/task/bootstrap", "--root", "/app/codex"],
        "environment": {
            "LAMBDA_TASK_ROOT": "/var/task",
            "LD_LIBRARY_PATH": "/var/task/lib:/opt/lib:/usr/lib",
            "TMPDIR": TMP,
            "TEXT": "see: /app/code",
            "URL": "http://127.0.0.1:1/app/code",
        },
    }


def test_a_folder_without_what_is_hidden_in_it(tmp_path: Path) -> None:
    for path in ("a/b", "a/.edge/keys", "c"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "app.py").touch()
    root = str(tmp_path)
    assert jail.around(root, [f"{root}x", "/"]) == [root]
    assert jail.around(root, [f"{root}/a/.edge"]) == [f"{root}/a/b", f"{root}/app.py", f"{root}/c"]
    assert jail.around(root, [root]) == []


def test_what_python_needs_is_named_once() -> None:
    found = jail.programs()
    assert str(Path(jail.__file__).parent) in found or any(jail.__file__.startswith(f"{path}/") for path in found)
    assert "/" not in found
    assert "/usr" not in found
    assert all(os.path.isabs(path) for path in found)  # noqa: PTH117 - texts
