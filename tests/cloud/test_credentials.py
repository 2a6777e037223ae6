"""Credentials of the role that the cloud lends a device."""

from __future__ import annotations

import asyncio
import re
import subprocess
import threading
from pathlib import Path

import pytest

from edge_runtime.clock import FakeClock
from edge_runtime.cloud.credentials import Credentials, Identity, Loan, region_of, role_alias, token_exchange
from edge_runtime.errors import ConfigError, LinkError, RefusedError
from edge_runtime.standin import certs
from edge_runtime.standin.certs import Certificates
from tests.cloud.lender import lender


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certs.make(tmp_path_factory.mktemp("tls"), client="pi-7")


def identity(made: Certificates) -> Identity:
    return Identity("pi-7", made.client.cert, made.client.key, made.client.ca)


class Scripted:
    """Gives what is in the list, one after the other; the last for ever."""

    def __init__(self, *answers: Loan | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> Loan:
        """Return or raise the next."""
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


ONE, TWO = Loan("ASIA1", "s", "t", 3600.0), Loan("ASIA2", "s", "t", 3600.0)


# -- how long they are kept ----------------------------------------------------------------------------------------


async def test_they_are_fetched_once_and_count_down() -> None:
    clock, fetch = FakeClock(), Scripted(ONE)
    credentials = Credentials(fetch, clock)
    assert credentials.state.state == "not asked for"
    assert await asyncio.gather(*(credentials.get() for _ in range(5))) == [ONE] * 5
    await clock.advance(600)
    assert await credentials.get() == ONE._replace(life_s=3000.0)
    assert (fetch.asked, credentials.state.state, credentials.state.fetched) == (1, "held", 1)
    await credentials.close()


async def test_they_are_renewed_when_a_third_is_left_and_nobody_waits_for_it() -> None:
    clock, go = FakeClock(), threading.Event()

    def fetch() -> Loan:
        if not asked:
            asked.append(1)
            return ONE
        assert go.wait(10)
        return TWO

    asked: list[int] = []
    credentials = Credentials(fetch, clock)
    await credentials.get()
    await clock.advance(2401)
    assert await credentials.get() == ONE._replace(life_s=1199.0)  # at once, though the new ones are not there yet
    go.set()
    async with asyncio.timeout(10):
        while (found := await credentials.get()) is None or found.access_key != "ASIA2":
            await asyncio.to_thread(go.wait, 0.01)
    assert await credentials.get() == TWO
    await credentials.close()


async def test_offline_they_are_used_up_to_their_end_and_not_longer(caplog: pytest.LogCaptureFixture) -> None:
    clock, fetch = FakeClock(), Scripted(ONE, LinkError("no network"))
    credentials = Credentials(fetch, clock)
    await credentials.get()
    await clock.advance(3590)
    found = await credentials.get()
    assert found is not None
    assert found.life_s == 10.0
    await clock.advance(6)
    assert await credentials.get() is None
    assert (credentials.state.state, credentials.state.last_error) == ("none", "no network")
    for _ in range(20):
        await clock.advance(20)
        assert await credentials.get() is None
    assert caplog.text.count("no network") == 1
    await credentials.close()


async def test_a_failure_is_not_repeated_at_every_call_and_is_mended_in_seconds() -> None:
    clock, fetch = FakeClock(), Scripted(LinkError("no network"))
    credentials = Credentials(fetch, clock)
    for _ in range(2000):
        await credentials.get()
        await clock.advance(0.01)  # botocore asks on every signature
    assert fetch.asked < 60
    fetch.answers = [ONE]
    await clock.advance(15)
    assert await credentials.get() == ONE
    assert credentials.state.last_error == ""
    await credentials.close()


async def test_a_wall_clock_that_jumps_ends_nothing() -> None:
    clock = FakeClock()
    credentials = Credentials(Scripted(ONE), clock)
    await credentials.get()
    for seconds in (1e9, -2e9):
        clock.jump(seconds)
        assert await credentials.get() == ONE
    await credentials.close()


async def test_whoever_answers_slowly_is_not_waited_for_longer_than_an_sdk_does() -> None:
    go = threading.Event()

    def fetch() -> Loan:
        go.wait(20)
        return ONE

    credentials = Credentials(fetch, FakeClock())
    async with asyncio.timeout(15):
        assert await credentials.get() is None
    go.set()
    async with asyncio.timeout(10):
        while await credentials.get() is None:
            await asyncio.to_thread(go.wait, 0.01)
    await credentials.close()
    await credentials.close()


# -- the credentials provider ------------------------------------------------------------------------------------------


def test_the_provider_is_asked_with_the_certificate_and_the_thing(made: Certificates) -> None:
    with lender(made.server) as it:
        loan = role_alias("localhost", "edge-runtime", identity(made), it.port)()
    assert loan == Loan("ASIA1", "s", "t", 3600.0)  # by the clock of the provider, which is years ahead
    ((path, headers, name),) = it.asked
    assert (path, headers["x-amzn-iot-thingname"], name) == (
        "/role-aliases/edge-runtime/credentials",
        "pi-7",
        "pi-7",
    )


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (403, b'{"message":"Access Denied"}', RefusedError, r"answered 403: Access Denied"),
        (404, b'{"message":"No such alias"}', RefusedError, r"answered 404: No such alias"),
        (500, b"<html>", LinkError, r"answered 500$"),
        (429, b'["x"]', LinkError, r"answered 429$"),
        (200, b"<html>", LinkError, "no JSON object"),
        (200, b'"text"', LinkError, "no JSON object"),
        (200, b'{"credentials": []}', LinkError, "without accessKeyId, secretAccessKey, sessionToken, expiration"),
        (
            200,
            b'{"credentials":{"accessKeyId":"a","secretAccessKey":"b","sessionToken":"c","expiration":"soon"}}',
            LinkError,
            "'soon'",
        ),
        (
            200,
            b'{"credentials":{"accessKeyId":"a","secretAccessKey":"b","sessionToken":"c","expiration":"2031-05-01T11:00:00Z"}}',
            LinkError,
            "have expired",
        ),
    ],
)
def test_an_answer_that_is_none_is_explained(
    made: Certificates, status: int, body: bytes, kind: type[Exception], says: str
) -> None:
    with lender(made.server) as it:
        it.status, it.body = status, body
        with pytest.raises(kind, match=says) as raised:
            role_alias("localhost", "edge", identity(made), it.port)()
    assert isinstance(raised.value, RefusedError) == (status in (403, 404))


