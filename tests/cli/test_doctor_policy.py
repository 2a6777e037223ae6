"""doctor finds out what the policy of the certificate lets the app do: from a document, or by asking the broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import App, JobsSpec, LinkSpec, RoleAlias, Rule, ShadowSync, Uplink
from edge_runtime.cli import _checks_probe as probing
from edge_runtime.cli._checks_policy import policies
from edge_runtime.cli._finding import Finding
from edge_runtime.cli._rights import Right, needed, publish, region_of, statement, subscribe, subscriptions
from edge_runtime.standin import certs
from edge_runtime.standin.access import OnDenied
from edge_runtime.standin.certs import Certificates
from edge_runtime.standin.packets import Connack, Connect, Publish
from edge_runtime.standin.properties import Properties
from edge_runtime.standin.server import Standin
from tests.mqtt import RawClient
from tests.nucleus import COMPONENT, start_nucleus
from tests.standin.secure import ALLOW_ALL, context, document, register
from tests.standin.secure import statement as rule

PATIENCE_S = 20.0
ENDPOINT = "x-ats.iot.eu-west-1.amazonaws.com"
ROOT = Path(__file__).parent.parent.parent


def app(*, down: Sequence[str] = (), up: Sequence[str] = (), driver: str = "paho", **more: Any) -> App:  # noqa: ANN401 - parts of a link
    options = {"endpoint": ENDPOINT, "client_id": "station", **more.pop("options", {})}
    uplink = Uplink(up=tuple(Rule(one, ("uplink",)) for one in up), down=tuple(down))
    return App("station", Path("/"), link=LinkSpec(driver, options, uplink, **more))


# -- what is needed ----------------------------------------------------------------------------------------------------


def test_what_an_app_needs() -> None:
    whole = app(
        down=["cmd/station/#"],
        up=["dt/+/soil", "alarm"],
        shadows=ShadowSync(("", "pump")),
        jobs=JobsSpec(restart=True),
        credentials=RoleAlias("e", "edge"),
    )
    root = "$aws/things/station"
    assert list(subscriptions(whole)) == ["down", "shadows", "jobs"]
    assert f"{root}/shadow/name/pump/+/accepted" in subscriptions(whole)["shadows"]
    assert subscriptions(whole)["jobs"][0] == f"{root}/jobs/notify-next"
    found = list(needed(whole))
    assert found[:3] == [
        Right("iot:Connect", "client/station", "connect"),
        Right("iot:Subscribe", "topicfilter/cmd/station/#", "down"),
        Right("iot:Receive", "topic/cmd/station/edge-doctor", "down", "cmd/station/#"),
    ]
    said = {(right.action, right.resource) for right in found}
    assert ("iot:Publish", "topic/dt/edge-doctor/soil") in said
    assert ("iot:Publish", "topic/alarm") in said
    assert ("iot:Publish", f"topic/{root}/shadow/get") in said
    assert ("iot:Publish", f"topic/{root}/shadow/name/pump/update") in said
    assert ("iot:Publish", f"topic/{root}/jobs/start-next") in said
    assert found[-1] == Right("iot:AssumeRoleWithCertificate", "rolealias/edge", "credentials")


def test_an_app_without_a_link_needs_nothing() -> None:
    assert list(needed(App("station", Path("/")))) == []
    assert subscriptions(App("station", Path("/"))) == {}


def test_echoes_are_subscriptions_too() -> None:
    nucleus = app(driver="greengrass", options={"echo": ["dt/#"]}, down=["cmd/#"])
    assert subscriptions(nucleus) == {"down": ("cmd/#",), "echo": ("dt/#",)}
    by_digest = app(driver="greengrass", options={"confirm_topic": "ok/station"})
    assert subscriptions(by_digest) == {"echo": ("ok/station",)}


def test_the_statement_that_is_missing() -> None:
    one = app()
    arn = "arn:aws:iot:eu-west-1:ACCOUNT"
    both = json.loads(f"[{statement(subscribe('cmd/+/#', 'down'), one)}]")
    assert both == [
        {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": f"{arn}:topicfilter/cmd/+/#"},
        {"Effect": "Allow", "Action": "iot:Receive", "Resource": f"{arn}:topic/cmd/*/*"},
    ]
    assert json.loads(statement(publish("a/b"), one))["Resource"] == f"{arn}:topic/a/b"
    wide = Right("iot:Publish", "topic/dt/x", "up", "dt/+")
    assert json.loads(statement(wide, one))["Resource"] == f"{arn}:topic/dt/*"
    china = app(options={"endpoint": "x-ats.iot.cn-north-1.amazonaws.com.cn"})
    assert json.loads(statement(publish("a"), china))["Resource"] == "arn:aws-cn:iot:cn-north-1:ACCOUNT:topic/a"
    assert region_of("broker.lan") == "REGION"


# -- documents ---------------------------------------------------------------------------------------------------------


def held(tmp_path: Path, one: App, *statements: dict[str, object]) -> list[Finding]:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(document(*statements)))
    return list(policies(one, [path]))


def test_a_document_that_allows_all_of_it(tmp_path: Path) -> None:
    one = app(down=["cmd/#"], up=["dt/#"])
    [found] = held(tmp_path, one, rule("*", "*"))
    assert found == Finding("policy", "ok", "the documents allow all 4 requests of the app")
    assert list(policies(one, [])) == []


def test_the_policy_of_this_project_allows_what_its_apps_do() -> None:
    one = app(
        down=["edge/station/down/#"],
        up=["edge/station/up/#"],
        shadows=ShadowSync(everything=True),
        jobs=JobsSpec(restart=True),
        credentials=RoleAlias("e", "edge-runtime"),
    )
    assert [found.level for found in policies(one, [ROOT / "deploy/iot/device-policy.json"])] == ["ok"]


def test_each_denial_brings_the_statement_that_is_missing(tmp_path: Path) -> None:
    one = app(down=["cmd/station/#"], up=["dt/station/#", "alarm"])
    found = held(tmp_path, one, rule("iot:Connect", "client/station"), rule("iot:Publish", "topic/dt/station/soil"))
    assert [(f.level, f.text) for f in found] == [
        ("fail", "iot:Subscribe on cmd/station/# is not allowed (down)"),
        ("warn", "iot:Receive is not allowed on all topics of cmd/station/# (down)"),
        ("warn", "iot:Publish is not allowed on all topics of dt/station/# (up)"),
        ("fail", "iot:Publish on alarm is not allowed (up)"),
    ]
    last = json.loads(found[-1].fix.removeprefix("add to the policy: "))
    assert last["Resource"] == "arn:aws:iot:eu-west-1:ACCOUNT:topic/alarm"


def test_a_policy_by_thing_name_needs_the_client_to_be_named_so(tmp_path: Path) -> None:
    by_thing = rule("iot:Connect", "client/${iot:Connection.Thing.ThingName}")
    assert [f.level for f in held(tmp_path, app(), by_thing)] == ["ok"]
    [found] = held(tmp_path, app(options={"client_id": "other"}), by_thing)
    assert found.text == "iot:Connect on other is not allowed (connect)"
    assert found.fix.endswith("a policy by thing name needs client_id to be station")


def test_documents_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Maybe"}]}))
    found = list(policies(app(), [tmp_path / "a.json", tmp_path / "b.json", tmp_path / "none.json"]))
    assert [f.level for f in found] == ["fail"] * 3
    assert "must be a JSON object" in found[0].text
    assert "No such file" in found[2].text


# -- the broker is asked -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certs.make(tmp_path_factory.mktemp("tls"), client="station")


@pytest.fixture(params=["disconnect", "answer"])
async def standin(made: Certificates, request: pytest.FixtureRequest) -> AsyncIterator[Standin]:
    on_denied: OnDenied = request.param
    standin = Standin(quotas="none", policies=True, on_denied=on_denied)
    await standin.start(tls=made.server)
    async with standin:
        yield standin


def at(standin: Standin, made: Certificates, **more: Any) -> App:  # noqa: ANN401 - parts of a link
    options = {
        "endpoint": "localhost",
        "port": standin.port,
        "certificate": str(made.client.cert),
        "key": str(made.client.key),
        "ca": str(made.client.ca),
        **more.pop("options", {}),
    }
    return app(options=options, **more)


async def probed(one: App, topic: str = "", stay_s: float = 0.05) -> list[Finding]:
    return await asyncio.to_thread(lambda: list(probing.probe(one, PATIENCE_S, topic, gap_s=0, stay_s=stay_s)))


def kinds(found: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(one.what, one.level) for one in found]


@pytest.mark.parametrize("driver", ["paho", "awscrt"])
async def test_all_is_allowed_and_nothing_is_left_behind(standin: Standin, made: Certificates, driver: str) -> None:
    pytest.importorskip(driver)
    register(standin, made, ALLOW_ALL, "station")
    one = at(standin, made, down=["cmd/#", "a"], jobs=JobsSpec(restart=True), driver=driver)
    found = await probed(one)
    assert [(f.what, f.level, f.text) for f in found] == [
        ("connect", "ok", "station may connect"),
        ("subscribe", "ok", "6 of 6 filters were granted"),
    ]
    await standin.until(lambda: standin.counts["connections"] == 0)
    assert "station" not in standin.broker.sessions
    assert len(standin.record) == 0
    assert standin.counts["connected"] == 2


async def test_a_connect_that_the_policy_does_not_allow(standin: Standin, made: Certificates) -> None:
    register(standin, made, document(rule("iot:Connect", "client/other")), "station")
    [found] = await probed(at(standin, made))
    assert (found.what, found.level) == ("connect", "fail")
    assert "not authorized (0x87)" in found.text
    assert '"Action": "iot:Connect", "Resource": "arn:aws:iot:REGION:ACCOUNT:client/station"' in found.fix


async def test_a_filter_that_is_refused(standin: Standin, made: Certificates) -> None:
    allowed = (rule("iot:Connect", "client/station"), rule("iot:Subscribe", "topicfilter/cmd/station/*"))
    register(standin, made, document(*allowed), "station")
    found = await probed(at(standin, made, down=["secret/#"]))
    assert kinds(found) == [("connect", "ok"), ("subscribe", "fail")]
    assert "secret/# (down)" in found[1].text
    assert "not authorized (0x87)" in found[1].text
    assert "topicfilter/secret/#" in found[1].fix
    if standin.broker.on_denied == "answer":
        found = await probed(at(standin, made, down=["secret/#", "cmd/station/#"]))
        assert sorted(kinds(found)) == [("connect", "ok"), ("subscribe", "fail"), ("subscribe", "ok")]


async def test_a_publish_is_tried_on_request(standin: Standin, made: Certificates) -> None:
    allowed = (rule("iot:Connect", "client/station"), rule("iot:Publish", "topic/dt/station/*"))
    register(standin, made, document(*allowed), "station")
    found = await probed(at(standin, made), "dt/station/probe")
    assert kinds(found) == [("connect", "ok"), ("publish", "ok")]
    assert [(entry.topic, entry.payload) for entry in standin.record] == [
        ("dt/station/probe", b'{"from":"edge doctor"}')
    ]
    found = await probed(at(standin, made), "elsewhere")
    assert kinds(found) == [("connect", "ok"), ("publish", "fail")]
    assert "topic/elsewhere" in found[1].fix


async def test_what_waits_for_the_device_goes_on_waiting(made: Certificates) -> None:
    standin = Standin(quotas="none")
    await standin.start(tls=made.server)
    async with standin:
        device = await RawClient.open(standin.port, tls=context(made))
        device.send(Connect("station", clean_start=False, properties=Properties(session_expiry=3600)))
        await device.expect(Connack)
        await device.subscribe("cmd/#")
        await device.close()
        other = await RawClient.open(standin.port, tls=context(made))
        other.send(Connect("other"))
        await other.expect(Connack)
        await other.publish("cmd/open")
        await other.close()
        found = await probed(at(standin, made, down=["cmd/#"]))
        assert kinds(found) == [("connect", "ok"), ("subscribe", "ok")]
        assert standin.counts["connected"] == 3
        device = await RawClient.open(standin.port, tls=context(made))
        device.send(Connect("station", clean_start=False, properties=Properties(session_expiry=3600)))
        await device.expect(Connack)
        message = await device.expect(Publish)
        assert message.topic == "cmd/open"
        await device.close()


async def test_another_device_of_the_same_name_is_recognised(made: Certificates) -> None:
    standin = Standin(quotas="none")
    await standin.start(tls=made.server)
    async with standin:
        first = await RawClient.open(standin.port, tls=context(made))
        first.send(Connect("station", clean_start=False, properties=Properties(session_expiry=3600)))
        await standin.until(lambda: standin.counts["connected"] == 1)

        async def come_back() -> None:
            await first.closed()
            again = await RawClient.open(standin.port, tls=context(made))
            again.send(Connect("station", clean_start=False))
            await standin.until(lambda: standin.counts["connected"] == 3)
            await again.close()

        coming = asyncio.create_task(come_back(), name="rival")
        found = await probed(at(standin, made), stay_s=PATIENCE_S)
        await coming
    assert kinds(found)[-1] == ("client id", "fail")
    assert found[-1].text == "another device connects as station, too"
    assert "here client_id is station and thing is station" in found[-1].fix


async def test_it_keeps_to_one_connect_a_second(made: Certificates) -> None:
    standin = Standin(quotas="aws")
    await standin.start(tls=made.server)
    async with standin:
        one = at(standin, made, down=["cmd/#"])
        found = await asyncio.to_thread(lambda: list(probing.probe(one, PATIENCE_S)))
        assert kinds(found) == [("connect", "ok"), ("subscribe", "ok")]
        assert standin.refusals == ()


async def test_over_mqtt_3_no_subscription_is_left_behind() -> None:
    async with Standin() as standin:
        one = app(down=["cmd/#"], options={"endpoint": "127.0.0.1", "port": standin.port, "version": "3.1.1"})
        found = await probed(one)
        assert kinds(found) == [("connect", "ok"), ("subscribe", "skip")]
        assert standin.broker.sessions["station"].subscriptions == {}


async def test_files_that_are_gone() -> None:
    async with Standin() as standin:
        one = app(options={"endpoint": "localhost", "port": standin.port, "certificate": "/none", "key": "/none"})
        [found] = await probed(one)
        assert (found.what, found.level) == ("connect", "fail")
        assert "link: certificate '/none' does not exist" in found.text


async def test_what_a_nucleus_allows(tmp_path: Path) -> None:
    async with start_nucleus(tmp_path) as nucleus:
        nucleus.allow = lambda _operation, topic: topic != "secret/#"
        options = {"socket": str(nucleus.socket), "component": COMPONENT, "retry_s": 0.05}
        one = App(
            "station",
            Path("/"),
            link=LinkSpec("greengrass", options, Uplink(down=("secret/#", "cmd/#"))),
        )
        found = await probed(one)
    assert kinds(found) == [("connect", "ok"), ("subscribe", "fail"), ("subscribe", "ok")]
    wanted = json.loads(found[1].fix.partition(": ")[2])
    [policy] = wanted["aws.greengrass.ipc.mqttproxy"].values()
    assert policy == {"operations": ["aws.greengrass#SubscribeToIoTCore"], "resources": ["secret/#"]}
