"""What a person copies into a device so that it finds the local broker."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edge_runtime.cli._common import clean


def credentials(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that tell a person all that a device needs to connect."""
    others = ", ".join(name for name in found["names"] if name not in (found["host"], "localhost", "127.0.0.1", "::1"))
    yield f"user      {clean(found['name'])}"
    yield f"password  {clean(found['password'])}"
    yield f"host      {clean(found['host'])}{f' (or {clean(others)})' if others else ''}"
    yield f"port      {found['port']}, TLS{_plain(found)}"
    yield f"ca        {clean(found['ca'])}, SHA-256 {clean(found['ca_sha256'])}"
    yield f"topics    {clean(' '.join(found['topics']))}"
    yield ""
    yield "The password is shown this once. To try it on this machine:"
    yield f"  {_example(found)}"
    if found["own_machine_only"]:
        yield ""
        yield "Only programs of this machine reach the broker; for devices on the network: broker: {address: 0.0.0.0}"


def _plain(found: Mapping[str, Any]) -> str:
    return f"; {found['plain_port']} without" if found["plain_port"] else ""


def _example(found: Mapping[str, Any]) -> str:
    topic = found["topics"][0].replace("+", "x").replace("#", "hello")
    words = ("-u", found["name"], "-P", found["password"], "-q", "1", "-t", topic, "-m", "hi")
    place = ("-h", "localhost", "-p", str(found["port"]), "--cafile", found["ca"])
    return clean(shlex.join(["mosquitto_pub", *place, *words]))


def _esphome(found: Mapping[str, Any]) -> Iterator[str]:
    yield "esp32:"
    yield "  framework: {type: esp-idf}      # the one that checks the broker's certificate"
    yield "mqtt:"
    yield f"  broker: {found['host']}"
    yield f"  port: {found['port']}"
    yield f"  username: {found['name']}"
    yield f'  password: "{found["password"]}"'
    yield f"  topic_prefix: {found['name']}"
    yield "  skip_cert_cn_check: false"
    yield "  certificate_authority: |"
    yield from _indented(found["ca_pem"], "    ")


def _zigbee2mqtt(found: Mapping[str, Any]) -> Iterator[str]:
    yield "mqtt:"
    yield f"  server: mqtts://{found['host']}:{found['port']}"
    yield "  base_topic: zigbee2mqtt"
    yield f"  user: {found['name']}"
    yield f'  password: "{found["password"]}"'
    yield f"  ca: {found['ca']}                # a copy that Zigbee2MQTT can read"
    yield "  reject_unauthorized: true"


def _tasmota(found: Mapping[str, Any]) -> Iterator[str]:
    port = found["plain_port"] or found["port"]
    parts = (f"MqttHost {found['host']}", f"MqttPort {port}", f"MqttUser {found['name']}")
    yield f"Backlog {'; '.join(parts)}; MqttPassword {found['password']}; Topic {found['name']}"
    if not found["plain_port"]:
        yield "That port speaks TLS. It takes a Tasmota built with it and SetOption103 1; or a plain_port."


def _arduino(found: Mapping[str, Any]) -> Iterator[str]:
    yield "#include <WiFiClientSecure.h>"
    yield "#include <PubSubClient.h>"
    yield 'static const char CA[] = R"('
    yield from _indented(found["ca_pem"], "")
    yield ')";'
    yield "WiFiClientSecure network;"
    yield "PubSubClient mqtt(network);"
    yield "// in setup(), when WiFi is connected:"
    yield "//   network.setCACert(CA);"
    yield f'//   mqtt.setServer("{found["host"]}", {found["port"]});'
    yield f'//   mqtt.connect("{found["name"]}", "{found["name"]}", "{found["password"]}");'


def _indented(text: str, space: str) -> Iterator[str]:
    return (space + line for line in text.splitlines())


SNIPPETS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "esphome": _esphome,
    "zigbee2mqtt": _zigbee2mqtt,
    "tasmota": _tasmota,
    "arduino": _arduino,
}
"""By the firmware or library of a device: the lines of its configuration."""
