"""doctor asks the host that runs, and holds the app against AWS's quotas and against a Greengrass nucleus."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import App, Broker, Device, JobsSpec, LinkSpec, RoleAlias, Rule, ShadowSync, Uplink
from edge_runtime.cli import _checks_aws as aws
from edge_runtime.cli._checks_quotas import limits
from edge_runtime.cli._checks_status import host, running
from edge_runtime.cli._finding import Finding
from edge_runtime.standin import certs
from edge_runtime.standin.certs import Certificates
from edge_runtime.standin.registry import RoleAlias as Alias
from edge_runtime.standin.server import Standin
from tests.cli.fakehost import edge
from tests.cli.fakehost import running as answering
from tests.host.hosting import FREE, site
from tests.mqtt import RawClient
from tests.nucleus import COMPONENT, start_nucleus
from tests.standin.secure import document, register, statement

PATIENCE_S = 20.0
DAY_S = 86_400.0
ENDPOINT = "x-ats.iot.eu-west-1.amazonaws.com"
UP = {"driver": "paho", "state": "up", "since_s": 7200, "connects": 1, "published": 7, "last_error": "", "refused": 0}


def app(spec: LinkSpec | None = None, **more: Any) -> App:  # noqa: ANN401 - parts of an app
    link = spec or LinkSpec("paho", {"endpoint": ENDPOINT, "client_id": "station"})
    return App("station", Path("/"), link=link, **more)


def linked(uplink: Uplink, **more: Any) -> LinkSpec:  # noqa: ANN401 - parts of a link
    return LinkSpec("paho", {"endpoint": ENDPOINT, "client_id": "station", **more.pop("options", {})}, uplink, **more)


def said(uptime_s: float = DAY_S, one: App | None = None, **link: object) -> list[Finding]:
    return list(running({"uptime_s": uptime_s, "link": {**UP, **link}}, one or app()))


async def slow(call: Callable[[], Iterator[Finding]]) -> list[Finding]:
    return await asyncio.to_thread(lambda: list(call()))


# -- the host that runs ------------------------------------------------------------------------------------------------


def test_a_host_that_is_well() -> None:
    assert said() == [Finding("link", "ok", "paho up for 2 h, 7 messages published")]
    assert list(running({"uptime_s": 1, "link": None}, None)) == []


def test_a_link_that_is_down_says_why() -> None:
    [found] = said(state="waiting", since_s=30, last_error="nothing listens at x:8883")
    assert (found.level, found.text) == ("fail", "paho waiting for 30 s: nothing listens at x:8883")
    [found] = said(state="connecting", since_s=1)
    assert found.level == "warn"
    [found] = said(state="waiting", since_s=1, last_error="x refused the connection: not authorized (0x87)")
    assert "edge doctor --policy FILE" in found.fix


def test_two_devices_with_one_client_id() -> None:
    error = "x:8883 ended the connection: session taken over (0x8E)"
    [found, _] = said(60, connects=20, since_s=1, last_error=error)
    assert (found.what, found.level) == ("client id", "fail")
    assert found.text == f"another device connects under the same name: connected 20 times in 1 min; {error}"
    assert found.fix.startswith("here client_id is station and thing is station: give each device its own")
    [found, _] = said(DAY_S, connects=20, last_error=error)
    assert found.level == "warn"


def test_a_duel_without_a_word_of_the_broker() -> None:
    [found, _] = said(60, connects=20, since_s=1, last_error="x:8883 closed the connection")
    assert (found.what, found.level) == ("client id", "warn")
    assert "connections do not last: 20 in 1 min" in found.text
    assert "or the policy denies what the host does after each connect" in found.fix
    assert [f.what for f in said(60, connects=3, since_s=1)] == ["link"]
    assert [f.what for f in said(3600, connects=20, since_s=1)] == ["link"]


def test_an_agent_that_is_off_brings_the_statement_that_is_missing() -> None:
    one = app(linked(Uplink(), jobs=JobsSpec(restart=True), shadows=ShadowSync(("",))))
    jobs = "$aws/things/station/jobs/start-next/+"
    off = f"off: the broker refused the subscription to {jobs!r}: not authorized (0x87)"
    _, found = said(one=one, agents={"jobs": off, "shadows": "running"})
    assert (found.what, found.level, found.text) == ("agent jobs", "warn", off)
    assert f'"Resource": "arn:aws:iot:eu-west-1:ACCOUNT:topicfilter/{jobs}"' in found.fix
    _, found = said(agents={"jobs": "failed: no"})
    assert found.fix == "see the log of the host"
    _, found = said(one=one, agents={"jobs": "off: 60 topic filters; AWS IoT Core allows 50"})
    assert found.fix == "subscribe to less under link.down"


def test_what_else_a_host_says() -> None:
    status = {
        "uptime_s": DAY_S,
        "link": {**UP, "refused": 3},
        "certificate": {"id": "", "note": "the certificate expires in 3 days"},
        "credentials": {"state": "none", "last_error": "answered 403"},
        "store": {"disk_tight": True},
        "parts": [{"name": "gpio", "state": "waiting", "last_error": "no pin"}, {"name": "uplink", "state": "running"}],
    }
    found = list(running(status, app()))
    assert [(f.what, f.level) for f in found] == [
        ("link", "ok"),
        ("refused", "warn"),
        ("certificate", "warn"),
        ("credentials", "warn"),
        ("disk", "fail"),
        ("part", "warn"),
    ]
    assert found[1].fix.startswith("edge queue show uplink --dead")
    assert all(f.fix for f in found[1:])


def test_the_host_is_asked(tmp_path: Path) -> None:
    state = tmp_path / ".edge"
    assert host(state) == (Finding("host", "ok", "not running"), None)
    with answering(state, {"status": {"uptime_s": 61, "link": UP}}):
        found, status = host(state)
        assert (found.text, status) == ("running for 1 min 1 s", {"uptime_s": 61, "link": UP})
    with answering(state, {}):
        found, status = host(state)
        assert (found.level, found.text, status) == ("fail", "the host has no verb 'status'", {})


async def test_a_real_host_tells_of_an_agent_that_the_policy_stops(tmp_path: Path, made: Certificates) -> None:
    standin = Standin(quotas="none", policies=True, on_denied="answer")
    await standin.start(tls=made.server)
    async with standin:
        register(standin, made, document(statement("iot:Connect", "client/station")), "station")
        options = {
            "endpoint": "localhost",
            "port": standin.port,
            "client_id": "station",
            "certificate": str(made.client.cert),
            "key": str(made.client.key),
            "ca": str(made.client.ca),
        }
        one = app(LinkSpec("paho", options, FREE, jobs=JobsSpec(restart=True)))
        async with site(one, tmp_path / "state") as it:
            await it.until(lambda: it.host.uplink and it.host.uplink.state.agents["jobs"].startswith("off:"))
            _, status = await asyncio.to_thread(host, tmp_path / "state")
    assert status is not None
    found = {finding.what: finding for finding in running(status, one)}
    assert found["link"].level == "ok"
    assert found["agent jobs"].level == "warn"
    assert '"Action": "iot:Subscribe"' in found["agent jobs"].fix
    assert "topicfilter/$aws/things/station/jobs/notify-next" in found["agent jobs"].fix


async def test_a_real_host_tells_of_its_double(tmp_path: Path) -> None:
    async with Standin(quotas="none") as standin:
        options = {"endpoint": "127.0.0.1", "port": standin.port, "client_id": "station"}
        one = app(LinkSpec("paho", options, FREE))
        async with site(one, tmp_path / "state") as it:
            await it.until(lambda: it.host.uplink and it.host.uplink.state.state == "up")
            double = await RawClient.connect(standin.port, "station")
            await it.until(lambda: it.host.uplink and "0x8E" in it.host.uplink.state.last_error)
            _, status = await asyncio.to_thread(host, tmp_path / "state")
            await double.abort()
    assert status is not None
    found = {finding.what: finding for finding in running(status, one)}
    assert found["client id"].level == "warn"
    assert found["client id"].text.startswith("another device connects under the same name: connected 1 times in ")


async def test_nobody_connects_under_the_name_of_a_host_that_runs(tmp_path: Path) -> None:
    async with Standin() as standin:
        text = f"thing: station\nlink: {{driver: paho, endpoint: 127.0.0.1, port: {standin.port}, down: ['cmd/#']}}\n"
        (tmp_path / "edge.yaml").write_text(text)
        status = {"thing": "station", "uptime_s": 61, "link": UP}

        def diagnosed(*options: str) -> dict[str, Any]:
            result = edge(["doctor", tmp_path / "edge.yaml", "--json", *options])
            return {row["what"]: row for row in json.loads(result.stdout)}

        def with_host() -> dict[str, Any]:
            with answering(tmp_path / ".edge", {"status": status}):
                return diagnosed()

        found = await asyncio.to_thread(with_host)
        assert (found["connect"]["level"], standin.counts["connected"]) == ("skip", 0)
        assert found["link"]["level"] == "ok"
        assert found[f"port {standin.port}"]["level"] == "ok"
        found = await asyncio.to_thread(diagnosed, "--no-probe", "--publish-probe", "dt/a")
        assert (found["connect"]["level"], standin.counts["connected"]) == ("skip", 0)
        assert (found["publish"]["level"], found["publish"]["text"]) == (
            "skip",
            "nothing was published on dt/a: there is no connection",
        )
        found = await asyncio.to_thread(diagnosed)
        assert found["connect"] == {"what": "connect", "level": "ok", "text": "station may connect", "fix": ""}
        assert found["subscribe"]["text"] == "1 of 1 filters were granted"
        assert "station" not in standin.broker.sessions


def test_without_a_broker_it_says_what_it_could_not_check(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        (tmp_path / "edge.yaml").write_text(f"thing: a\nlink: {{driver: paho, endpoint: 127.0.0.1, port: {port}}}\n")
        result = edge(["doctor", tmp_path / "edge.yaml"])
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    marks = [line[:4] for line in lines[:-1] if not line.startswith(" ")]
    assert marks == sorted(marks, key=["ok  ", "FAIL", "WARN", "----"].index)
    assert f"FAIL  port {port}: nothing listens at 127.0.0.1:{port}" in lines
    assert "----  connect: the broker cannot be reached" in lines
    assert lines[-1].startswith("1 fail, ")
    assert "1 not checked" in lines[-1]


def test_a_topic_that_cannot_be_published_on(tmp_path: Path) -> None:
    result = edge(["doctor", tmp_path, "--publish-probe", "dt/#"])
    assert (result.exit_code, result.stderr.startswith("error: topic 'dt/#' holds '#'")) == (1, True)


# -- quotas ------------------------------------------------------------------------------------------------------------


def quota(link: LinkSpec, status: Mapping[str, Any] | None = None, **more: Any) -> list[Finding]:  # noqa: ANN401 - parts of an app
    return list(limits(app(link, **more), status))


def test_an_app_within_the_quotas() -> None:
    [found] = quota(linked(Uplink(down=("a", "b"))))
    assert (found.level, found.text) == (
        "ok",
        "within those of AWS IoT Core: 2 of 50 subscriptions, 100 of 100 publishes on their way",
    )
    assert quota(LinkSpec("paho", {"endpoint": "broker.lan", "keep_alive_s": 5})) == []


def test_subscriptions_of_agents_count() -> None:
    down = tuple(f"cmd/{n}" for n in range(46))
    [found] = quota(linked(Uplink(down=down), jobs=JobsSpec(restart=True), shadows=ShadowSync(("",))))
    assert found.level == "fail"
    assert found.text.startswith("52 topic filters; AWS IoT Core allows 50")
    assert found.text.endswith("(down 46, shadows 2, jobs 4)")
    assert found.fix == "join filters with the wildcards + and #"


@pytest.mark.parametrize(
    ("link", "level", "words"),
    [
        (linked(Uplink(aws_quotas=False)), "warn", "aws_quotas is off"),
        (linked(Uplink(window=200, aws_quotas=True)), "fail", "window is 200"),
        (linked(Uplink(publishes_per_s=0)), "fail", "publishes_per_s is unbounded"),
        (linked(Uplink(publishes_per_s=300)), "fail", "publishes_per_s is 300"),
        (linked(Uplink(bytes_per_s=0)), "warn", "bytes_per_s is unbounded"),
        (linked(Uplink(), options={"keep_alive_s": 10}), "warn", "keep_alive_s is 10"),
        (linked(Uplink(), options={"client_id": "x"}), "warn", "client_id is x and thing is station"),
    ],
)
def test_what_breaks_a_quota(link: LinkSpec, level: str, words: str) -> None:
    [found] = quota(link)
    assert (found.level, words in found.text, bool(found.fix)) == (level, True, True)


def test_more_than_can_leave() -> None:
    devices = tuple(Device(f"d{n}", "X", every_s=0.01) for n in range(3))
    up = (Rule("device/#", ("uplink",)),)
    [found] = quota(linked(Uplink(up=up)), devices=devices)
    assert (found.level, found.fix) == ("fail", "pack: 8 under link:, or read them less often")
    assert "300 times a second, and 100 messages can leave" in found.text
    assert [f.level for f in quota(linked(Uplink(up=up, pack=4)), devices=devices)] == ["warn"]
    assert [f.level for f in quota(linked(Uplink(up=up, pack=50)), devices=devices)] == ["ok"]
    busy = {"uptime_s": 1000, "link": {"published": 90_000}}
    [found] = quota(linked(Uplink()), busy)
    assert found.text.startswith("the host publishes 90 times a second")
    assert [f.level for f in quota(linked(Uplink()), {"uptime_s": 1000, "link": None})] == ["ok"]


def test_limits_of_the_lite_nucleus() -> None:
    def greengrass(**options: object) -> list[Finding]:
        return quota(LinkSpec("greengrass", options, Uplink(up=(Rule("dt/#", ("uplink",)),))))

    found = greengrass()
    assert [f.level for f in found] == ["ok", "warn"]
    assert found[0].text.startswith("nucleus lite takes payloads of 4900 bytes, topic included")
    assert found[1].fix == "echo: [dt/#]"
    assert [f.text[:43] for f in greengrass(confirm_topic="ok")][:1] == ["nucleus lite takes payloads of 7000 bytes, "]
    assert [f.what for f in greengrass(nucleus="classic")] == ["quotas"]


# -- a client id that is taken -----------------------------------------------------------------------------------------


def test_a_nucleus_that_connects_under_the_same_name(tmp_path: Path) -> None:
    inside = {"SVCUID": "t", "AWS_IOT_THING_NAME": "station"}
    [found] = aws.rival(app(), inside, ())
    assert (found.level, found.fix) == ("fail", "client_id: station-edge, or driver: greengrass")
    assert list(aws.rival(app(), {"AWS_IOT_THING_NAME": "station"}, ())) == []
    config = tmp_path / "config.yaml"
    config.write_text('system:\n  thingName: "station"\n')
    assert [f.level for f in aws.rival(app(), {}, (config, tmp_path / "none"))] == ["fail"]
    assert list(aws.rival(app(LinkSpec("greengrass", {})), inside, (config,))) == []


def test_a_broker_of_the_app_under_the_same_name() -> None:
    brokers = (
        Broker("b", ENDPOINT, options={"client_id": "station"}),
        Broker("c", "x", options={"client_id": "station"}),
    )
    [found] = aws.rival(app(brokers=brokers), {}, ())
    assert found.fix == "leave client_id out at brokers.b"


# -- credentials -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certs.make(tmp_path_factory.mktemp("tls"), client="station")


async def test_credentials_of_the_role_alias(made: Certificates) -> None:
    standin = Standin(policies=True)
    await standin.start_credentials("127.0.0.1", 0, made.server)
    async with standin:
        standin.registry.put_role_alias(Alias("edge", "arn:aws:iam::1:role/edge", 3600))
        options = {"certificate": made.client.cert, "key": made.client.key, "ca": made.client.ca}
        role = RoleAlias("localhost", "edge", standin.credentials_port)
        one = app(LinkSpec("paho", {"endpoint": ENDPOINT, **options}, credentials=role))
        known = register(standin, made, document(statement("iot:Connect", "client/station")), "station")
        [found] = await slow(lambda: aws.credentials(one, {}))
        assert found.level == "fail"
        assert "answered 403" in found.text
        assert '"Action": "iot:AssumeRoleWithCertificate"' in found.fix
        standin.registry.put_policy("more", document(statement("iot:AssumeRoleWithCertificate", "rolealias/edge")))
        standin.registry.attach_policy(known.id, "more")
        [found] = await slow(lambda: aws.credentials(one, {}))
        assert (found.level, found.text) == ("ok", "the role edge is lent for 1 h")
    [found] = await slow(lambda: aws.credentials(one, {}))
    assert (found.level, "cannot be reached" in found.text) == ("fail", True)
    assert "iot:CredentialProvider" in found.fix


def test_credentials_that_only_the_component_gets() -> None:
    one = app(LinkSpec("greengrass", {}, credentials=RoleAlias()))
    assert [f.level for f in aws.credentials(one, {})] == ["skip"]
    assert [f.level for f in aws.credentials(one, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "ftp://x"})] == ["fail"]
    assert list(aws.credentials(app(), {})) == []


# -- the nucleus -------------------------------------------------------------------------------------------------------


def greengrass(**options: object) -> App:
    return app(LinkSpec("greengrass", options))


async def test_a_nucleus_that_knows_us(tmp_path: Path) -> None:
    async with start_nucleus(tmp_path) as nucleus:
        known = greengrass(socket=str(nucleus.socket), component=COMPONENT)
        [found] = await slow(lambda: aws.nucleus(known, PATIENCE_S, {}))
        assert found.text == f"it answers at {nucleus.socket}, and knows this component as {COMPONENT}"
        stranger = greengrass(socket=str(nucleus.socket), component="com.example.Other")
        [found] = await slow(lambda: aws.nucleus(stranger, PATIENCE_S, {}))
        assert (found.level, bool(found.fix)) == ("fail", True)
        nucleus.silent = True
        [found] = await slow(lambda: aws.nucleus(known, 0.2, {}))
        assert found.text == f"the nucleus at {nucleus.socket} does not answer within 0.2 s"


def test_a_nucleus_that_is_not_there(tmp_path: Path) -> None:
    def found(**options: object) -> tuple[str, str]:
        [one] = aws.nucleus(greengrass(**options), PATIENCE_S, {})
        assert one.fix
        return one.level, one.text

    path = tmp_path / "ipc.socket"
    assert found() == ("skip", "this command was not started by a nucleus, so it does not know the socket")
    assert found(socket=str(path)) == ("fail", f"there is no {path}: the nucleus does not run")
    path.write_text("")
    assert found(socket=str(path)) == ("fail", f"{path} is no socket")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert found(socket=str(path)) == ("fail", f"nobody listens at {path}: Connection refused")
    assert list(aws.nucleus(app(), PATIENCE_S, {})) == []
