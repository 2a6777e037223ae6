"""The section `broker`: the broker that the host runs for devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.app import LocalBroker, QueueLimits, Rule
from tests.loaders.appfile import load, wrong


def test_without_the_section_there_is_none(folder: Path) -> None:
    assert load(folder, "thing: a\n").broker is None


def test_the_defaults_are_for_this_machine_alone_and_with_tls(folder: Path) -> None:
    one = load(folder, "thing: a\nbroker: {}\n")
    assert one.broker == LocalBroker(8883, "127.0.0.1", 0, ("#",), "", (), (), 1 << 20)
    assert one.rules == ()


def test_all_keys(folder: Path) -> None:
    one = load(
        folder,
        """
thing: pi-7
broker:
  port: 8884
  address: 0.0.0.0
  plain_port: 1884
  topics: ["zigbee2mqtt/#", "$SYS/broker/uptime"]
  prefix: "{thing}/"
  publish: ["zigbee2mqtt/+/set", "{thing}/x"]
  names: [broker.lan]
  payload: 64KiB
  queue: {ttl: 1h, when_full: keep_latest}
""",
    )
    assert one.broker == LocalBroker(
        port=8884,
        address="0.0.0.0",  # noqa: S104 - a text
        plain_port=1884,
        topics=("zigbee2mqtt/#", "$SYS/broker/uptime"),
        prefix="pi-7/",
        publish=("zigbee2mqtt/+/set", "pi-7/x"),
        names=("broker.lan",),
        payload_bytes=65_536,
    )
    assert one.rules == (Rule("pi-7/zigbee2mqtt/+/set", ("broker",)), Rule("pi-7/pi-7/x", ("broker",)))
    assert one.queues["broker"] == QueueLimits(0, 3600.0, one.queues["broker"].when_full)


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("broker: [1]", "broker: [1] is no mapping; write {key: value}"),
        ("broker: {prot: 1}", "broker.prot: unknown key; did you mean 'port'?"),
        ("broker: {port: 0}", "broker.port: 0 is too small; at least 1"),
        (
            "broker: {address: lan}",
            (
                "broker.address: 'lan' is no IP address; write 127.0.0.1 for this machine alone, "
                "0.0.0.0 for every network"
            ),
        ),
        (
            "broker: {plain_port: 8883}",
            "broker.plain_port: port 8883 is the one with TLS; choose another, as 1883",
        ),
        ("broker: {names: [a b]}", "broker.names[0]: 'a b' is no host name; write it alone"),
        ("broker: {topics: []}", "broker.topics: may not be empty"),
        ("broker: {topics: [a#]}", "broker.topics[0]: topic filter 'a#': a wildcard must be a whole level"),
        (
            "broker: {topics: [$share/g/a]}",
            "broker.topics[0]: topic filter '$share/g/a': topics that begin with $ are the broker's own",
        ),
        (
            "broker: {publish: [$SYS/x]}",
            "broker.publish[0]: topic filter '$SYS/x': topics that begin with $ are the broker's own",
        ),
        ("broker: {payload: 1}", "broker.payload: 1 is too small; at least 128"),
        (
            "broker: {}\nbrokers: {local: {host: a}}",
            "brokers.local: this name is that of the broker which the host runs itself; take another one",
        ),
    ],
)
def test_mistakes(folder: Path, section: str, problem: str) -> None:
    (said,) = wrong(folder, f"thing: a\n{section}\n")
    assert problem in said
