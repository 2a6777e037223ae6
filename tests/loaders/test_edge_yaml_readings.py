"""`edge.yaml`: what readings become, and the levels they cross."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.app import Measure, Rule, Threshold
from tests.loaders.appfile import load, wrong

AIR = '''
class Air:
    """A sensor of three parts."""

    unit = {"temperature": "°C", "humidity": "%"}
    value = {"temperature": 20.0, "humidity": 50.0, "count": 3}

    def close(self):
        """Do nothing."""
'''
LINE = '''
class Line:
    """A device that hands over its readings."""

    value = None
    when_read = None

    def close(self):
        """Do nothing."""
'''


@pytest.fixture(autouse=True)
def _drivers(folder: Path) -> None:
    (folder / "hardware").mkdir()
    (folder / "hardware" / "air.py").write_text(AIR)
    (folder / "hardware" / "line.py").write_text(LINE)


def test_measures_by_part(folder: Path) -> None:
    text = """\
thing: a
devices:
  air:
    driver: air
    every: 60s
    offset: -0.5
    parts:
      temperature: {range: [-40, 85], round: 1, deadband: 0.2}
      humidity: {unit: "%rF", range: [0, 100], deadband: 2%, scale: 1.5}
    thresholds:
      too_hot: {above: 30, hysteresis: 1, part: temperature}
      dry: {below: 20, part: humidity}
  soil: {driver: MCP3008, channel: 0, every: 1s, scale: 3.3, unit: V, deadband: 1%}
  line: {driver: line, range: [0, 5], on_change: yes, heartbeat: 1h, thresholds: {full: {above: 4}}}
  plain: {driver: line}
"""
    air, soil, line, plain = load(folder, text).devices
    assert air.measures == {
        "": Measure(offset=-0.5),
        "temperature": Measure(digits=1, least=-40, most=85, deadband=0.2),
        "humidity": Measure(scale=1.5, unit="%rF", least=0, most=100, deadband_share=0.02),
    }
    assert air.thresholds == (
        Threshold("too_hot", above=30, hysteresis=1, part="temperature"),
        Threshold("dry", below=20, part="humidity"),
    )
    assert soil.measures == {"": Measure(scale=3.3, unit="V", deadband_share=0.01)}
    assert (line.measures, line.heartbeat_s) == ({"": Measure(least=0, most=5)}, 3600.0)
    assert plain.measures == {}


def test_what_readings_tell_sets_functions_off(folder: Path) -> None:
    text = """\
thing: a
devices:
  air: {driver: air, every: 1s, thresholds: {too_hot: {above: 30, part: temperature}}}
  line: {driver: line}
functions:
  f:
    code: irrigate
    handler: app.x
    events:
      - {device: air}
      - {device: air, on: too_hot}
      - {device: air, on: no_too_hot}
      - {device: air, on: fault}
      - {device: line}
      - {device: line, on: recovered}
"""
    topics = ["air", "air/too_hot", "air/no_too_hot", "air/fault", "line", "line/recovered"]
    assert load(folder, text).rules == tuple(Rule(f"device/{topic}", ("function/f",)) for topic in topics)


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        ("driver: LED, pin: 1, scale: 2", "x.scale: says what a reading becomes, so it needs 'every'"),
        (
            "driver: Button, pin: 1, thresholds: {a: {above: 1}}",
            "x.thresholds: says what a reading becomes, so it needs 'every'",
        ),
        (
            "driver: air, every: 1s, thresholds: {too_hot: {above: 30}}",
            (
                "x.thresholds.too_hot: a reading of air has parts; say which one, as in part: temperature; "
                "known: temperature, humidity"
            ),
        ),
        (
            "driver: air, every: 1s, thresholds: {fault: {above: 30, part: humidity}}",
            (
                "x.thresholds.fault: 'fault' is no name of a threshold; allowed: small letters, digits and _, "
                "as in too_hot; not "
            ),
        ),
        (
            "driver: line, range: [0, 5], thresholds: {full: {above: 6}}",
            "x.thresholds.full: 6 is out of the range of the readings, 0 to 5",
        ),
        (
            "driver: line, range: [0, 5], thresholds: {full: {above: 4, hysteresis: 9}}",
            "x.thresholds.full.hysteresis: with a hysteresis of 9 it is never back within the range of the readings",
        ),
        (
            "driver: line, thresholds: {full: {above: 4, below: 3}}",
            "x.thresholds.full: exactly one of above and below says where the threshold is; found both",
        ),
        ("driver: line, range: [5, 0]", "x: the range [5.0, 0.0] is empty; write the least and the greatest value"),
        ("driver: line, scale: 0", "x: a scale of 0 makes every reading the same"),
        ("driver: line, scale: .nan", "x.scale: "),
        ("driver: line, deadband: 200%", "x.deadband"),
        ("driver: line, deadband: lots", "x.deadband"),
        ("driver: line, parts: {a: {scal: 2}}", "x.parts.a.scal: unknown key; did you mean 'scale'? allowed: scale, "),
        ("driver: line, parts: {a: 3}", "x.parts.a: 3 is no mapping; write {key: value}"),
    ],
)
def test_one_mistake_gets_one_line(folder: Path, device: str, problem: str) -> None:
    [line] = wrong(folder, f"thing: a\ndevices: {{x: {{{device}}}}}")
    assert line.startswith(f"edge.yaml:2: devices.{problem}")


@pytest.mark.parametrize(
    ("device", "on", "words"),
    [
        (
            "driver: air, every: 1s, thresholds: {too_hot: {above: 30, part: temperature}}",
            "to_hot",
            "a air has no event 'to_hot'; did you mean 'too_hot'? known: too_hot, no_too_hot, fault, recovered",
        ),
        ("driver: Button, pin: 1, every: 1s", "pressed", "a Button has no event 'pressed'; known: fault, recovered"),
        ("driver: line", "read", "a line has no event 'read'; known: fault, recovered"),
    ],
)
def test_an_event_that_a_device_never_emits(folder: Path, device: str, on: str, words: str) -> None:
    [line] = wrong(
        folder,
        f"thing: a\ndevices: {{d: {{{device}}}}}\nfunctions:\n"
        f"  f: {{code: irrigate, handler: app.x, events: [{{device: d, on: {on}}}]}}",
    )
    assert line == f"edge.yaml:4: functions.f.events[0].on: {words}"
