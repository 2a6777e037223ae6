"""What is asked of isolation, and what is told of it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from edge_runtime.app import Function
from edge_runtime.errors import ConfigError
from edge_runtime.workers.isolation import SWITCHED_OFF, Layer, Terms, Wanted, isolation_of, probe, wanted
from edge_runtime.workers.pool import Pool
from tests.workers.conftest import OFF, Hire, jail, until, value

LAYERS = ["limits", "files", "users", "landlock", "signals", "system calls", "memory"]


def rows(*active: str) -> list[tuple[str, bool, str]]:
    """Return what a zygote tells when these are active."""
    return [(name, name in active, "" if name in active else "no") for name in LAYERS[1:]]


@pytest.mark.parametrize(
    ("active", "level"),
    [
        (("files", "users", "landlock", "signals", "system calls"), "full"),
        (("files", "users", "signals", "system calls"), "full"),
        (("files", "landlock", "signals", "system calls"), "partly"),
        (("landlock",), "partly"),
        ((), "base"),
    ],
)
def test_the_level_sums_up_the_layers(active: tuple[str, ...], level: str) -> None:
    assert isolation_of(rows(*active)).level == level


def test_a_missing_layer_says_why_and_what_would_bring_it() -> None:
    found = isolation_of(rows("files", "signals", "system calls"))
    assert [layer.name for layer in found.layers] == LAYERS
    assert found.layers[2] == Layer("users", active=False, note="no", fix="run the host as root: sudo edge run")
    assert all(layer.note and not layer.fix for layer in found.layers if layer.active)


def test_the_kernel_here_is_asked() -> None:
    found = probe()
    assert [layer.name for layer in found.layers] == LAYERS
    assert found.layers[0].active
    off = probe("off")
    assert (off.level, off.layers[1:]) == ("off", (SWITCHED_OFF,))


def test_what_the_environment_asks_for(tmp_path: Path) -> None:
    assert wanted({}) == Wanted("default", 70_000)
    asked = wanted({"EDGE_ISOLATION": "off", "EDGE_UID_BASE": "5000"}, [tmp_path])
    assert asked == Wanted("off", 5000, hide=(tmp_path,))


@pytest.mark.parametrize(
    ("name", "text"),
    [("EDGE_ISOLATION", "on"), ("EDGE_UID_BASE", "-1"), ("EDGE_UID_BASE", "0"), ("EDGE_UID_BASE", "9" * 10)],
)
def test_what_has_no_meaning_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is '{text}'") as caught:
        wanted({name: text})
    assert caught.value.hint


def test_each_function_has_terms_of_its_own(tmp_path: Path) -> None:
    node = tmp_path / "node"
    (node / "bin").mkdir(parents=True)
    (node / "lib").mkdir()
    (node / "bin" / "node").touch()
    home = tmp_path / "home" / "bin"
    home.mkdir(parents=True)
    (home / "tool").symlink_to(node / "bin" / "node")
    functions = {name: Function(name, tmp_path, "app.handler", concurrency=2) for name in ("pump", "alarm")}
    terms = Terms(functions, Wanted(uid_base=5000, hide=(tmp_path / "state",)))
    hide = [str(tmp_path / "state")]
    assert terms.of("alarm") == {"uid": 5000, "processes": 192, "hide": hide, "read": []}
    of_node = terms.of("pump", str(node / "bin" / "node"), [Path("/more")])
    assert of_node == {"uid": 5001, "processes": 192, "hide": hide, "read": [str(node), "/more"]}
    # Beside a link lies the rest of a home folder, which is no interpreter's.
    assert terms.of("pump", str(home / "tool"))["read"] == [str(home), str(node)]


async def test_a_pool_tells_what_keeps_its_workers_apart(hire: Hire) -> None:
    pool = await hire("def handler(event, context): return 1\n", isolation=jail())
    await pool.invoke("f", b"1", request_id="r")
    found = pool.isolation()
    assert found is not None
    assert [layer.name for layer in found.layers] == LAYERS
    assert Pool({}, thing="t", scratch=Path(), log=lambda _name, _text: None).isolation() is None


async def test_switched_off_is_told_too(hire: Hire) -> None:
    pool = await hire("def handler(event, context): return 1\n", isolation=OFF)
    await until(lambda: pool.isolation() is not None)
    found = pool.isolation()
    assert found is not None
    assert found.level == "off"


async def test_an_archive_and_its_layers_are_read_from_inside(
    pools: Callable[..., Awaitable[Pool]], tmp_path: Path
) -> None:
    source = (
        "import os, dep\ndef handler(event, context): return [dep.__file__, os.environ['LAMBDA_TASK_ROOT'], __file__]\n"
    )
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("app.py", source)
    with zipfile.ZipFile(tmp_path / "layer.zip", "w") as archive:
        archive.writestr("python/dep.py", "")
    function = Function("f", tmp_path / "code.zip", "app.handler", layers=(tmp_path / "layer.zip",))
    pool = await pools(function, isolation=jail())
    told = value(await pool.invoke("f", b"1", request_id="r"))
    found = pool.isolation()
    assert found is not None
    if next(layer.active for layer in found.layers if layer.name == "files"):
        assert told == ["/opt/python/dep.py", "/var/task", "/var/task/app.py"]


async def test_a_folder_of_the_device_is_read_by_the_function_that_names_it_and_by_no_other(
    pools: Callable[..., Awaitable[Pool]], tmp_path: Path
) -> None:
    source = """
