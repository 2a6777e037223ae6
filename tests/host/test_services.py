"""Handlers with an AWS SDK in a real host, and SDKs beside it: offline, unchanged."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from edge_runtime.app import App, Function, Permissions
from edge_runtime.clock import SystemClock
from edge_runtime.endpoints import Outsider, Who
from edge_runtime.errors import ConfigError, DeniedError, HostError, LimitError
from edge_runtime.host.services import TOKEN_FILE, Services
from edge_runtime.host.shadows import ShadowKeeper
from edge_runtime.model import NO_HEADERS, Event, Result
from tests.endpoints.serving import boto_client
from tests.host.hosting import Site, site

if TYPE_CHECKING:
    from edge_runtime.store.store import Store

pytest.importorskip("boto3")

HANDLERS = '''
import json
import os

import boto3
import greengrasssdk

iot = boto3.client("iot-data")
functions = boto3.client("lambda")


def publish(event, context):
    """As found in tutorials."""
    iot.publish(topic="out/a", qos=1, payload=json.dumps({"soil": event["soil"]}))
    return "published"


def forbidden(event, context):
    try:
        iot.publish(topic="out/secret", payload=b"")
    except iot.exceptions.ClientError as error:
        return error.response["Error"]


def call(event, context):
    answer = functions.invoke(FunctionName="add", Payload=json.dumps([1, 2]))
    return json.load(answer["Payload"])


def round_in_circles(event, context):
    answer = functions.invoke(FunctionName=context.function_name, Payload=json.dumps(event + 1))
    return json.load(answer["Payload"])


def begin(event, context):
    return functions.invoke(FunctionName="add", InvocationType="Event", Payload="[3, 4]")["StatusCode"]


def add(event, context):
    return sum(event)


def greengrass(event, context):
    greengrasssdk.client("iot-data").publish(topic="out/g", payload="from greengrass")
    answer = greengrasssdk.client("lambda").invoke(FunctionName="add", Payload="[5, 6]")
    return json.loads(answer["Payload"].read())


def storage(event, context):
    try:
        boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL_LAMBDA"]).list_buckets()
    except Exception as error:
        return str(error)


def who(event, context):
    return [boto3.__name__, "awscrt" in __import__("sys").modules]
'''


def function(folder: Path, handler: str, **more: Any) -> Function:  # noqa: ANN401 - fields of Function
    code = folder / "code"
    code.mkdir(exist_ok=True)
    (code / "app.py").write_text(HANDLERS, encoding="utf-8")
    return replace(Function(handler, code, f"app.{handler}", timeout_s=30.0, memory_mb=256), **more)


def app(folder: Path, *handlers: str, **more: Any) -> App:  # noqa: ANN401 - fields of Function
    functions = tuple(function(folder, name, **more) for name in handlers)
    return App("pi-7", folder, functions=functions)


async def answer(it: Site, name: str, event: object = None) -> Any:  # noqa: ANN401 - JSON
    result = await it.host.pool.invoke(name, json.dumps(event).encode(), request_id=f"r-{name}")
    assert not result.error, result
    return json.loads(result.payload)


async def event_on(it: Site, topic: str, work: Any) -> Event:  # noqa: ANN401 - an awaitable
    """Return the first event on a topic that comes of some work."""
    watcher = it.host.bus.watch(topic)
    done = asyncio.ensure_future(work)
    async with asyncio.timeout(30):
        async for event, _ in watcher.entries():
            await done
            return event
    raise AssertionError


# -- from within a handler -----------------------------------------------------------------------------------------


async def test_a_handler_publishes_with_boto3_offline(tmp_path: Path) -> None:
    async with site(app(tmp_path, "publish"), tmp_path / "state") as it:
        event = await event_on(it, "out/a", answer(it, "publish", {"soil": 12}))
    assert (event.topic, event.payload, event.source) == ("out/a", b'{"soil": 12}', "function/publish")
    assert event.headers == {"edge-cause": "r-publish", "edge-depth": "1"}


async def test_a_topic_that_is_not_allowed_is_forbidden(tmp_path: Path) -> None:
    one = app(tmp_path, "forbidden", allow=Permissions(publish=("out/a",)))
    async with site(one, tmp_path / "state") as it:
        error = await answer(it, "forbidden")
    assert error["Code"] == "ForbiddenException"
    assert error["Message"].startswith("function 'forbidden' may not emit on topic 'out/secret'")


async def test_a_handler_invokes_another_in_both_ways(tmp_path: Path) -> None:
    async with site(app(tmp_path, "call", "begin", "add"), tmp_path / "state") as it:
        assert await answer(it, "call") == 3
        event = await event_on(it, "function/add/invoke", answer(it, "begin"))
        assert (event.payload, event.source, event.headers["edge-depth"]) == (b"[3, 4]", "function/begin", "1")
        await it.settled("function/add", 1)


async def test_a_function_that_invokes_itself_is_stopped(tmp_path: Path) -> None:
    async with site(app(tmp_path, "round_in_circles", concurrency=10), tmp_path / "state") as it:
        result = await it.host.pool.invoke("round_in_circles", b"0", request_id="r")
    # The error of the innermost is what those around it got for an answer.
    assert b"RecursiveInvocationException" in result.payload
    assert b"9 functions have set each other off in a row; 8 may" in result.payload


async def test_greengrasssdk_works_in_every_function(tmp_path: Path) -> None:
    async with site(app(tmp_path, "greengrass", "add"), tmp_path / "state") as it:
        event = await event_on(it, "out/g", answer(it, "greengrass"))
        assert (event.payload, event.source) == (b"from greengrass", "function/greengrass")


async def test_what_is_not_served_says_so(tmp_path: Path) -> None:
    async with site(app(tmp_path, "storage"), tmp_path / "state") as it:
        assert "service s3 is not served here" in await answer(it, "storage")


async def test_a_handler_with_boto3_has_no_awscrt_in_it(tmp_path: Path) -> None:
    async with site(app(tmp_path, "who"), tmp_path / "state") as it:
        assert await answer(it, "who") == ["boto3", False]


async def test_a_host_whose_functions_do_not_ask_imports_no_http_library(tmp_path: Path) -> None:
    async with site(App("pi-7", tmp_path), tmp_path / "state") as it:
        assert it.host.services.listener.port > 0
        assert not it.host.services.listener.awake


# -- from beside the host --------------------------------------------------------------------------------------------


async def test_boto3_beside_the_host_finds_it_by_the_token(tmp_path: Path) -> None:
    async with site(app(tmp_path, "add"), tmp_path / "state") as it:
        variables = (await it.ask("endpoint"))["variables"]

        def work() -> tuple[int, bytes]:
            client = boto_client("lambda", variables["AWS_ENDPOINT_URL"], variables["AWS_SESSION_TOKEN"])
            reply = client.invoke(FunctionName="add", Payload=b"[20, 22]", LogType="Tail")
            return reply["StatusCode"], reply["Payload"].read()

        assert await asyncio.to_thread(work) == (200, b"42")
        mode = (tmp_path / "state" / TOKEN_FILE).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600


async def test_the_aws_command_line(tmp_path: Path) -> None:
    aws = Path(sys.executable).parent / "aws"
    if not aws.is_file():
        pytest.skip("awscli is not installed")
    async with site(app(tmp_path, "add"), tmp_path / "state") as it:
        variables = (await it.ask("endpoint"))["variables"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables}

        async def run(*arguments: str) -> Any:  # noqa: ANN401 - JSON
            process = await asyncio.create_subprocess_exec(
                aws, *arguments, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            out, err = await process.communicate()
            assert process.returncode == 0, err.decode()
            return json.loads(out)

        url = ("--endpoint-url", variables["AWS_ENDPOINT_URL"])
        said = await run(*url, "lambda", "invoke", "--function-name", "add", "--payload", "[1, 2]", str(tmp_path / "r"))
        assert said == {"StatusCode": 200, "ExecutedVersion": "$LATEST"}
        assert (tmp_path / "r").read_text() == "3"
        listed = await run("lambda", "list-functions")
        assert [(one["FunctionName"], one["Handler"]) for one in listed["Functions"]] == [("add", "app.add")]


async def test_a_token_outlives_a_restart_and_a_workers_does_not_outlive_it(tmp_path: Path) -> None:
    one = app(tmp_path, "add")
    tokens = []
    for _ in range(2):
        async with site(one, tmp_path / "state") as it:
            tokens.append((await it.ask("endpoint"))["variables"]["AWS_SESSION_TOKEN"])
            assert it.host.services.who(tokens[0]) == Outsider
            assert it.host.services.who("x" * 43) is None
    assert tokens[0] == tokens[1]
    assert len(tokens[0]) == 43


# -- alone -----------------------------------------------------------------------------------------------------------


class FakePool:
    """Notes what it is to run."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def caller(self, _token: str) -> None:
        """Know nobody."""

    async def invoke(  # noqa: D102 - Runner
        self,
        name: str,
        payload: bytes,
        *,
        request_id: str,
        context: Mapping[str, object] | None = None,
        depth: int = 0,
        wait: bool = True,
    ) -> Result:
        assert request_id
        self.asked.append((name, payload, context, depth, wait))
        return Result(b"1")


