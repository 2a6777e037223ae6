"""`edge.yaml`: what a right file declares."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edge_runtime.app import (
    App,
    Broker,
    Destination,
    Device,
    Function,
    LinkSpec,
    Measure,
    Overflow,
    QueueLimits,
    RoleAlias,
    Rule,
    Schedule,
    StoreLimits,
    Uplink,
)
from edge_runtime.errors import ConfigError
from edge_runtime.loaders import edge_yaml
from tests.loaders.appfile import load

STATION = """\
thing: field-station-1
devices:
  soil:   {driver: MCP3008, channel: 0, every: 10s, deadband: 0.02}
  button: {driver: Button, pin: 17, debounce: 50ms}
  pump:   {driver: OutputDevice, pin: 27}
  load:   {driver: LoadAverage, every: 5s, on_change: yes, heartbeat: 1h}
functions:
  irrigate:
    code: ./irrigate            # a folder or a zip, as for AWS Lambda
    handler: app.handler
    timeout: 3s
    memory: 128
    environment: {THRESHOLD: 0.30, DEBUG: true, NAME: "x"}
    events: [{device: soil}, {device: button, on: pressed}, {topic: "cmd/irrigate/#"}, {schedule: rate(5 minutes)}]
    on_success: dt/{thing}/irrigate
    queue: {limit: 1MB, ttl: 1h}
  report:
    code: irrigate
    handler: app.report
    timeout: 20
    concurrency: 2
    retries: 5
    retry_wait: 1s
    idle: 5m
    on_failure: failed/report
    events:
      - {device: button}
      - {device: pump, priority: 1}
      - schedule: cron(0 10 ? * MON-FRI *)
        timezone: Europe/Berlin
        misfire: all
      - {schedule: rate(1 day)}
link:
  driver: awscrt
  endpoint: abc-ats.iot.eu-central-1.amazonaws.com
  certificate: certs/device.pem
  key: /etc/edge/device.key
  up: ["dt/{thing}/#", {topic: "alarm/#", priority: 0}]
  down: ["cmd/{thing}/#"]
  pack: 20
  queue: {when_full: reject_new}
queue: {limit: 256MB, keep_free: 10%, when_full: keep_latest, ttl: 30d}
brokers:
  zigbee: {host: localhost, topics: ["zigbee2mqtt/#"], prefix: "zigbee/{thing}", password: 0012, ca: ca.pem, tls: on,
           version: 5, keep_alive_s: 20}
  plain: {host: 10.0.0.1, port: 1884}
