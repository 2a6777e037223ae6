"""The field station that users test their apps with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError, HostError, NotFoundError
from edge_runtime.host.stage import scratch_folder
from edge_runtime.testing.station import Edge

ROOT = Path(__file__).parents[2]
APP = f"""
thing: station
devices:
  soil: {{driver: MCP3008, channel: 0, every: 1m}}
  air: {{driver: MCP3008, channel: 1, every: 1m}}
  door: {{driver: Button, pin: 17}}
  pump: {{driver: OutputDevice, pin: 27}}
functions:
  irrigate:
    code: {ROOT / "components" / "field_station" / "irrigate"}
    handler: app.handler
    events: [{{device: soil}}]
    on_success: dt/{{thing}}/irrigate
  daily:
    code: {ROOT / "components" / "field_station" / "daily"}
    handler: app.handler
    events: [{{schedule: "cron(0 6 * * ? *)"}}]
    on_success: dt/{{thing}}/daily
link:
  driver: awscrt
  endpoint: nobody.example
  up: ["dt/{{thing}}/#", device/door/pressed]
  down: [device/pump/set]
"""


@pytest.fixture
def edge() -> Iterator[Edge]:
    with scratch_folder() as folder, Edge(folder) as station:
        yield station


def test_a_day_in_the_life_of_an_app(edge: Edge) -> None:
    edge.start(APP, soil=0.5)
    assert edge.delivered("dt/+/irrigate")[0]["water"] is False
    edge.set("soil", 0.1)
    edge.advance("1m")
    assert edge.delivered("dt/+/irrigate")[-1]["water"] is True
    edge.advance("7h")
    assert edge.delivered("dt/station/daily") == [{"alive": True, "day": "2026-01-01"}]
    assert edge.now.isoformat() == "2026-01-01T07:01:00+00:00"
    edge.assert_delivered("dt/+/irrigate", count=1 + 1 + 420, duplicates=0)
    edge.assert_balanced()


def test_inputs_outputs_and_commands_from_the_cloud(edge: Edge) -> None:
    edge.start(APP)
    edge.set("door", 1)
    assert edge.events("device/door/#") == []  # it has to be steady for its debounce time
    edge.advance("20ms")
    (pressed,) = edge.delivered("device/door/pressed")
    assert (pressed["detail"]["device"], pressed["detail"]["value"]) == ("door", 1)
    edge.send("device/pump/set", "on")
    assert edge.value("pump") == 1
    edge.command("pump", "off")
    assert edge.value("pump") == 0
    assert [event["detail"]["value"] for event in edge.events("device/pump")] == [1, 0]
    assert edge.invoke("irrigate", {"detail": {"device": "x", "value": 0.9}})["water"] is False
    edge.publish("dt/station/note", {"text": "hello"})
    assert edge.delivered("dt/station/note") == [{"text": "hello"}]


def test_what_is_accepted_without_a_link_arrives_in_the_end(edge: Edge) -> None:
    edge.start(APP, soil=0.5)
    edge.cut_link()
    edge.send("device/pump/set", "on")
    edge.advance("2h")
    assert (edge.value("pump"), len(edge.delivered("dt/#"))) == (0, 1)
    edge.assert_delivered("dt/+/irrigate", count=1, lost=120)
    edge.power_cut("1h")
    edge.advance("1h")
    assert edge.waiting == 120 + 1 + 60
    edge.mend_link()
    edge.drain()
    edge.assert_delivered("dt/+/irrigate", count=1 + 120 + 1 + 60)
    edge.outage("30m")
    edge.assert_delivered("dt/+/irrigate", lost=0, duplicates=0)
    edge.assert_balanced()


def test_a_power_cut_leaves_what_was_on_disk(edge: Edge) -> None:
    edge.start(APP, at="2026-06-01T06:00:00Z", soil=0.5)
    edge.cut_link()
    edge.set("soil", 0.4)
    edge.command("pump", 1)
    edge.power_cut("2h", clock_right=False)
    assert edge.now.isoformat() == "2026-06-01T06:00:00+00:00"  # the clock stood still, and knows no better
    assert edge.value("soil") == pytest.approx(0.4, abs=0.001)
    assert edge.value("pump") == 0
    edge.set_clock("2h")
    assert edge.now.isoformat() == "2026-06-01T08:00:00+00:00"
    edge.set_clock("30m", back=True, right=False)
    assert edge.now.isoformat() == "2026-06-01T08:00:00+00:00"  # no time is told that has been
    edge.mend_link()
    edge.drain()
    edge.assert_delivered("dt/+/irrigate", count=2)


@pytest.mark.parametrize(
    ("how", "reason"),
    [("throws", "does not answer"), ("nan", "nan"), ("hangs", "has not come back")],
)
def test_a_sensor_that_fails_is_told_and_stops_no_other(edge: Edge, how: str, reason: str) -> None:
    edge.start(APP, soil=0.5, air=0.5)
    edge.fail("soil", how)
    edge.advance("10m")
    (fault,) = edge.events("device/soil/fault")
    assert reason in fault["detail"]["reason"].lower()
    assert len(edge.events("device/air")) == 11
    edge.set("soil", 0.25)
    edge.mend("soil")
    edge.advance("5m")
    assert edge.delivered("dt/+/irrigate")[-1]["moisture"] == pytest.approx(0.25, abs=0.001)


def test_what_a_test_gets_wrong_is_said(edge: Edge) -> None:
    with pytest.raises(HostError, match="not running"):
        edge.advance("1m")
    with pytest.raises(HostError, match="not running"):
        edge.assert_balanced()
    with pytest.raises(ConfigError, match=r"there is no app 'nowhere\.yaml'"):
        edge.start("nowhere.yaml")
    with pytest.raises(NotFoundError, match="there is no device 'soli'; did you mean 'soil'"):
        edge.start(APP, soli=0.5)
    with pytest.raises(ConfigError, match="has no time zone"):
        edge.start(APP, at="2026-06-01T06:00:00")
    with pytest.raises(ConfigError, match="cannot measure 'wet'"):
        edge.start(APP, soil="wet")
    edge.start(APP)
    with pytest.raises(HostError, match="runs already"):
        edge.start(APP)
    with pytest.raises(NotFoundError, match="there is no device 'tank'"):
        edge.value("tank")
    with pytest.raises(ConfigError, match="not read, so it cannot fail"):
        edge.fail("door")
    with pytest.raises(ConfigError, match="cannot fail as 'melts'"):
        edge.fail("soil", "melts")
    with pytest.raises(ValueError, match="no duration"):
        edge.advance("soon")
    with pytest.raises(AssertionError, match=r"1 came to the cloud, not 5\nthe cloud got: dt/station/irrigate"):
        edge.assert_delivered("dt/#", count=5)
    with pytest.raises(AssertionError, match="0 came to the cloud, not any"):
        edge.assert_delivered("dt/station/daily")
    with pytest.raises(AssertionError, match=r"function 'irrigate' failed: .*KeyError"):
        edge.invoke("irrigate", {})
    edge.stop()
    assert len(edge.delivered()) == 1
    edge.assert_balanced()
    with pytest.raises(HostError, match="not running"):
        edge.set("soil", 1)


def test_a_queue_that_never_empties_is_said(edge: Edge) -> None:
    edge.start(APP)
    edge.cut_link()
    edge.advance("1m")
    with pytest.raises(AssertionError, match="1 messages still wait after 1h"):
        edge.drain("1h")


def test_an_app_without_a_link_has_no_cloud(edge: Edge) -> None:
    edge.start(APP.partition("link:")[0])
    edge.advance("1m")
    assert len(edge.events("device/soil")) == 2
    with pytest.raises(ConfigError, match="the app has no link"):
        edge.outage("1h")


def test_who_does_not_come_to_rest_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text("import time\n\n\ndef handler(event, context):\n    time.sleep(30)\n")
    (tmp_path / "edge.yaml").write_text(
        "thing: a\nfunctions:\n  slow: {code: ./code, handler: app.handler, timeout: 60s, events: [{topic: go}]}\n"
    )
    began = time.monotonic()
    with Edge(tmp_path / "edge", (tmp_path,), rest_s=1.5) as edge:
        edge.start("edge.yaml")
        with pytest.raises(HostError, match=r"not come to rest within 1\.5 s"):
            edge.publish("go", 1)
        assert time.monotonic() - began < 10
