"""`edge.yaml`: shadows with a twin in the cloud, and devices with a place in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.app import ShadowKey, ShadowSync
from edge_runtime.loaders._codec import from_json, to_json
from tests.loaders.appfile import load, wrong

LINK = "link: {driver: paho, endpoint: 127.0.0.1"


@pytest.mark.parametrize(
    ("written", "declared"),
    [
        ("{sync: [classic, door]}", ShadowSync(("", "door"))),
        ("{sync: all}", ShadowSync((), everything=True)),
        ("{sync: [a:b_c-1$], conflict: latest_timestamp}", ShadowSync(("a:b_c-1$",), conflict="latest_timestamp")),
    ],
)
def test_shadows_of_a_link(folder: Path, written: str, declared: ShadowSync) -> None:
    app = load(folder, f"thing: t\n{LINK}, shadows: {written}}}\n")
    assert app.link is not None
    assert app.link.shadows == declared
    assert from_json(to_json(app)) == app


def test_places_of_devices(folder: Path) -> None:
    app = load(
        folder,
        """\
thing: t
devices:
  pump: {driver: LED, pin: 27, shadow: pump}
  fan: {driver: PWMLED, pin: 22, shadow: {name: station, key: fan.speed}}
  lamp: {driver: LED, pin: 23}
""",
    )
    assert [device.shadow for device in app.devices] == [
        ShadowKey("", ("pump",)),
        ShadowKey("station", ("fan", "speed")),
        None,
    ]
    assert from_json(to_json(app)) == app


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{}", "edge.yaml:2: link.shadows.sync: this key is missing"),
        ("{sync: []}", "link.shadows.sync"),
        ("{sync: some}", "link.shadows.sync"),
        ("{sync: all, conflict: mine}", "link.shadows.conflict"),
        ("{sync: [a b]}", "'a b' is no name of a shadow; allowed: 1 to 64 letters, digits, $ : - and _"),
        ("{sync: [AWSManagedGreengrassV2Deployment]}", "the shadow by which Greengrass deploys; take another"),
        ("{sync: [a, classic, a]}", "link.shadows.sync[2]: 'a' is there twice"),
    ],
)
def test_mistakes_in_the_shadows_of_a_link(folder: Path, written: str, said: str) -> None:
    lines = wrong(folder, f"thing: t\n{LINK}, shadows: {written}}}\n")
    assert any(said in line for line in lines), lines


def test_too_many_subscriptions(folder: Path) -> None:
    down = ", ".join(f"c/{n}" for n in range(48))
    text = f"thing: t\n{LINK}, aws_quotas: true, down: [{down}], shadows: {{sync: [classic, a]}}}}\n"
    assert wrong(folder, text) == [
        "edge.yaml:2: link.shadows.sync: with those of `down` these are 52 subscriptions; AWS allows 50"
    ]
    load(folder, text.replace("[classic, a]", "[a]"))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{name: station}", "devices.pump.shadow.key: this key is missing"),
        ("{name: a b, key: x}", "'a b' is no name of a shadow"),
        ("{name: AWSManagedGreengrassV2Deployment, key: x}", "the shadow by which Greengrass deploys"),
        ("a..b", "'a..b' is no key; write one, or several with dots between them: pump.on"),
        ('"a\\tb"', "is no key"),
        ("a.b.c.d.e", "'a.b.c.d.e' is 5 levels deep; a shadow takes 4 safely"),
        ("fan", "device 'fan' stands there already; each needs a key of its own"),
        ("fan.speed", "device 'fan' stands there already"),
    ],
)
def test_mistakes_in_the_place_of_a_device(folder: Path, written: str, said: str) -> None:
    text = f"""\
thing: t
devices:
  fan: {{driver: LED, pin: 22, shadow: fan}}
  pump: {{driver: LED, pin: 27, shadow: {written}}}
"""
    lines = wrong(folder, text)
    assert any(said in line and line.startswith("edge.yaml:4: devices.pump") for line in lines), lines
