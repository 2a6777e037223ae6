"""The door: who may come in, and what is not there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_runtime import plugin
from tests.endpoints.serving import TOKEN, endpoint

pytest.importorskip("boto3")

ROUTES = ["/topics/a", "/things/x/shadow", "/2015-03-31/functions", "/credentials/echo", "/", "/nothing", "/health"]


def test_every_service_is_a_plug_in() -> None:
    assert plugin.names("endpoints") == ["credentials", "iot_data", "lambda_"]


@pytest.mark.parametrize("path", ROUTES)
async def test_without_a_token_there_is_nothing(path: str) -> None:
    async with endpoint() as it:
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            status, headers, _ = await it.http(method, path, token="")
            assert (status, headers["x-amzn-errortype"]) == (403, "MissingAuthenticationTokenException")
            wrong = {"authorization": "x"}
            status, headers, body = await it.http(method, path, headers=wrong, token=f"{TOKEN}x")
            assert (status, headers["x-amzn-errortype"]) == (403, "UnrecognizedClientException")
            assert json.loads(body)["message"].startswith("The security token included in the request is invalid")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil:1", "127.0.0.1", "localhost", "127.0.0.1:1", ""])
async def test_only_this_host_is_meant(host: str) -> None:
    async with endpoint() as it:
        status, headers, _ = await it.http("POST", "/topics/a", headers={"host": host})
    assert (status, headers["x-amzn-errortype"]) == (403, "ForbiddenException")
    assert it.backend.asked == []


async def test_localhost_is_this_host_and_a_web_page_is_not() -> None:
    async with endpoint() as it:
        assert (await it.http("POST", "/topics/a", headers={"host": f"localhost:{it.port}"}))[0] == 200
        for origin in ("null", f"http://127.0.0.1:{it.port}", "https://evil.example"):
            status, headers, _ = await it.http("POST", "/topics/a", headers={"origin": origin})
            assert status == 403
            assert "access-control-allow-origin" not in headers
    assert len(it.backend.asked) == 1


async def test_two_host_headers_are_none() -> None:
    async with endpoint() as it:
        head = f"Host: 127.0.0.1:{it.port}\r\n"
        got = await it.raw(f"POST /topics/a HTTP/1.1\r\n{head}{head}x-amz-security-token: {TOKEN}\r\n\r\n".encode())
        assert got.startswith(b"HTTP/1.1 400 ")
    assert it.backend.asked == []


async def test_what_does_not_exist() -> None:
    async with endpoint() as it:
        for method, path, status in (
            ("GET", "/nothing", 404),
            ("GET", "/topics/a", 405),
            ("POST", "/2015-03-31/functions", 405),
            ("POST", "/x/../topics/a", 404),
            ("POST", "//topics/a", 404),
        ):
            assert (await it.http(method, path))[0] == status


CALLS: dict[str, Any] = {
    "s3": lambda c: c.list_buckets(),
    "dynamodb": lambda c: c.list_tables(),
    "sqs": lambda c: c.list_queues(),
    "sts": lambda c: c.get_caller_identity(),
    "secretsmanager": lambda c: c.list_secrets(),
    "ec2": lambda c: c.describe_regions(),
}


@pytest.mark.parametrize("service", CALLS)
async def test_other_services_say_that_they_are_not_served(service: str) -> None:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - after the check that it is there

    async with endpoint() as it:
        with pytest.raises(ClientError, match=rf"\(NotImplemented\).*service {service} is not served here"):
            await it.boto(service, CALLS[service])


async def test_a_mistake_of_ours_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with endpoint() as it:
        it.fails_with(RuntimeError("a mistake"))
        status, _, body = await it.http("POST", "/topics/a")
        assert (status, json.loads(body)["message"]) == (500, "the host failed; its log says why")
        it.backend.failure = None
        assert (await it.http("POST", "/topics/a"))[0] == 200
    assert "POST /topics/a failed" in caplog.text
    assert TOKEN not in caplog.text
