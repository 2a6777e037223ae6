"""A function with AWS's own SDK in an app that lends it credentials: offline, and when the link is back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import NOTHING, App, Function, LinkSpec, RoleAlias
from edge_runtime.clock import SystemClock
from edge_runtime.host.credentials import lent, region
from edge_runtime.standin import certs
from tests.cloud.lender import lender
from tests.host.hosting import FREE, Site, site

pytest.importorskip("boto3")

HANDLERS = """
import json
import os

import boto3
from botocore.exceptions import EndpointConnectionError

iot = boto3.client("iot-data")
functions = boto3.client("lambda")
queues = boto3.client("sqs", endpoint_url="http://127.0.0.1:9")


def keys(event, context):
    try:
        queues.list_queues()
    except EndpointConnectionError:
        frozen = boto3.Session().get_credentials().get_frozen_credentials()
        return [frozen.access_key, os.environ["AWS_REGION"], "AWS_ACCESS_KEY_ID" in os.environ]


def publish(event, context):
    iot.publish(topic="out/a", qos=1, payload=json.dumps(event))
    names = iot.list_named_shadows_for_thing(thingName="pi-7")["results"]
    return [names, json.load(functions.invoke(FunctionName="keys", Payload="{}")["Payload"])[0]]
"""


def function(folder: Path, name: str) -> Function:
    code = folder / "code"
    code.mkdir(exist_ok=True)
    (code / "app.py").write_text(HANDLERS, encoding="utf-8")
    return Function(name, code, f"app.{name}", timeout_s=30.0, memory_mb=256)


def app(folder: Path, port: int, files: certs.TlsFiles | None = None) -> App:
    options: Mapping[str, object] = {} if files is None else {
        "certificate": str(files.cert), "key": str(files.key), "ca": str(files.ca)
    }  # fmt: skip
    link = LinkSpec("memory", options, FREE, RoleAlias("localhost", "edge", port))
    return App("pi-7", folder, functions=(function(folder, "keys"), function(folder, "publish")), link=link)


async def answer(it: Site, name: str, event: object = None) -> Any:  # noqa: ANN401 - JSON
    result = await it.host.pool.invoke(name, json.dumps(event).encode(), request_id=f"r-{name}")
    assert not result.error, result
    return json.loads(result.payload)


async def test_handlers_work_offline_and_get_real_keys_when_there_are_some(tmp_path: Path) -> None:
    made = certs.make(tmp_path / "tls", client="pi-7")
    with lender(made.server) as it:
        it.status, it.body = 500, b"{}"
        async with site(app(tmp_path, it.port, made.client), tmp_path / "state") as here, asyncio.timeout(60):
            found = await answer(here, "keys")
            assert found == ["ASIAEDGERUNTIMELOCAL", "local", False]
            assert (await here.ask("status"))["credentials"]["last_error"].endswith("answered 500")
            it.status, it.body = 200, None
            while found[0] == "ASIAEDGERUNTIMELOCAL":
                found = await answer(here, "keys")
            # A real session token says nothing of who asks: the local services know it all the same.
            published = await answer(here, "publish", {"soil": 12})
            state = (await here.ask("status"))["credentials"]
    assert found[0].startswith("ASIA")
    assert published == [[], found[0]]
    assert (state["state"], state["last_error"]) == ("held", "")


async def test_a_function_of_a_strict_app_gets_none_unless_it_may(tmp_path: Path) -> None:
    with lender() as it:
        one = app(tmp_path, it.port)
        one = replace(one, functions=(replace(one.functions[0], allow=NOTHING),))
        async with site(one, tmp_path / "state") as here:
            variables = here.host.services.variables(one.functions[0], "t")
        assert variables["AWS_SESSION_TOKEN"] == "t"  # noqa: S105 - made up
        assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in variables
        assert it.asked == []


def test_an_app_that_names_no_role_lends_nothing(tmp_path: Path) -> None:
    plain = App("pi-7", tmp_path, link=LinkSpec("memory"))
    assert lent(plain, SystemClock()) is None
    assert lent(App("pi-7", tmp_path), SystemClock()) is None
    assert region(plain) == ""


def test_the_region_is_that_of_the_provider(tmp_path: Path) -> None:
    role = RoleAlias("c3.credentials.iot.eu-west-1.amazonaws.com", "edge")
    assert region(App("pi-7", tmp_path, link=LinkSpec("memory", credentials=role))) == "eu-west-1"
