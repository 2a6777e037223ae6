"""The configuration of a component, laid over an app file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.loaders import edge_yaml, greengrass_lambda, load_app, read_app
from edge_runtime.loaders._overlay import lay_over, read_overlay
from edge_runtime.loaders._yaml import Document

APP = """
thing: pi-7
functions:
  f:
    code: ./code
    handler: app.handler
    memory: 128
    environment: {LIMIT: 0.30, UNIT: bar}
    events: [{topic: "in/#"}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").touch()
    (tmp_path / "edge.yaml").write_text(APP)
    return tmp_path


def test_mappings_merge_and_lists_are_replaced_whole(folder: Path) -> None:
    events = [{"topic": "other/#"}, {"schedule": "rate(1 minute)"}]
    over = {"functions": {"f": {"environment": {"LIMIT": "0.40"}, "events": events}}}
    app = edge_yaml.load(folder / "edge.yaml", over)
    (function,) = app.functions
    assert (function.memory_mb, dict(function.environment)) == (128, {"LIMIT": "0.40", "UNIT": "bar"})
    assert [rule.filter for rule in app.rules] == ["other/#", "schedule/f"]


def test_what_a_nucleus_made_of_numbers_is_read_as_in_the_file(folder: Path) -> None:
    over = {"strict": "true", "functions": {"f": {"memory": "256", "timeout": "5", "concurrency": 2.0, "retries": "1"}}}
    (function,) = edge_yaml.load(folder / "edge.yaml", over).functions
    assert (function.memory_mb, function.timeout_s, function.concurrency, function.retries) == (256, 5.0, 2, 1)
    assert function.allow.publish == ()


def test_a_mistake_names_its_place(folder: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        edge_yaml.load(folder / "edge.yaml", {"functions": {"f": {"memory": "much"}}})
    assert str(raised.value).startswith("edge.yaml with the component's configuration:")
    assert "functions.f.memory: 'much' is no whole number" in str(raised.value)


def test_a_lambda_of_greengrass_takes_one_too(folder: Path) -> None:
    parameters = {"code": "./code", "handler": "app.handler", "componentLambdaParameters": {"timeoutInSeconds": 3}}
    (folder / "lambda.json").write_text(json.dumps(parameters))
    app = greengrass_lambda.load(folder / "lambda.json", {"thing": "pi-8"})
    assert app.thing == "pi-8"
    assert greengrass_lambda.load(folder / "lambda.json").functions[0].timeout_s == 3


def test_it_lies_in_the_state_folder_and_the_cache_knows_it(folder: Path) -> None:
    state = folder / "state"
    assert load_app(folder / "edge.yaml", state).thing == "pi-7"
    (state / "configuration.json").write_text('{"thing": "pi-8"}')
    assert [load_app(folder / "edge.yaml", state).thing for _ in range(2)] == ["pi-8", "pi-8"]
    (state / "configuration.json").unlink()
    assert load_app(folder / "edge.yaml", state).thing == "pi-7"


@pytest.mark.parametrize(
    ("text", "says"), [("{", "cannot be read"), ("[]", "is no JSON object"), ("[" * 100_000, "cannot be read")]
)
def test_one_that_is_damaged_says_how_to_go_on(folder: Path, text: str, says: str) -> None:
    path = folder / "over.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as raised:
        read_overlay(path)
    assert raised.value.hint == f"remove it: rm {path}"
    with pytest.raises(ConfigError, match=says):
        read_app(folder / "edge.yaml", path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=2), part, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=2), JSON, max_size=3)


@given(OBJECTS, OBJECTS)
def test_what_is_not_named_stays_and_twice_is_as_once(base: dict[str, object], over: dict[str, object]) -> None:
    once, twice = Document("a", dict(base)), Document("a", dict(base))
    lay_over(once, over)
    lay_over(twice, over)
    lay_over(twice, over)
    assert once.data == twice.data
    assert {key: value for key, value in once.data.items() if key not in over} == {
        key: value for key, value in base.items() if key not in over
    }
