"""`edge.yaml` from any hand: an app that comes back from JSON as it was, or mistakes with their places."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.loaders import edge_yaml, from_json, to_json

KEYS = re.findall(
    r"\w+",
    "thing devices functions link queue brokers driver every on_change deadband heartbeat debounce pin channel code "
    "handler runtime timeout memory environment concurrency retries events on_success device on topic schedule "
    "timezone misfire priority up down window pack aws_quotas endpoint limit when_full ttl keep_free host port prefix",
)
WORDS = st.sampled_from(
    ["a", "10s", "LED", "Button", "MCP3008", "paho", "irrigate", "app.handler", "rate(1 day)", "cron(* * * * ? *)",
     "dt/#", "a/+/b", "{thing}", "{", "#/x", "", "drop_oldest", "python3", "x.amazonaws.com", "\x00", "\u202e", "5%"]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | WORDS, inner, max_size=4),
    max_leaves=12,
)
FILES = st.fixed_dictionaries(
    {"thing": st.just("a")},
    optional={
        "devices": st.dictionaries(WORDS, st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4), max_size=3),
        "functions": st.dictionaries(WORDS, st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6), max_size=3),
        "link": st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6),
        "brokers": VALUES,
        "queue": VALUES,
    },
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILES)
def test_no_file_raises_anything_but_a_config_error(tmp_path: Path, data: object) -> None:
    (tmp_path / "irrigate").mkdir(exist_ok=True)
    (tmp_path / "irrigate" / "app.py").write_text("")
    path = tmp_path / "edge.yaml"
    path.write_text(json.dumps(data))
    try:
        app = edge_yaml.load(path)
    except ConfigError as error:
        assert all(line.startswith("edge.yaml:") for line in str(error).splitlines())  # noqa: PT017 - either is right
    else:
        assert from_json(json.loads(json.dumps(to_json(app)))) == app
