"""The pytest plug-in, in a suite of its own: as a user's."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGIN = "edge_runtime.testing.plugin"

pytest_plugins = ["pytester"]

APP = f"""
thing: station
devices:
  soil: {{driver: MCP3008, channel: 0, every: 1m}}
functions:
  irrigate:
    code: {ROOT / "components" / "field_station" / "irrigate"}
    handler: app.handler
    events: [{{device: soil}}]
    on_success: dt/{{thing}}/irrigate
link: {{driver: awscrt, endpoint: nobody.example, up: ["dt/{{thing}}/#"]}}
"""


def run(pytester: pytest.Pytester, *more: str) -> pytest.RunResult:
    # pytest finds the plug-in by its entry point, as users' does: the package is installed where these tests run.
    # The environment of these tests knows pytest-asyncio, which warns of what its users should set.
    return pytester.runpytest_subprocess("-p", "no:asyncio", "-W", "error", *more)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_the_package_brings_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"edge_runtime": PLUGIN}


def test_a_users_test_of_an_app(pytester: pytest.Pytester) -> None:
    tests = pytester.mkdir("tests")
    (tests / "edge.yaml").write_text(APP, encoding="utf-8")
    (tests / "test_app.py").write_text(
        """
def test_irrigates(edge):
    edge.start("edge.yaml", soil=0.5)
    edge.set("soil", 0.1)
    edge.advance("1m")
    assert edge.delivered("dt/+/irrigate")[-1]["water"] is True
    edge.outage("1h")
    edge.power_cut(off="2h")
    edge.assert_delivered("dt/#", count=63, lost=0)
    edge.assert_balanced()


def test_another_one_begins_anew(edge):
    edge.start("edge.yaml", soil=0.1)
    edge.assert_delivered("dt/#", count=2)
""",
        encoding="utf-8",
    )
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: on dt/#: 1 came to the cloud, not 2",
            "*the cloud got: dt/station/irrigate",
            "*uplink 1 1 0 0 0 0",
        ]
    )


def test_an_error_says_what_to_do(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(edge):\n    edge.advance('1m')\n")
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*HostError: the host is not running*"])


def test_who_does_not_ask_for_it_gets_nothing_of_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import sys

import pytest


@pytest.fixture
def edge():
    return "mine"


def test_nothing_was_imported(edge):
    assert edge == "mine"
    ours = sorted(name for name in sys.modules if name.startswith("edge_runtime"))
    assert ours == ["edge_runtime", "edge_runtime.testing", "edge_runtime.testing.plugin"]
    assert not {"yaml", "pydantic", "gpiozero", "sqlite_utils"} & set(sys.modules)
"""
    )
    run(pytester).assert_outcomes(passed=1)


def test_it_is_named_among_the_fixtures(pytester: pytest.Pytester) -> None:
    run(pytester, "--fixtures").stdout.fnmatch_lines(["edge -- *", "*Give a field station that has not been started*"])