def test_somebody_elses_server_is_not_talked_to(made: Certificates, tmp_path: Path) -> None:
    strange = certs.make(tmp_path, hosts=["other.example"])
    with lender(strange.server) as it:
        with pytest.raises(LinkError, match=r"cannot be reached: .*certificate verify failed"):
            role_alias("localhost", "edge", identity(made), it.port)()
        assert it.asked == []


def test_files_that_are_missing_are_a_mistake_of_the_app(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        role_alias("localhost", "edge", Identity("pi-7", tmp_path / "a.pem", tmp_path / "a.key"))()


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(made: Certificates, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", str(made.client.key), "-aes256", "-passout", "pass:x", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ConfigError, match="locked by a password"):
        role_alias("localhost", "edge", Identity("pi-7", made.client.cert, locked, made.client.ca))()


async def test_a_name_that_no_dns_can_have_is_nobody(made: Certificates) -> None:
    credentials = Credentials(role_alias(f"{'a' * 64}.example", "edge", identity(made)), FakeClock())
    assert await credentials.get() is None
    assert credentials.state.state == "none"
    assert "cannot be reached" in credentials.state.last_error
    await credentials.close()


def test_nobody_there() -> None:
    with lender() as it:
        port = it.port
    with pytest.raises(LinkError, match=re.escape("token exchange service of the nucleus cannot be reached")):
        token_exchange({"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/c"})()


# -- the nucleus -------------------------------------------------------------------------------------------------------


def test_the_nucleus_is_asked_with_its_token() -> None:
    with lender() as it:
        it.flat = True
        environment = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{it.port}/2016-11-01/credentialprovider/",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "SVCUID",
        }
        assert token_exchange(environment)() == Loan("ASIA1", "s", "t", 3600.0)
    ((path, headers, _),) = it.asked
    assert (path, headers["authorization"]) == ("/2016-11-01/credentialprovider/", "SVCUID")


def test_a_nucleus_that_is_offline_answers_500() -> None:
    with lender() as it:
        it.status, it.body = 500, b"Failed to get connection"
        with pytest.raises(LinkError, match=r"nucleus answered 500$"):
            token_exchange({"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{it.port}/c"})()


def test_a_component_without_the_service_says_what_to_depend_on() -> None:
    with pytest.raises(ConfigError, match="offers no credentials") as raised:
        token_exchange({})()
    assert "aws.greengrass.TokenExchangeService" in raised.value.hint


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        ("c3abc.credentials.iot.eu-west-1.amazonaws.com", "eu-west-1"),
        ("c3abc.credentials.iot.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("localhost", ""),
        ("x.credentials.iot.local", ""),
        ("", ""),
    ],
)
def test_the_region_is_in_the_name(endpoint: str, region: str) -> None:
    assert region_of(endpoint) == region
