"""Certificates that are wrong, on either side of a whole host: nothing goes where it should not, and nothing is lost.

The host speaks to the cloud through a door that notes who knocks, and behind which another server may be for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edge_runtime.cli import cli
from edge_runtime.standin import certs
from edge_runtime.standin.registry import Status, Thing
from edge_runtime.standin.server import Standin
from tests.identities import Authority, Pair, put, replace
from tests.system.oracle import CALLED, DIRECT
from tests.system.rig import DRIVER, FULL, Site, site
from tests.system.takers import Cloud

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command"),
]
DRIVERS = sorted({DRIVER, "paho"})
ROUNDS = 5 if FULL else 1
VISIBLE_S = 5.0
"""Within this time `edge status` says what is wrong."""
_PATIENCE_S = 60.0
_LEAST_S = 0.95
"""Between two connects, as a loop measures a second that has more to do than to look at the time."""
_THING = "pi-7"
ALL = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
NOTHING = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}
NO_PUBLISH = {
    "Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Action": ["iot:Connect", "iot:Subscribe", "iot:Receive"], "Resource": "*"},
}


class Door:
    """Where the host connects to: notes when somebody comes, and leads on to the port that is `target` then."""

    def __init__(self) -> None:
        self.target = 0
        self.came_s: list[float] = []
        """When each connection came, by the steady clock."""
        self._visit = asyncio.Event()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port, the same for ever."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", 0)

    def close(self) -> None:
        """Listen no more."""
        assert self._server is not None
        self._server.close()

    async def visited(self) -> None:
        """Return when the next one comes."""
        visit = self._visit
        async with asyncio.timeout(_PATIENCE_S):
            await visit.wait()

    def check_pace(self) -> None:
        """Return if nobody came twice within a second."""
        gaps = [after - before for before, after in itertools.pairwise(self.came_s)]
        assert min(gaps, default=_LEAST_S) >= _LEAST_S, [round(gap, 2) for gap in gaps]

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came_s.append(time.monotonic())
        visit, self._visit = self._visit, asyncio.Event()
        visit.set()
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pour(reader, outer), _pour(inner, writer))


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


class Impostor:
    """A server with a certificate that is not to be trusted. It keeps every byte that it is told."""

    def __init__(self) -> None:
        self.heard = b""
        self.port = 0

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                self.heard += data
        writer.close()

    @contextlib.asynccontextmanager
    async def standing(self, context: ssl.SSLContext) -> AsyncIterator[Impostor]:
        """Listen meanwhile."""
        server = await asyncio.start_server(self._listen, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


@dataclass
class Account:
    """The cloud behind its door, and a device with an identity in a folder."""

    cloud: Standin
    door: Door
    it: Site
    folder: Path
    """Of the device's certificate and key."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def start(self) -> None:
        """Start the host, and return when it accepts events."""
        await self.it.host.start()
        await asyncio.wait_for(self.it.host.up.wait(), _PATIENCE_S)
        if FULL:
            self.it.produce()

    async def events(self, count: int) -> None:
        """Return when so many more events were accepted: some of many, or in the short form just these."""
        if FULL:
            await self.it.producer.accepted(count)
            return
        for number in itertools.islice(self._numbers, count):
            assert await self.it.producer.publish(CALLED if number % 2 else DIRECT, {"n": number})

    @property
    def connected(self) -> int:
        """How often the cloud has let a connection stand."""
        return self.cloud.counts["connected"]

    async def link(self, *words: str, state: str = "waiting", within_s: float = VISIBLE_S) -> Mapping[str, Any]:
        """Return the status as soon as its link is in that state and all the words are said somewhere in it."""
        begun_s, status = time.monotonic(), dict[str, Any]()
        while time.monotonic() - begun_s < within_s:
            status = await self.it.host.ask("status")
            text = json.dumps(status, ensure_ascii=False)
            if status["link"]["state"] == state and all(word in text for word in words):
                return status
            await asyncio.sleep(0.02)  # nothing but asking tells
        raise AssertionError(f"not said within {within_s:.0f} s: {words}: {status['link']} {status['certificate']}")

    async def up(self, *, after: int = 0) -> None:
        """Return when more connections than `after` have stood, and the last one does."""
        async with asyncio.timeout(_PATIENCE_S):
            await self.cloud.until(lambda: self.connected > after)
        await self.link(state="up", within_s=_PATIENCE_S)

    async def finish(self, least: int) -> None:
        """Let all drain, and judge: nothing lost, the books balance, and nobody was in a hurry."""
        verdict = await self.it.finish()
        assert verdict.accepted >= least
        self.door.check_pace()

    def register(self, pair: Pair) -> str:
        """Let the device with that certificate do its work; return the certificate's id."""
        registry = self.cloud.registry
        if _THING not in registry.things:
            registry.put_thing(Thing(_THING))
            registry.put_policy("device", ALL)
        certificate = registry.register(pair.certificate.decode())
        registry.attach_thing(certificate.id, _THING)
        registry.attach_policy(certificate.id, "device")
        return certificate.id


