"""What mosquitto is told, as exact text."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.app import LocalBroker
from edge_runtime.errors import ConfigError
from edge_runtime.pure import mosquitto
from edge_runtime.pure.mosquitto import Access

CONFIGURATION = """\
# Written by edge at each start: change edge.yaml instead.
allow_anonymous false
password_file passwd
acl_file acl
listener 8883 127.0.0.1
use_username_as_clientid true
certfile server.pem
keyfile server.key
tls_version tlsv1.2
persistence true
persistence_location ./
persistence_file mosquitto.db
autosave_interval 300
persistent_client_expiration 14d
queue_qos0_messages true
max_queued_messages 0
max_queued_bytes 16777216
max_inflight_messages 100
max_packet_size 1052672
set_tcp_nodelay true
sys_interval 0
connection_messages true
log_dest stderr
log_timestamp false
log_type error
log_type warning
log_type notice
log_type information
"""


def test_the_configuration() -> None:
    assert mosquitto.configuration(LocalBroker()) == CONFIGURATION


def test_a_second_port_has_no_tls_and_no_anonymous_clients_either() -> None:
    text = mosquitto.configuration(LocalBroker(port=8884, address="0.0.0.0", plain_port=1884))  # noqa: S104 - a text
    assert text == CONFIGURATION.replace("listener 8883 127.0.0.1", "listener 8884 0.0.0.0").replace(
        "tls_version tlsv1.2\n", "tls_version tlsv1.2\nlistener 1884 0.0.0.0\nuse_username_as_clientid true\n"
    )


def test_the_broker_tells_of_itself_to_who_listens() -> None:
    assert "sys_interval 10\n" in mosquitto.configuration(LocalBroker(topics=("a/#", "$SYS/broker/uptime")))


def test_the_access_list() -> None:
    spec = LocalBroker(topics=("#",), publish=("zigbee2mqtt/+/set", "lamp/cmd"))
    users = mosquitto.users(spec, {"lamp": ["lamp/#"], "z2m": ["zigbee2mqtt/#", "homeassistant/#"]})
    assert mosquitto.access(users) == (
        "user host.in\ntopic read #\n\n"
        "user host.out\ntopic write zigbee2mqtt/+/set\ntopic write lamp/cmd\n\n"
        "user lamp\ntopic readwrite lamp/#\n\n"
        "user z2m\ntopic readwrite zigbee2mqtt/#\ntopic readwrite homeassistant/#\n"
    )


def test_who_publishes_nothing_has_no_user_for_it() -> None:
    assert mosquitto.users(LocalBroker(topics=("a/#",)), {}) == {"host.in": Access(read=("a/#",))}


def test_a_hash_is_the_one_that_mosquitto_makes(tmp_path: Path) -> None:
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    import base64  # noqa: PLC0415 - here only

    path = tmp_path / "passwd"
    path.write_bytes(b"lamp:secret\n")
    subprocess.run([program, "-U", str(path)], check=True, capture_output=True)
    theirs = path.read_text(encoding="ascii").strip().removeprefix("lamp:")
    salt = base64.b64decode(theirs.split("$")[3])
    assert mosquitto.hashed("secret", salt) == theirs


def test_a_hash_says_nothing_of_the_password_but_by_its_salt() -> None:
    assert mosquitto.hashed("secret", bytes(12)) == (
        "$7$101$AAAAAAAAAAAAAAAA$"
        "GKi4qDyk9y4EWmYPwoG2Z68xDS4geZItBOL+r9OzoRFUOftyza0bBNYPi42rbBMws2OTLsfxYvabe/4weVE1LQ=="
    )
    with pytest.raises(ValueError, match="12 bytes, not 4"):
        mosquitto.hashed("secret", bytes(4))


def test_the_password_file() -> None:
    assert mosquitto.passwords({"host.in": "$7$a", "lamp": "$7$b"}) == "host.in:$7$a\nlamp:$7$b\n"


@pytest.mark.parametrize("name", ["", "a b", "host.in", "a:b", "a\nb", "ä", "x" * 65, "../x", "#"])
def test_what_is_no_name_of_a_device(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a device; allowed: 1 to 64 letters, digits, - and _"):
        mosquitto.check_device(name)


@pytest.mark.parametrize(
    ("topic_filter", "why"),
    [
        ("", "may not be empty"),
        ("a/#/b", "'#' may only be the last level"),
        ("a+/b", "a wildcard must be a whole level"),
        ("a\nuser other", "a sign that is no text"),
        (" a", "begins or ends with a space"),
        ("$SYS/#", "the broker's own"),
        ("$share/g/a", "the broker's own"),
    ],
)
def test_what_cannot_be_granted(topic_filter: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        mosquitto.topics_of("lamp", given=(topic_filter,))


@given(st.text(max_size=20))
def test_what_can_be_granted_is_one_line(topic_filter: str) -> None:
    try:
        mosquitto.check_grant(topic_filter)
    except ConfigError:
        return
    assert mosquitto.access({"lamp": Access(both=(topic_filter,))}).splitlines() == [
        "user lamp",
        f"topic readwrite {topic_filter}",
    ]


@pytest.mark.parametrize(
    ("kind", "given_topics", "wanted"),
    [
        ("", (), ("lamp/#",)),
        ("arduino", (), ("lamp/#",)),
        ("esphome", (), ("lamp/#", "homeassistant/+/lamp/#")),
        ("zigbee2mqtt", (), ("zigbee2mqtt/#", "homeassistant/#")),
        ("tasmota", (), ("cmnd/lamp/#", "stat/lamp/#", "tele/lamp/#", "tasmota/discovery/#")),
        ("esphome", ("a/#", "b", "a/#"), ("a/#", "b")),
    ],
)
def test_the_topics_of_a_device(kind: str, given_topics: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    assert mosquitto.topics_of("lamp", kind, given_topics) == wanted


def test_the_version() -> None:
    said = "mosquitto version 2.0.11\n\nmosquitto is an MQTT v5.0/v3.1.1/v3.1 broker.\n"
    assert mosquitto.version(said) == (2, 0, 11)
    with pytest.raises(ConfigError, match=r"mosquitto 1\.6\.12 is too old"):
        mosquitto.version("mosquitto version 1.6.12\n")
    with pytest.raises(ConfigError, match="names no version: 'sh: not found'"):
        mosquitto.version("sh: not found")


def test_the_lines_of_its_log() -> None:
    assert mosquitto.is_ready("mosquitto version 2.0.11 running")
    assert not mosquitto.is_ready("mosquitto version 2.0.11 starting")
    joined = "New client connected from 127.0.0.1:40761 as host.in (p5, c0, k30, u'host.in')."
    assert mosquitto.has_joined(joined, "host.in")
    assert not mosquitto.has_joined(joined, "host.out")
    assert not mosquitto.has_joined("Client host.in disconnected.", "host.in")
    assert mosquitto.is_serious("Error: Address already in use")
    assert mosquitto.is_serious("Client <unknown> disconnected, not authorised.")
    assert mosquitto.is_serious("Client lamp disconnected due to oversize packet.")
    assert not mosquitto.is_serious("Client lamp disconnected.")


@pytest.mark.parametrize(
    ("lines", "why", "fix"),
    [
        (["Error: Address already in use"], "port 443 or 1883 of 0.0.0.0 is taken by another program", "{port: 444}"),
        (["Error: Cannot assign requested address"], "no interface of this machine has the address 0.0.0.0", "ip -br"),
        (["Error: Permission denied"], "port 443 or 1883 may be used by root only", "{port: 8883}"),
        (
            [
                'Error: Unable to load server certificate "server.pem". Check certfile.',
                "OpenSSL Error[0]: no start line",
            ],
            "mosquitto cannot use its certificate",
            "rm broker/server.pem",
        ),
        (["x", "Error: Out of memory.", "y"], "mosquitto does not start: Error: Out of memory.", "edge broker config"),
        (["x", "y"], "mosquitto does not start: y", "edge broker config"),
        ([], "mosquitto does not start: it said nothing", "edge broker config"),
    ],
)
def test_why_it_did_not_start(lines: list[str], why: str, fix: str) -> None:
    spec = LocalBroker(port=443, address="0.0.0.0", plain_port=1883)  # noqa: S104 - a text
    found = mosquitto.why_ended(lines, spec, "broker")
    assert found[0] == why
    assert fix in found[1]