NARROW = Function("narrow", Path(), "a.b", allow=Permissions(publish=("ok/#",), invoke=("raw",)))
RAW = Function("raw", Path(), "a.b", binary=True)


class Alone:
    """Services without a host."""

    def __init__(self, folder: Path) -> None:
        self.events: list[Event] = []
        self.pool = FakePool()
        keeper = ShadowKeeper(cast("Store", None), "pi-7", SystemClock(), self._emit)  # no test here looks at shadows
        self.services = Services((NARROW, RAW), self._emit, SystemClock(), folder, keeper)

    async def _emit(self, *events: Event, memo: Mapping[str, str] = NO_HEADERS) -> None:
        assert not memo
        self.events += events


async def test_a_function_may_do_what_it_is_allowed_and_no_more(tmp_path: Path) -> None:
    alone, who = Alone(tmp_path), Who(NARROW, "r-1", 3)
    alone.services.open(alone.pool)
    await alone.services.publish(who, "ok/a", b"1", {"k": "v"})
    assert alone.events[0].headers == {"k": "v", "edge-cause": "r-1", "edge-depth": "4"}
    with pytest.raises(DeniedError, match="may not emit on topic 'no/a'"):
        await alone.services.publish(who, "no/a", b"1", {})
    with pytest.raises(DeniedError):
        await alone.services.begin(who, "narrow", b"1", "")
    with pytest.raises(DeniedError):
        await alone.services.call(who, "narrow", b"1", {})
    assert [alone.services.may_invoke(who, name) for name in ("raw", "narrow")] == [True, False]
    await alone.services.close()