"""


def test_a_whole_file_becomes_an_app(folder: Path) -> None:
    app = load(folder, STATION)
    assert app.thing == "field-station-1"
    assert app.base == folder
    assert app.devices == (
        Device("soil", "MCP3008", {"channel": 0}, every_s=10.0, measures={"": Measure(deadband=0.02)}),
        Device("button", "Button", {"pin": 17}, debounce_s=0.05),
        Device("pump", "OutputDevice", {"pin": 27}),
        Device("load", "LoadAverage", every_s=5.0, on_change=True, heartbeat_s=3600.0),
    )
    assert app.functions == (
        Function(
            "irrigate",
            folder / "irrigate",
            "app.handler",
            environment={"THRESHOLD": "0.30", "DEBUG": "true", "NAME": "x"},
            on_success=Destination("dt/field-station-1/irrigate"),
        ),
        Function(
            "report",
            folder / "irrigate",
            "app.report",
            timeout_s=20.0,
            concurrency=2,
            retries=5,
            retry_wait_s=1.0,
            idle_s=300.0,
            on_failure=Destination("failed/report", record=True),
        ),
    )
    assert app.schedules == (
        Schedule("irrigate", "rate(5 minutes)"),
        Schedule("report-1", "cron(0 10 ? * MON-FRI *)", "Europe/Berlin", "all"),
        Schedule("report-2", "rate(1 day)"),
    )
    options = {"password": "0012", "ca": f"{folder}/ca.pem", "tls": True, "version": "5", "keep_alive_s": 20}
    assert app.brokers == (
        Broker("zigbee", "localhost", 1883, ("zigbee2mqtt/#",), "zigbee/field-station-1", options),
        Broker("plain", "10.0.0.1", 1884),
    )
    assert app.limits == StoreLimits(256_000_000, 0.1)
    assert app.queues == {
        "": QueueLimits(0, 30 * 86400.0, Overflow.KEEP_LATEST),
        "function/irrigate": QueueLimits(1_000_000, 3600.0, Overflow.KEEP_LATEST),
        "uplink": QueueLimits(0, 30 * 86400.0, Overflow.REJECT_NEW),
    }


def test_events_become_rules(folder: Path) -> None:
    irrigate, report = ("function/irrigate",), ("function/report",)
    assert load(folder, STATION).rules == (
        Rule("device/pump/set", ("device/pump",)),
        Rule("device/soil", irrigate),
        Rule("device/button/pressed", irrigate),
        Rule("cmd/irrigate/#", irrigate),
        Rule("schedule/irrigate", irrigate),
        Rule("device/button/+", report),
        Rule("device/pump", report, 1),
        Rule("schedule/report-1", report),
        Rule("schedule/report-2", report),
    )


def test_a_link_to_aws_gets_the_quotas_of_aws(folder: Path) -> None:
    assert load(folder, STATION).link == LinkSpec(
        "awscrt",
        {
            "endpoint": "abc-ats.iot.eu-central-1.amazonaws.com",
            "certificate": str(folder / "certs" / "device.pem"),
            "key": "/etc/edge/device.key",
            "client_id": "field-station-1",
        },
        Uplink(
            up=(Rule("dt/field-station-1/#", ("uplink",)), Rule("alarm/#", ("uplink",), 0)),
            down=("cmd/field-station-1/#",),
            window=100,
            publishes_per_s=100.0,
            bytes_per_s=512 * 1024.0,
            pack=20,
            aws_quotas=True,
        ),
    )


def test_a_link_elsewhere_is_not_bounded(folder: Path) -> None:
    link = load(folder, "thing: a\nlink: {driver: paho, endpoint: broker.local, client_id: b, up: [x]}").link
    assert link == LinkSpec(
        "paho",
        {"endpoint": "broker.local", "client_id": "b"},
        Uplink(up=(Rule("x", ("uplink",)),), publishes_per_s=0.0, bytes_per_s=0.0, aws_quotas=False),
    )


def test_what_is_set_holds_for_any_link(folder: Path) -> None:
    text = (
        "thing: a\nlink: {driver: paho, endpoint: x, window: 7, publishes_per_s: 5, bytes_per_s: 10KB, aws_quotas: on}"
    )
    link = load(folder, text).link
    assert link is not None
    assert link.uplink == Uplink(window=7, publishes_per_s=5.0, bytes_per_s=10_000.0, aws_quotas=True)


def test_the_role_of_functions(folder: Path) -> None:
    (folder / "pi.pem").touch()
    (folder / "pi.key").touch()
    files = "driver: paho, endpoint: x.example, certificate: pi.pem, key: pi.key"
    one = load(folder, f"thing: a\nlink: {{{files}, credentials: {{endpoint: c.example, role_alias: edge}}}}")
    assert one.link is not None
    assert one.link.credentials == RoleAlias("c.example", "edge", 443)
    core = load(folder, "thing: a\nlink: {driver: greengrass, credentials: greengrass}")
    assert core.link is not None
    assert core.link.credentials == RoleAlias()


def test_the_least_file(folder: Path) -> None:
    assert load(folder, "thing: a\ndevices:\nfunctions:\nqueue:\n") == App("a", folder, queues={"": QueueLimits()})


def test_code_may_be_a_zip_and_deep(folder: Path) -> None:
    with zipfile.ZipFile(folder / "code.zip", "w") as archive:
        archive.writestr("pkg/__init__.py", "")
        archive.writestr("src/main.py", "")
    for handler in ("pkg.handler", "src/main.handler", "src.main.handler"):
        app = load(folder, f"thing: a\nfunctions: {{f: {{code: code.zip, handler: {handler}}}}}")
        assert app.functions[0].code == folder / "code.zip"


def test_other_runtimes_have_other_files(folder: Path) -> None:
    (folder / "irrigate" / "index.mjs").write_text("")
    (folder / "irrigate" / "bootstrap").write_text("")
    app = load(
        folder,
        "thing: a\nfunctions:\n  n: {code: irrigate, handler: index.api.handler, runtime: nodejs20.x}\n"
        "  r: {code: irrigate, runtime: provided.al2023}\n",
    )
    assert [(f.runtime, f.handler) for f in app.functions] == [
        ("nodejs20.x", "index.api.handler"),
        ("provided.al2023", ""),
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"edge.yaml cannot be read: No such file or directory") as caught:
        edge_yaml.load(tmp_path / "edge.yaml")
    assert caught.value.hint == "make a new one: edge init"


def test_it_reads_files_by_their_ending() -> None:
    assert edge_yaml.accepts(Path("edge.yaml"))
    assert edge_yaml.accepts(Path("other.yml"))
    assert not edge_yaml.accepts(Path("edge.toml"))


def test_a_driver_of_ones_own_lies_beside_the_app_file(tmp_path: Path) -> None:
    (tmp_path / "hardware").mkdir()
    source = "class Tank:\n    value = 0\n    def __init__(self, bus, rate=1):\n        pass\n"
    (tmp_path / "hardware" / "tank_of_mine.py").write_text(source)
    app = load(tmp_path, "thing: a\ndevices:\n  tank: {driver: tank_of_mine, bus: 1, every: 1s}\n")
    assert app.devices == (Device("tank", "tank_of_mine", {"bus": 1}, every_s=1.0),)
    with pytest.raises(ConfigError, match=r"edge\.yaml:3: devices\.tank\.bux: unknown key"):
        load(tmp_path, "thing: a\ndevices:\n  tank: {driver: tank_of_mine, bux: 1, every: 1s}\n")


def test_a_key_in_a_token_keeps_its_pin_as_it_is_written_and_its_paths_are_made_full(tmp_path: Path) -> None:
    full = "{module: lib/token.so, token: 12, key: 034, pin: 001234}"
    app = load(tmp_path, f"thing: a\nlink: {{driver: awscrt, endpoint: x, certificate: c, pkcs11: {full}}}")
    assert app.link is not None
    assert app.link.options["pkcs11"] == {
        "module": str(tmp_path / "lib" / "token.so"),
        "token": "12",
        "key": "034",
        "pin": "001234",
    }
    named = "{module: libtoken.so, token: t, pin_file: certs/pin}"
    app = load(tmp_path, f"thing: a\nlink: {{driver: awscrt, endpoint: x, certificate: c, pkcs11: {named}}}")
    assert app.link is not None
    assert app.link.options["pkcs11"] == {
        "module": "libtoken.so",
        "token": "t",
        "pin_file": str(tmp_path / "certs" / "pin"),
    }