async def edge_status(account: Account) -> str:
    """Return what `edge status` prints."""
    done = await asyncio.to_thread(CliRunner().invoke, cli, ["status", "--state", str(account.it.host.state)])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody here trusts."""
    folder = tmp_path_factory.mktemp("strange")
    return Authority(certs.make(folder / "tls"), folder / "work")


@pytest.fixture(scope="module")
def pairs(authority: Authority) -> Iterator[Pair]:
    """New identities, one after the other."""
    return (authority.issue(f"device-{number}") for number in itertools.count())


@pytest.fixture
def good(authority: Authority) -> Pair:
    return authority.issue(_THING)


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.asynccontextmanager
async def accounting(
    folder: Path, authority: Authority, shown: Pair, driver: str, *, policies: bool = False
) -> AsyncIterator[Account]:
    """Run a cloud behind a door; a device that shows that pair is ready to start."""
    identity = folder / "identity"
    certificate, key = put(identity, shown)
    more = f"  certificate: {certificate}\n  key: {key}\n  ca: {authority.tls.server.ca}\n"
    cloud, door = Standin(quotas="none", policies=policies), Door()
    await cloud.start(tls=authority.tls.server)
    await door.open()
    door.target = cloud.port
    try:
        async with site(folder, _Behind(cloud, door), driver=driver, more=more) as it:
            yield Account(cloud, door, it, identity)
    finally:
        door.close()
        await cloud.close()


class _Behind(Cloud):
    """The cloud, reached through the door."""

    def __init__(self, standin: Standin, door: Door) -> None:
        super().__init__(standin)
        self._door = door

    @property
    def port(self) -> int:
        """Where the host connects to."""
        return self._door.port


# -- the server's certificate ----------------------------------------------------------------------------------------


def context_of(pair: Pair, folder: Path) -> ssl.SSLContext:
    """Return what a server with that certificate needs."""
    certificate, key = put(folder, pair)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


Wrong = tuple[str, ssl.SSLContext, str]
"""The name of a server that must not be spoken to, how it shakes hands, and what `edge status` says of it."""


def impostors(authority: Authority, strange: Authority, folder: Path) -> Iterator[Wrong]:
    """Yield each of them."""
    late = authority.issue("localhost", end="20250601000000Z", kind="server")
    yield "expired", context_of(late, folder / "expired"), "certificate has expired, as the clock of this machine says"
    early = authority.issue("localhost", begin="20980101000000Z", kind="server")
    yield (
        "early",
        context_of(early, folder / "early"),
        "certificate is not yet valid, as the clock of this machine says",
    )
    other = authority.issue("localhost", kind="other")
    yield "host", context_of(other, folder / "host"), "IP address mismatch, certificate is not valid for '127.0.0.1'"
    foreign = strange.issue("localhost", kind="server")
    yield "ca", context_of(foreign, folder / "ca"), "unable to get local issuer certificate"
    right = authority.issue("localhost", kind="server")
    old = context_of(right, folder / "old")
    old.set_ciphers("ALL:@SECLEVEL=0")
    with_old(old)
    yield "tls 1.1", old, "TLS with 127.0.0.1"


def with_old(context: ssl.SSLContext) -> None:
    """Let a server speak nothing newer than TLS 1.1."""
    import warnings  # noqa: PLC0415 - only here

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1


async def test_a_server_that_cannot_be_trusted_is_told_nothing(
    tmp_path: Path, authority: Authority, strange: Authority, good: Pair
) -> None:
    wrong = list(impostors(authority, strange, tmp_path))
    async with asyncio.TaskGroup() as group:  # side by side: it is mostly waiting
        for driver in DRIVERS:
            group.create_task(_meet(tmp_path / driver, authority, good, driver, wrong))


async def _meet(folder: Path, authority: Authority, good: Pair, driver: str, wrong: Sequence[Wrong]) -> None:
    """Have a host meet one impostor after the other, and the cloud between them."""
    async with accounting(folder, authority, good, driver) as account:
        await account.start()
        for name, context, words in wrong:
            await account.up()
            async with Impostor().standing(context) as impostor:
                before = account.connected, len(account.cloud.record)
                account.door.target = impostor.port
                account.cloud.faults.drop()
                await account.door.visited()
                status = await account.link(words)
                assert status["link"]["hint"], name
                shown = await edge_status(account)
                assert words in shown, name
                assert f"try: {status['link']['hint']}" in shown, name
                await account.events(10)
                assert impostor.heard == b"", name
                assert (account.connected, len(account.cloud.record)) == before, name
                account.door.target = account.cloud.port
                await account.up(after=before[0])
        await account.finish(50)


# -- the device's certificate ----------------------------------------------------------------------------------------


async def test_a_device_whose_certificate_has_expired_goes_on_with_another_one(
    tmp_path: Path, authority: Authority, good: Pair, driver: str
) -> None:
    expired = authority.issue(_THING, end="20250601000000Z")
    async with accounting(tmp_path, authority, expired, driver) as account:
        await account.start()
        await account.events(20)
        if not account.door.came_s:
            await account.door.visited()
        status = await account.link("device.pem.crt has expired on 2025-06-01", "127.0.0.1")
        assert status["link"]["last_error"]
        shown = await edge_status(account)
        assert "has expired on 2025-06-01; run: edge provision --force, with a new claim" in shown
        assert account.connected == 0
        assert not account.cloud.record
        put(account.folder, good)
        await account.up()
        assert (await account.link(state="up"))["certificate"]["note"] == ""
        await account.events(10)
        await account.finish(30)


async def test_whatever_is_put_on_disk_the_connection_goes_on(  # noqa: PLR0917 - fixtures
    tmp_path: Path, authority: Authority, strange: Authority, pairs: Iterator[Pair], good: Pair, driver: str
) -> None:
    """A torn pair, one that the broker does not know, none: the one before goes on, over a lost connection too."""
    async with accounting(tmp_path, authority, good, driver) as account:
        await account.start()
        await account.up()
        for number in range(1, ROUNDS + 1):
            before = account.connected
            new = next(pairs)
            certificate, key = account.folder / "device.pem.crt", account.folder / "private.pem.key"

            replace(certificate, new.certificate)
            await account.link("private.pem.key is not that of the certificate", "edge provision", state="up")
            assert account.connected == before
            await drop_and_come_back(account)

            put(account.folder, strange.issue(_THING))
            await account.link("the one before it goes on: 127.0.0.1:", state="up", within_s=_PATIENCE_S)
            assert account.connected == before + 1
            await account.events(10)

            key.unlink()
            certificate.unlink()
            await account.link("device.pem.crt cannot be read", "check the path", state="up")
            await drop_and_come_back(account)

            put(account.folder, new)
            await account.up(after=before + 2)
            await account.link('"note": ""', f'"renewals": {number}', state="up")
            await account.events(10)
        await account.finish(40 * ROUNDS)


async def drop_and_come_back(account: Account) -> None:
    """Cut the connection, and return when another one stands."""
    before = account.connected
    await account.events(10)
    account.cloud.faults.drop()
    await account.up(after=before)


async def test_a_certificate_that_is_revoked_is_refused_until_there_is_another(
    tmp_path: Path, authority: Authority, pairs: Iterator[Pair], good: Pair, driver: str
) -> None:
    async with accounting(tmp_path, authority, good, driver, policies=True) as account:
        certificate_id = account.register(good)
        await account.start()
        for _ in range(ROUNDS):
            await account.up()
            before = account.connected
            await account.events(20)
            account.cloud.registry.set_status(certificate_id, Status.REVOKED)
            status = await account.link("127.0.0.1", "the certificate is active")
            recorded = len(account.cloud.record)
            shown = await edge_status(account)
            assert f"try: {status['link']['hint']}" in shown
            await account.events(20)
            assert (account.connected, len(account.cloud.record)) == (before, recorded)
            new = next(pairs)
            certificate_id = account.register(new)
            put(account.folder, new)
            begun_s = time.monotonic()
            await account.up(after=before)
            assert time.monotonic() - begun_s < 20  # and not after minutes, when its turn would have come
        await account.finish(40 * ROUNDS)


@pytest.mark.parametrize(
    ("document", "words"), [(NOTHING, "iot:Connect"), (NO_PUBLISH, "let a policy of the certificate allow it")]
)
async def test_a_policy_that_is_taken_away_and_given_back(  # noqa: PLR0917 - fixtures
    tmp_path: Path, authority: Authority, good: Pair, driver: str, document: Mapping[str, object], words: str
) -> None:
    async with accounting(tmp_path, authority, good, driver, policies=True) as account:
        it = account.it
        account.register(good)
        await account.start()
        await account.up()
        await account.events(20)
        account.cloud.registry.put_policy("device", document)
        await account.events(10)  # AWS takes no notice of a connection that does nothing
        await account.link(words)
        recorded = len(account.cloud.record)
        shown = await edge_status(account)
        assert words in shown
        await account.events(20)
        assert len(account.cloud.record) == recorded, "nothing that is not allowed arrives"
        account.cloud.registry.put_policy("device", ALL)
        await it.fence()
        await account.finish(40)