async def test_a_client_context_travels_with_the_event(tmp_path: Path) -> None:
    alone = Alone(tmp_path)
    number = await alone.services.begin(Outsider, "raw", b"x", '{"custom": {}}')
    (event,) = alone.events
    assert (event.id, event.topic, event.source) == (number, "function/raw/invoke", "cli")
    assert event.headers == {"edge-client-context": '{"custom": {}}'}


async def test_a_call_never_waits_and_counts_its_depth(tmp_path: Path) -> None:
    alone = Alone(tmp_path)
    with pytest.raises(HostError):
        await alone.services.call(Outsider, "raw", b"x", {})
    alone.services.open(alone.pool)
    await alone.services.call(Outsider, "narrow", b"{}", {})
    await alone.services.call(Who(NARROW, "r", 7), "raw", b"\xff", {"client_context": "{}"})
    with pytest.raises(LimitError, match="9 functions"):
        await alone.services.call(Who(NARROW, "r", 8), "raw", b"", {})
    assert alone.pool.asked == [
        ("narrow", b"{}", {}, 0, False),
        ("raw", b"\xff", {"client_context": "{}", "content_type": "application/octet-stream"}, 8, False),
    ]
    await alone.services.close()


async def test_a_function_with_keys_of_its_own_speaks_to_aws_itself(tmp_path: Path) -> None:
    alone = Alone(tmp_path)
    assert alone.services.variables(RAW, "t") == {}  # nothing listens yet
    alone.services.open(alone.pool)
    url = alone.services.listener.url
    given = alone.services.variables(RAW, "t")
    assert given["AWS_ENDPOINT_URL_IOT_DATA_PLANE"] == given["AWS_ENDPOINT_URL_LAMBDA"] == given["EDGE_ENDPOINT"] == url
    assert given["AWS_SESSION_TOKEN"] == given["EDGE_TOKEN"] == "t"  # noqa: S105 - made up
    assert "AWS_ENDPOINT_URL" not in given
    own = replace(RAW, environment={"AWS_ACCESS_KEY_ID": "mine"})
    assert sorted(alone.services.variables(own, "t")) == ["AWS_EC2_METADATA_DISABLED", "EDGE_ENDPOINT", "EDGE_TOKEN"]
    await alone.services.close()


async def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    alone = Alone(tmp_path)
    alone.services.open(alone.pool)
    (tmp_path / TOKEN_FILE).write_text("x" * 43)
    (tmp_path / TOKEN_FILE).chmod(0o644)
    with pytest.raises(ConfigError, match=r"is open to other users \(644\)"):
        alone.services.outside()
    (tmp_path / TOKEN_FILE).chmod(0o600)
    (tmp_path / TOKEN_FILE).write_text("short")
    with pytest.raises(ConfigError, match="holds no token"):
        alone.services.outside()
    await alone.services.close()
