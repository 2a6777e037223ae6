"""Traces: what each line means, and what is said of one that means nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.pure.trace import Head, Kind, Recorder, Step, Trace, Wave


def read(text: str, name: str = "a.jsonl") -> list[Step]:
    return list(Trace(name, lambda: text.splitlines(keepends=True)).declared())


def refusal(text: str, name: str = "a.jsonl") -> str:
    with pytest.raises(ConfigError) as caught:
        read(text, name)
    return f"{caught.value} {caught.value.hint}".strip()


LINES: list[tuple[str, Step]] = [
    ('{"t": 0, "device": "soil", "value": 0.4}', Step(0, Kind.VALUE, "soil", 0.4)),
    ('{"t": "1d2h", "device": "air", "value": {"humidity": 51}}', Step(93_600, Kind.VALUE, "air", {"humidity": 51})),
    (
        '{"t": 1, "device": "a", "wave": {"from": 1, "to": 3, "period": "1h"}, "every": "10m"}',
        Step(1, Kind.VALUE, "a", every_s=600, series=Wave(1, 3, 3600)),
    ),
    (
        '{"t": 1, "device": "a", "cycle": [1, 0], "every": 5, "for": "1m"}',
        Step(1, Kind.VALUE, "a", every_s=5, for_s=60, series=(1, 0)),
    ),
    ('{"t": 5, "outage": "4d"}', Step(5, Kind.OUTAGE, value=0.0, for_s=345_600)),
    ('{"t": 5, "power_cut": "2h", "unknown": "10m"}', Step(5, Kind.POWER_CUT, value=600.0, for_s=7200)),
    ('{"t": 5, "clock": "-1h"}', Step(5, Kind.CLOCK, value=-3600.0)),
    ('{"t": 5, "clock": -90.5, "unknown": 60}', Step(5, Kind.CLOCK, value=-90.5, for_s=60)),
    ('{"t": 5, "clock": "30m"}', Step(5, Kind.CLOCK, value=1800.0)),
    ('{"t": 5, "fault": "soil", "how": "hangs", "for": 10}', Step(5, Kind.FAULT, "soil", "hangs", for_s=10)),
    ('{"t": 5, "publish": "cmd/a", "payload": {"on": true}}', Step(5, Kind.PUBLISH, "cmd/a", {"on": True})),
    ('{"t": 5, "command": "pump", "value": "on"}', Step(5, Kind.COMMAND, "pump", "on")),
]


@pytest.mark.parametrize(("text", "step"), LINES)
def test_each_kind_of_line(text: str, step: Step) -> None:
    (found,) = read(f"# a comment\n\n{text}\n")
    assert found == Step(step.at_s, step.kind, step.name, step.value, step.for_s, step.every_s, step.series, line=3)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "a.jsonl:1: no JSON: "),
        ('{"t": 0, "device": "a", "value": NaN}', "a.jsonl:1: no JSON: NaN is not JSON"),
        ("[1]", "a.jsonl:1: a line is one JSON object"),
        ('{"t": 0}', "a.jsonl:1: a line has `t` and one of: device, outage, power_cut, clock, fault, publish, command"),
        ('{"t": 0, "outage": 1, "clock": 1}', "a.jsonl:1: a line has `t` and one of: "),
        ('{"device": "a", "value": 1}', "a.jsonl:1: there is no `t`"),
        ('{"t": "soon", "outage": 1}', "a.jsonl:1: 'soon' is no time write 90, 1h30m or 2026-06-01T06:00:00Z"),
        ('{"t": "2026-06-01T06:00:00", "outage": 1}', "has no time zone write 2026-06-01T06:00:00Z for UTC"),
        ('{"t": 5, "outage": 1}\n{"t": 4, "outage": 1}', "a.jsonl:2: it is before the line above it"),
        ('{"t": 5, "outage": 1}\n{"t": "2026-06-01T06:00:00Z", "outage": 1}', "nobody says when t is 0"),
        ('{"start": "2026-06-01T06:00:00Z"}\n{"t": "2026-06-01T05:00:00Z", "outage": 1}', "it is before the start"),
        ('{"t": 0, "outage": 1}\n{"start": "2026-06-01T06:00:00Z"}', "a.jsonl:2: `start` and `loop` come before"),
        ('{"start": "2026-06-01T06:00:00Z", "t": 0}', "unknown key 't'"),
        ('{"loop": "1d", "times": 0}', "`times` is 0: write a number from 1 on"),
        ('{"loop": "1h"}\n{"t": "1h", "outage": 1}', "a.jsonl:2: it is not within the loop of 3600 s"),
        ('{"t": 0, "device": "a"}', "a device has one of: value, wave, cycle"),
        ('{"t": 0, "device": "a", "value": null}', "there is no value"),
        ('{"t": 0, "device": "a", "value": 1, "every": 1}', "`every` is for a wave or a cycle"),
        ('{"t": 0, "device": "a", "cycle": [], "every": 1}', "`cycle` is a list of values"),
        ('{"t": 0, "device": "a", "cycle": [1]}', "there is no `every`"),
        ('{"t": 0, "device": "a", "cycle": [1], "every": 0}', "`every` is 0, which is too short"),
        ('{"t": 0, "device": "a", "wave": {"from": 1}, "every": 1}', "`wave` has the keys from, to, period"),
        (
            '{"t": 0, "device": "a", "wave": {"from": "x", "to": 1, "period": 1}, "every": 1}',
            "a wave goes from a number to a number",
        ),
        ('{"t": 0, "device": 5, "value": 1}', "`device` is 5, and must be a name"),
        ('{"t": 0, "device": "a", "valu": 1}', "unknown key 'valu' of device known: cycle, every, for, value, wave"),
        ('{"t": 0, "fault": "a"}', "fault needs `how`"),
        ('{"t": 0, "fault": "a", "how": "melts"}', "`how` is 'melts' known: throws, hangs, nan"),
        ('{"t": 0, "outage": "long"}', "`outage`: 'long' is no duration"),
        ('{"t": 0, "clock": true}', "`clock`: True is no duration"),
    ],
)
def test_a_line_that_means_nothing_is_named(text: str, what: str) -> None:
    assert what in refusal(text)


def test_csv_is_what_devices_measure() -> None:
    steps = read('t,device,value\n0,soil,0.4\n\n1m,lamp,on\n60,"a,b","{""x"": 1}"\n', "a.csv")
    assert [(s.at_s, s.name, s.value, s.line) for s in steps] == [
        (0, "soil", 0.4, 2),
        (60, "lamp", "on", 4),
        (60, "a,b", {"x": 1}, 5),
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "a.csv:1: the first line names the columns: t,device,value"),
        ("a,b\n", "a.csv:1: the first line names the columns: t,device,value"),
        ("t,device,value\n1,soil\n", "a.csv:2: 2 columns in place of 3"),
        ("t,device,value\n1,soil,\n", "a.csv:2: there is no value"),
        ("t,device,value\n,soil,1\n", "a.csv:2: there is no `t`"),
        ("t,device,value\n1,,1\n", "a.csv:2: `device` is '', and must be a name"),
    ],
)
def test_a_bad_line_of_csv_is_named(text: str, what: str) -> None:
    assert what in refusal(text, "a.csv")


def test_iso_times_count_from_the_first_or_from_the_start() -> None:
    first = '{"t": "2026-06-01T08:00:00+02:00", "outage": 1}\n{"t": "2026-06-01T06:01:00Z", "outage": 1}\n'
    assert [step.at_s for step in read(first)] == [0, 60]
    assert [step.at_s for step in read('{"start": "2026-06-01T05:00:00Z"}\n' + first)] == [3600, 3660]


def test_the_head_is_known_without_reading_on() -> None:
    taken: list[int] = []

    def lines() -> object:
        yield '{"start": "2026-06-01T05:00:00Z"}\n'
        yield '{"loop": "1d", "times": 3}\n'
        yield '{"t": 0, "outage": 1}\n'
        taken.append(4)
        yield "{\n"

    head = Trace("a.jsonl", lines).head()  # type: ignore[arg-type]  # a generator function is what opens it
    assert head == Head(datetime(2026, 6, 1, 5, tzinfo=UTC), 86_400, 3)
    assert taken == []


def test_a_recording_can_be_read() -> None:
    for name in ("a.jsonl", "a.csv"):
        recorder = Recorder(name)
        text = recorder.head()
        for wall_s, device, value in ((1e9 + 0.25, "soil", 0.5), (1e9 + 60.25, "gps", {"lat": 1.5}), (1e9, "t", "0.5")):
            text += recorder.line(wall_s, device, value)
        steps = read(text, name)
        assert [(step.at_s, step.name, step.value) for step in steps] == [
            (0, "soil", 0.5),
            (60, "gps", {"lat": 1.5}),
            (60, "t", "0.5"),  # the clock was set back: no line may be before the one above
        ]


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for name in ("a.jsonl", "a.csv"):
        try:
            steps = read(text, name)
        except ConfigError as error:
            assert str(error).startswith(f"{name}:")  # noqa: PT017 - either outcome is right
        else:
            assert all(step.at_s >= 0 for step in steps)


@given(
    st.dictionaries(
        st.sampled_from(["t", "device", "value", "every", "for", "wave", "clock"]), st.integers() | st.text()
    )
)
def test_any_object_is_read_or_refused(line: dict[str, object]) -> None:
    try:
        read(json.dumps(line))
    except ConfigError as error:
        assert str(error).startswith("a.jsonl:1: ")  # noqa: PT017 - either outcome is right
