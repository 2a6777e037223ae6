"""The IoT data plane, asked by boto3 and by hand."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from edge_runtime.endpoints import Who
from edge_runtime.errors import DeniedError, EdgeError, LimitError, QueueFullError, StoreError
from tests.endpoints.serving import NARROW, NARROW_TOKEN, endpoint

pytest.importorskip("boto3")


def code(client: Any, call: str, **request: Any) -> str:  # noqa: ANN401 - boto3's
    with pytest.raises(client.exceptions.ClientError) as caught:
        getattr(client, call)(**request)
    error: str = caught.value.response["Error"]["Code"]
    return error


@pytest.mark.parametrize(
    "topic", ["a/b", "/a//b/", "a b+c%2F".replace("+", "-"), "$aws/things/x/shadow/update", "ü/日"]
)
async def test_what_is_published_arrives_as_it_is(topic: str) -> None:
    async with endpoint() as it:
        await it.boto("iot-data", lambda c: c.publish(topic=topic, qos=1, payload=b"\x00\xff"))
    assert it.backend.asked == [("publish", Who(), topic, b"\x00\xff", {})]


async def test_a_payload_may_be_empty_and_a_caller_is_known() -> None:
    async with endpoint() as it:
        await it.boto("iot-data", lambda c: c.publish(topic="a", retain=True), NARROW_TOKEN)
    assert it.backend.asked == [("publish", Who(NARROW, "r-1", 2), "a", b"", {})]


async def test_user_properties_become_headers() -> None:
    given = json.dumps([{"k": "v"}, {"edge-depth": "0"}, {"l": "w"}])
    async with endpoint() as it:
        await it.boto("iot-data", lambda c: c.publish(topic="a", userProperties=given))
        plain = {"x-amz-mqtt5-user-properties": base64.b64encode(given.encode()).decode()}
        assert (await it.http("POST", "/topics/a", b"", plain))[0] == 200
        assert [asked[4] for asked in it.backend.asked] == [{"k": "v", "l": "w"}] * 2
        for bad in ("%", base64.b64encode(b'{"k": 1}').decode(), base64.b64encode(b'[{"k": 1}]').decode(), "A" * 9000):
            status, headers, _ = await it.http("POST", "/topics/a", b"", {"x-amz-mqtt5-user-properties": bad})
            assert (status, headers["x-amzn-errortype"]) == (400, "InvalidRequestException")


@pytest.mark.parametrize("topic", ["a/+", "#", "a/b/c/d/e/f/g/h/i", "x" * 257, "a\x00b"])
async def test_a_topic_that_aws_does_not_take_is_refused(topic: str) -> None:
    async with endpoint() as it:
        assert await it.boto("iot-data", lambda c: code(c, "publish", topic=topic)) == "InvalidRequestException"
    assert it.backend.asked == []


async def test_a_topic_that_is_no_text_is_refused() -> None:
    async with endpoint() as it:
        status, headers, _ = await it.http("POST", "/topics/a%ff")
        assert (status, headers["x-amzn-errortype"]) == (400, "InvalidRequestException")
        status, _, body = await it.http("POST", "/topics/a?qos=2")
        assert (status, json.loads(body)["message"]) == (400, "qos is 0 or 1, not '2'")
    assert it.backend.asked == []


async def test_a_payload_has_a_limit() -> None:
    most = 128 * 1024
    async with endpoint() as it:
        await it.boto("iot-data", lambda c: c.publish(topic="a", payload=b"x" * most))
        found = await it.boto("iot-data", lambda c: code(c, "publish", topic="a", payload=b"x" * (most + 1)))
    assert found == "RequestEntityTooLargeException"
    assert len(it.backend.asked) == 1


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (DeniedError("no"), 403, "ForbiddenException"),
        (LimitError("too much"), 400, "InvalidRequestException"),
        (QueueFullError("full"), 429, "ThrottlingException"),
        (StoreError("disk"), 503, "ServiceUnavailableException"),
    ],
)
async def test_errors_of_the_host_have_the_names_of_aws(error: EdgeError, status: int, name: str) -> None:
    async with endpoint() as it:
        it.fails_with(error)
        got, headers, body = await it.http("POST", "/topics/a")
    assert (got, headers["x-amzn-errortype"], json.loads(body)["message"]) == (status, name, str(error))


async def test_shadows() -> None:
    def use(client: Any) -> list[object]:  # noqa: ANN401 - boto3's clients have no types
        updated = client.update_thing_shadow(thingName="pi-7", payload=b'{"state":{"desired":{"pump":"on"}}}')
        client.update_thing_shadow(thingName="pi-7", shadowName="b", payload=b'{"state":{"reported":{"x":1}}}')
        client.update_thing_shadow(thingName="pi-7", shadowName="c", payload=b'{"state":{"reported":{"x":2}}}')
        got = client.get_thing_shadow(thingName="pi-7")
        first = client.list_named_shadows_for_thing(thingName="pi-7", pageSize=1)
        client.delete_thing_shadow(thingName="pi-7", shadowName="b")
        return [
            json.loads(updated["payload"].read())["version"],
            json.loads(got["payload"].read())["state"],
            first["results"],
            client.list_named_shadows_for_thing(thingName="pi-7", nextToken=first["nextToken"])["results"],
            code(client, "get_thing_shadow", thingName="pi-7", shadowName="b"),
        ]

    async with endpoint() as it:
        assert await it.boto("iot-data", use) == [
            1,
            {"desired": {"pump": "on"}, "delta": {"pump": "on"}},
            ["b"],
            ["c"],
            "ResourceNotFoundException",
        ]


@pytest.mark.parametrize(
    ("thing", "payload", "error"),
    [
        ("pi-8", b'{"state":{}}', "ResourceNotFoundException"),
        ("pi-7", b"no json", "InvalidRequestException"),
        ("pi-7", b'{"state":{"desired":{"x":1}},"version":9}', "ConflictException"),
        ("pi-7", b'{"state":{"desired":{"x":"%b"}}}' % (b"y" * 9000), "RequestEntityTooLargeException"),
        ("pi-7", b"x" * 140_000, "RequestEntityTooLargeException"),
    ],
)
async def test_shadows_that_are_refused(thing: str, payload: bytes, error: str) -> None:
    async with endpoint() as it:
        found = await it.boto("iot-data", lambda c: code(c, "update_thing_shadow", thingName=thing, payload=payload))
    assert found == error


async def test_a_page_of_shadows_must_be_a_number() -> None:
    async with endpoint() as it:
        got, _, body = await it.http("GET", "/api/things/shadow/ListNamedShadowsForThing/pi-7?pageSize=x")
    assert (got, json.loads(body)["message"]) == (400, "pageSize is a number, not 'x'")
