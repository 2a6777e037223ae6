"""The container credential provider."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest

from tests.endpoints.serving import NARROW_TOKEN, TOKEN, endpoint

pytest.importorskip("boto3")

HANDLER = "import boto3; boto3.client('iot-data').publish(topic='a', payload=b'1')"


async def test_keys_are_given_for_the_token() -> None:
    async with endpoint() as it:
        status, headers, body = await it.http("GET", "/credentials/narrow", headers={"authorization": NARROW_TOKEN})
    assert (status, headers["cache-control"]) == (200, "no-store")
    assert json.loads(body) == {
        "AccessKeyId": "ASIAKEY",
        "SecretAccessKey": "secret",
        "Token": NARROW_TOKEN,
        "Expiration": "2096-10-02T07:06:40Z",
    }


async def test_nobody_else_gets_them() -> None:
    async with endpoint() as it:
        other = await it.http("GET", "/credentials/echo", headers={"authorization": NARROW_TOKEN})
        unknown = await it.http("GET", "/credentials/echo", headers={"authorization": "x"})
        # The session token of a signed request is no way in here, nor this one there.
        signed = await it.http("GET", "/credentials/echo", token=TOKEN)
        bare = await it.http("POST", "/topics/a", headers={"authorization": TOKEN}, token="")
    assert [(one[0], one[1]["x-amzn-errortype"]) for one in (other, unknown, signed, bare)] == [
        (403, "AccessDeniedException"),
        (403, "UnrecognizedClientException"),
        (403, "MissingAuthenticationTokenException"),
        (403, "MissingAuthenticationTokenException"),
    ]


async def test_boto3_makes_its_way_from_the_provider_to_a_publish() -> None:
    async with endpoint() as it:
        environment = {
            "PATH": os.environ["PATH"],
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{it.listener.url}/credentials/narrow",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": NARROW_TOKEN,
            "AWS_ENDPOINT_URL": it.listener.url,
            "AWS_DEFAULT_REGION": "local",
        }
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", HANDLER], env=environment, check=True)
    assert [asked[2] for asked in it.backend.asked] == ["a"]


async def test_the_token_may_stand_in_the_path_in_place_of_the_session_token() -> None:
    async with endpoint() as it:
        ours = await it.http("POST", f"/as/{NARROW_TOKEN}/topics/ok%2Fa", b"1", token="of AWS")  # noqa: S106 - made up
        other = await it.http("POST", "/as/nobody/topics/a", b"1", token=TOKEN)
        none = await it.http("POST", "/as//topics/a", b"1", token="")
        bare = await it.http("GET", f"/as/{NARROW_TOKEN}", token="")
    assert [(one[0], one[1].get("x-amzn-errortype")) for one in (ours, other, none, bare)] == [
        (200, None),
        (403, "UnrecognizedClientException"),
        (403, "MissingAuthenticationTokenException"),
        (404, "UnknownOperationException"),
    ]
    ((verb, who, topic, *_),) = it.backend.asked
    assert (verb, who.request_id, topic) == ("publish", "r-1", "ok/a")
