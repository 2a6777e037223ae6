"""From an app file to an App: through another process, and from the cache when nothing has changed."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_runtime import loaders
from edge_runtime.app import App, Device, Function, LinkSpec, Overflow, QueueLimits, Rule, Schedule, Uplink
from edge_runtime.errors import ConfigError
from edge_runtime.loaders import CACHE, from_json, is_unguarded, load_app, read_app, to_json

TEXT = "thing: station\nqueue: {when_full: reject_new}\n"
APP = App(
    "station",
    Path("/srv/app"),
    devices=(Device("soil", "MCP3008", {"channel": 0, "pins": [1, 2], "x": None}, every_s=10.0),),
    functions=(Function("f", Path("/srv/app/f"), "app.handler", environment={"A": "1"}),),
    schedules=(Schedule("f", "rate(1 day)"),),
    rules=(Rule("device/soil", ("function/f", "uplink"), 3),),
    link=LinkSpec("paho", {"endpoint": "x"}, Uplink(up=(Rule("dt/#", ("uplink",)),), down=("cmd/#",))),
    queues={"": QueueLimits(1, 2.5, Overflow.REJECT_NEW)},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "edge.yaml"
    path.write_text(TEXT)
    return path


def mark(cache: Path) -> None:
    """Change the kept app so that it can be told from a fresh one."""
    kept = json.loads(cache.read_text())
    kept["app"]["thing"] = "kept"
    kept["sum"] = loaders._sum(kept["app"])
    cache.write_text(json.dumps(kept))


def test_a_file_is_loaded_and_kept_for_its_owner_only(path: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        app = load_app(path, tmp_path / "state")
    finally:
        os.umask(before)
    assert app == App("station", tmp_path, queues={"": QueueLimits(0, 0.0, Overflow.REJECT_NEW)})
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / CACHE).stat().st_mode) == 0o600
    assert [p.name for p in (tmp_path / "state").iterdir()] == [CACHE]


def test_the_same_file_is_not_read_again(path: Path, tmp_path: Path) -> None:
    load_app(path, tmp_path / "state")
    mark(tmp_path / "state" / CACHE)
    assert load_app(path, tmp_path / "state").thing == "kept"


def test_a_changed_file_is_read_again(path: Path, tmp_path: Path) -> None:
    load_app(path, tmp_path / "state")
    mark(tmp_path / "state" / CACHE)
    path.write_text("thing: other\n")
    assert load_app(path, tmp_path / "state").thing == "other"
    assert load_app(path, tmp_path / "state").thing == "other"


def test_the_same_text_elsewhere_is_another_app(path: Path, tmp_path: Path) -> None:
    load_app(path, tmp_path / "state")
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / "edge.yaml")
    assert load_app(moved, tmp_path / "state").base == tmp_path / "elsewhere"


def flip(text: str) -> str:
    return text.replace('"station"', '"statiom"')


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        lambda text: text[:50],
        lambda _: "",
        lambda _: "[]",
        lambda _: "{}",
        lambda text: text.replace("sum", "som"),
    ],
)
def test_a_damaged_cache_is_made_again(path: Path, tmp_path: Path, damage: Any) -> None:  # noqa: ANN401 - a function of a text
    fresh = load_app(path, tmp_path / "state")
    cache = tmp_path / "state" / CACHE
    good = cache.read_text()
    cache.write_text(damage(good))
    assert load_app(path, tmp_path / "state") == fresh
    assert cache.read_text() == good


def test_a_state_folder_that_cannot_be_written_does_not_stop_it(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("a file")
    with caplog.at_level(logging.WARNING):
        assert load_app(path, tmp_path / "state").thing == "station"
    assert "is not kept in" in caplog.text


def test_mistakes_come_through_word_for_word_and_are_not_kept(path: Path, tmp_path: Path) -> None:
    path.write_text("thing: a b\nqueues: 3\n")
    with pytest.raises(ConfigError) as caught:
        load_app(path, tmp_path / "state")
    assert str(caught.value).splitlines() == [
        "edge.yaml:1: thing: 'a b' is no name of a thing; allowed: 1 to 128 letters, digits, : - and _",
        (
            "edge.yaml:2: queues: unknown key; did you mean 'queue'? "
            "allowed: thing, strict, board, devices, functions, link, queue, brokers, connectors, broker"
        ),
    ]
    assert not (tmp_path / "state").exists()


def test_reading_alone_writes_nothing(path: Path, tmp_path: Path) -> None:
    assert read_app(path).thing == "station"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ConfigError, match=r"none.yaml cannot be read: No such file or directory"):
        read_app(tmp_path / "none.yaml")


def test_a_file_that_no_loader_reads(tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_text("")
    with pytest.raises(ConfigError, match=r"no loader reads app.toml") as caught:
        load_app(tmp_path / "app.toml", tmp_path / "state")
    assert caught.value.hint.startswith("loaders: edge_yaml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the app file .*edge.yaml cannot be read: No such file") as caught:
        load_app(tmp_path / "edge.yaml", tmp_path / "state")
    assert "edge init" in caught.value.hint


def test_the_folder_it_runs_in_is_no_place_to_import_from(path: Path, tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise SystemExit('hijacked')")
    code = (
        "import sys; from pathlib import Path; from edge_runtime.loaders import load_app;"
        "print(load_app(Path('edge.yaml'), Path('state')).thing)"
    )
    here = str(Path(__file__).parent.parent)
    ran = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": here},
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert (ran.stdout, ran.stderr) == ("station\n", "")
    assert path.exists()


def test_the_process_that_runs_the_app_carries_no_validator(path: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from edge_runtime.loaders import load_app;"
        f"load_app(Path({str(path)!r}), Path({str(tmp_path / 'state')!r}));"
        "print([m for m in ('pydantic', 'yaml', 'gpiozero', 'asyncio', 'subprocess') if m in sys.modules])"
    )
    load_app(path, tmp_path / "state")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize(("guard", "expected"), [("", True), (", guard: {}", False)], ids=["none", "one"])
def test_whether_a_device_has_a_guard_is_known_of_what_ran_last_alone(
    path: Path, tmp_path: Path, guard: str, *, expected: bool
) -> None:
    path.write_text(f"thing: a\ndevices: {{lamp: {{driver: LED, pin: 4{guard}}}}}\n")
    assert not is_unguarded(path, tmp_path / "state")  # nothing is kept
    load_app(path, tmp_path / "state")
    assert is_unguarded(path, tmp_path / "state") == expected
    path.write_text(f"{path.read_text()}# changed\n")
    assert not is_unguarded(path, tmp_path / "state")
    path.unlink()
    with pytest.raises(ConfigError, match=r"the app file .*edge.yaml cannot be read: No such file"):
        is_unguarded(path, tmp_path / "state")


def test_an_app_comes_back_from_json_as_it_was() -> None:
    assert from_json(json.loads(json.dumps(to_json(APP)))) == APP
    bare = replace(APP, link=None, devices=(), queues={})
    assert from_json(json.loads(json.dumps(to_json(bare)))) == bare


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("thing",), 3),
        (("devices",), {}),
        (("devices", 0, "every_s"), "10"),
        (("devices", 0, "on_change"), 1),
        (("rules", 0, "priority"), 1.5),
        (("queues", "", "when_full"), "sometimes"),
        (("queues",), []),
        (("functions", 0, "environment", "A"), 1),
        (("extra",), 1),
        (("base",), None),
    ],
)
def test_what_is_no_app_is_refused(place: tuple[str | int, ...], value: object) -> None:
    data: Any = to_json(APP)
    part = data
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    with pytest.raises(ValueError, match=r"."):
        from_json(data)


def test_a_change_of_another_file_that_it_names_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def handler(event, context): ...\n")
    other = tmp_path / "lambda.json"
    other.write_text('{"handler": "app.handler", "timeoutInSeconds": 3}')
    path = tmp_path / "edge.yaml"
    path.write_text("thing: station\nfunctions: {f: {greengrass: lambda.json}}\n")
    assert load_app(path, tmp_path / "state").functions[0].timeout_s == 3
    mark(tmp_path / "state" / CACHE)
    assert load_app(path, tmp_path / "state").thing == "kept"
    other.write_text('{"handler": "app.handler", "timeoutInSeconds": 5}')
    assert load_app(path, tmp_path / "state").functions[0].timeout_s == 5