import os, pathlib
def handler(event, context):
    try:
        found = pathlib.Path(event).read_text()
    except OSError as error:
        return type(error).__name__
    return [found, os.access(event, os.W_OK)]
"""
    for name, text, file in (("code", source, "app.py"), ("images", "a picture", "a.jpg"), ("other", "", "b.jpg")):
        (tmp_path / name).mkdir(mode=0o755)
        (tmp_path / name / file).write_text(text, encoding="utf-8")
    allowed = Function("a", tmp_path / "code", "app.handler", read=(tmp_path / "images", tmp_path / "not-there"))
    pool = await pools(allowed, Function("b", tmp_path / "code", "app.handler"), isolation=jail())

    async def read(name: str, path: Path) -> object:
        return value(await pool.invoke(name, json.dumps(str(path)).encode(), request_id="r"))

    assert await read("a", tmp_path / "images" / "a.jpg") == ["a picture", False]
    found = pool.isolation()
    assert found is not None
    if next(layer.active for layer in found.layers if layer.name == "files"):
        assert await read("a", tmp_path / "other" / "b.jpg") == "FileNotFoundError"
        assert await read("b", tmp_path / "images" / "a.jpg") == "FileNotFoundError"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives functions users")
async def test_two_functions_run_as_two_users(pools: Callable[..., Awaitable[Pool]], tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import os\ndef handler(event, context): return os.getuid()\n", encoding="utf-8")
    asked = jail()
    pool = await pools(*(Function(name, tmp_path, "app.handler") for name in ("a", "b")), isolation=asked)
    users = [value(await pool.invoke(name, b"1", request_id="r")) for name in ("a", "b")]
    found = pool.isolation()
    assert found is not None
    assert users == ([asked.uid_base, asked.uid_base + 1] if found.level == "full" else [0, 0])


async def test_what_a_worker_really_uses_is_bounded(hire: Hire) -> None:
    if not any(layer.active for layer in probe().layers if layer.name == "memory"):
        pytest.skip("no memory control group may be made here")
    source = """
def handler(event, context):
    held = bytearray(event * 1048576)
    for at in range(0, len(held), 4096):
        held[at] = 1
    return len(held)
"""
    pool = await hire(source, memory_mb=64, timeout_s=20, isolation=jail())
    assert value(await pool.invoke("f", b"30", request_id="r-1")) == 30 << 20
    # Less than RLIMIT_DATA would stop, which counts what is asked for and leaves room for threads.
    result = await pool.invoke("f", b"150", request_id="r-2")
    assert result.error == "Runtime.ExitError"
    assert b"signal: killed" in result.payload
    assert value(await pool.invoke("f", b"1", request_id="r-3")) == 1 << 20
