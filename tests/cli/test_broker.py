"""`edge broker`, with a host that answers as told, and without one."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_runtime.errors import ConfigError
from tests.cli.fakehost import edge, running

FOUND = {
    "name": "lamp",
    "password": "abc2defg3hijk4mnpq5rstu",
    "host": "192.0.2.7",
    "names": ["pi-7", "pi-7.local", "localhost", "127.0.0.1", "::1", "192.0.2.7"],
    "port": 8883,
    "plain_port": 0,
    "ca": ".edge/broker/ca.pem",
    "ca_sha256": "ab" * 32,
    "ca_pem": "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n",
    "topics": ["lamp/#"],
    "own_machine_only": False,
}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "edge.yaml"
    path.write_text("thing: pi-7\nbroker: {port: 8884}\n", encoding="utf-8")
    return path


def test_the_credentials_are_all_that_a_device_needs(tmp_path: Path) -> None:
    with running(tmp_path, {"broker": FOUND}) as host:
        result = edge(["broker", "add-device", "lamp", "--state", tmp_path])
    assert host.asked == [("broker", {"op": "add", "name": "lamp", "topics": ["lamp/#"]})]
    assert result.stdout.splitlines() == [
        "user      lamp",
        "password  abc2defg3hijk4mnpq5rstu",
        "host      192.0.2.7 (or pi-7, pi-7.local)",
        "port      8883, TLS",
        f"ca        .edge/broker/ca.pem, SHA-256 {'ab' * 32}",
        "topics    lamp/#",
        "",
        "The password is shown this once. To try it on this machine:",
        (
            "  mosquitto_pub -h localhost -p 8883 --cafile .edge/broker/ca.pem -u lamp -P abc2defg3hijk4mnpq5rstu"
            " -q 1 -t lamp/hello -m hi"
        ),
    ]


def test_the_topics_are_those_given_or_those_of_the_firmware(tmp_path: Path) -> None:
    with running(tmp_path, {"broker": FOUND}) as host:
        edge(["broker", "add-device", "lamp", "--state", tmp_path, "--topics", "a/#", "--topics", "b"])
        edge(["broker", "add-device", "lamp", "--state", tmp_path, "--as", "zigbee2mqtt"])
    assert [asked["topics"] for _, asked in host.asked] == [["a/#", "b"], ["zigbee2mqtt/#", "homeassistant/#"]]


def snippet(state: Path, kind: str, **more: object) -> str:
    """Return what is printed for a kind of device after the credentials."""
    with running(state, {"broker": {**FOUND, **more}}):
        shown = edge(["broker", "passwd", "lamp", "--state", state, "--as", kind]).stdout
    return shown.partition("-m hi\n\n")[2]


def test_what_is_copied_into_esphome(tmp_path: Path) -> None:
    assert yaml.safe_load(snippet(tmp_path, "esphome")) == {
        "esp32": {"framework": {"type": "esp-idf"}},
        "mqtt": {
            "broker": "192.0.2.7",
            "port": 8883,
            "username": "lamp",
            "password": FOUND["password"],
            "topic_prefix": "lamp",
            "skip_cert_cn_check": False,
            "certificate_authority": FOUND["ca_pem"],
        },
    }


def test_what_is_copied_into_zigbee2mqtt(tmp_path: Path) -> None:
    assert yaml.safe_load(snippet(tmp_path, "zigbee2mqtt"))["mqtt"] == {
        "server": "mqtts://192.0.2.7:8883",
        "base_topic": "zigbee2mqtt",
        "user": "lamp",
        "password": FOUND["password"],
        "ca": ".edge/broker/ca.pem",
        "reject_unauthorized": True,
    }


def test_what_is_copied_into_tasmota(tmp_path: Path) -> None:
    assert snippet(tmp_path, "tasmota", plain_port=1883) == (
        "Backlog MqttHost 192.0.2.7; MqttPort 1883; MqttUser lamp; MqttPassword abc2defg3hijk4mnpq5rstu; Topic lamp\n"
    )
    assert "MqttPort 8883" in snippet(tmp_path, "tasmota")
    assert "It takes a Tasmota built with it and SetOption103 1" in snippet(tmp_path, "tasmota")


def test_what_is_copied_into_a_sketch(tmp_path: Path) -> None:
    text = snippet(tmp_path, "arduino")
    assert f'R"(\n{FOUND["ca_pem"]})";' in text
    assert 'mqtt.connect("lamp", "lamp", "abc2defg3hijk4mnpq5rstu")' in text


def test_a_broker_of_this_machine_alone_says_how_to_open_it(tmp_path: Path) -> None:
    with running(tmp_path, {"broker": {**FOUND, "own_machine_only": True}}):
        result = edge(["broker", "passwd", "lamp", "--state", tmp_path])
    assert result.stdout.splitlines()[-1] == (
        "Only programs of this machine reach the broker; for devices on the network: broker: {address: 0.0.0.0}"
    )


def test_what_the_host_refuses_is_an_error(tmp_path: Path) -> None:
    with running(tmp_path, {"broker": ConfigError("there is a device 'lamp' already", hint="edge broker passwd lamp")}):
        result = edge(["broker", "add-device", "lamp", "--state", tmp_path])
    assert result.exit_code == 1
    assert result.stderr == "error: there is a device 'lamp' already\nhint: edge broker passwd lamp\n"


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["host.in"], "'host.in' is no name of a device; allowed: 1 to 64 letters, digits, - and _"),
        (["lamp", "--topics", "a/#/b"], "topic filter 'a/#/b': '#' may only be the last level"),
        (["lamp", "--topics", "$SYS/#"], "topic filter '$SYS/#': topics that begin with $ are the broker's own"),
    ],
)
def test_a_bad_name_or_topic_is_refused_at_once(app: Path, args: list[str], why: str) -> None:
    result = edge(["broker", "add-device", *args, "--app", app])
    assert (result.exit_code, result.stderr) == (1, f"error: {why}\n")


def test_without_a_host_it_is_all_done_in_the_folder(app: Path) -> None:
    def run(*args: str) -> Any:  # noqa: ANN401 - JSON
        return json.loads(edge(["broker", *args, "--app", app, "--json"]).stdout)

    assert run("ls") == []
    first = run("add-device", "lamp", "--as", "esphome")
    assert (first["name"], first["port"], first["topics"]) == ("lamp", 8884, ["lamp/#", "homeassistant/+/lamp/#"])
    assert re.fullmatch("[a-z2-9]{23}", first["password"])
    assert Path(first["ca"]) == app.parent / ".edge" / "broker" / "ca.pem"
    assert first["ca_pem"] == Path(first["ca"]).read_text(encoding="ascii")
    second = run("passwd", "lamp")
    assert second == {**first, "password": second["password"]}
    assert second["password"] != first["password"]
    assert run("ls") == [{"name": "lamp", "topics": ["lamp/#", "homeassistant/+/lamp/#"]}]
    assert edge(["broker", "ls", "--app", app]).stdout.splitlines() == [
        "DEVICE  TOPICS",
        "lamp    lamp/#, homeassistant/+/lamp/#",
    ]
    again = edge(["broker", "add-device", "lamp", "--app", app])
    assert again.stderr == (
        "error: there is a device 'lamp' already\n"
        "hint: a new password: edge broker passwd lamp; other topics: edge broker remove-device lamp\n"
    )
    assert edge(["broker", "remove-device", "lamp", "--app", app]).stdout == "lamp can connect no more\n"
    assert edge(["broker", "ls", "--app", app]).stdout == "no device may connect yet: edge broker add-device NAME\n"
    assert edge(["broker", "passwd", "lamp", "--app", app]).stderr == (
        "error: there is no device 'lamp'\n"
        "hint: let it connect: edge broker add-device lamp; see those there are: edge broker ls\n"
    )


def test_the_configuration_is_the_one_that_mosquitto_gets(app: Path) -> None:
    shown = edge(["broker", "config", "--app", app]).stdout
    assert "listener 8884 127.0.0.1\n" in shown
    assert "allow_anonymous false\n" in shown


def test_an_app_without_a_broker_says_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text("thing: pi-7\n", encoding="utf-8")
    for verb in (["ls"], ["config"], ["add-device", "lamp"]):
        result = edge(["broker", *verb, "--app", tmp_path])
        assert result.exit_code == 1
        assert result.stderr == (
            f"error: {tmp_path}/edge.yaml declares no broker\nhint: write into it: broker: {{address: 0.0.0.0}}\n"
        )


def test_a_folder_of_another_user_is_named(app: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    assert edge(["broker", "add-device", "lamp", "--app", app]).exit_code == 0
    os.chown(app.parent / ".edge" / "broker", 65_534, -1)
    result = edge(["broker", "add-device", "fan", "--app", app])
    assert result.stderr.splitlines()[-1] == "hint: run it as that user: sudo -u nobody edge ..."
