"""The clients of Amazon's own SDK for shadows, jobs and provisioning, against the stand-in over TLS with its quotas."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.standin.certs import Certificates, TlsFiles, make
from edge_runtime.standin.registry import Status, Thing, id_of_pem
from edge_runtime.standin.server import Standin

# The SDK has no types.
awsiot = pytest.importorskip("awsiot")
iotidentity = pytest.importorskip("awsiot.iotidentity")
iotjobs = pytest.importorskip("awsiot.iotjobs")
iotshadow = pytest.importorskip("awsiot.iotshadow")
builder = pytest.importorskip("awsiot.mqtt5_client_builder")
request_response = pytest.importorskip("awscrt.mqtt_request_response")

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
PATIENCE_S = 30
THING = "edge-1"
TEMPLATE = {
    "Parameters": {"SerialNumber": {"Type": "String"}, "AWS::IoT::Certificate::Id": {"Type": "String"}},
    "Resources": {
        "certificate": {
            "Type": "AWS::IoT::Certificate",
            "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "Active"},
        },
        "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "device"}},
        "thing": {
            "Type": "AWS::IoT::Thing",
            "Properties": {
                "ThingName": {"Fn::Join": ["", ["edge-", {"Ref": "SerialNumber"}]]},
                "AttributePayload": {"serial": {"Ref": "SerialNumber"}},
                "ThingGroups": ["edge-runtime"],
            },
        },
    },
    "DeviceConfiguration": {"site": "garden"},
}
DEVICE_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "iot:Connect",
            "Resource": "arn:aws:iot:REGION:ACCOUNT:client/${iot:Connection.Thing.ThingName}",
        },
        {
            "Effect": "Allow",
            "Action": ["iot:Publish", "iot:Receive"],
            "Resource": "arn:aws:iot:REGION:ACCOUNT:topic/$aws/things/${iot:Connection.Thing.ThingName}/*",
        },
        {
            "Effect": "Allow",
            "Action": "iot:Subscribe",
            "Resource": "arn:aws:iot:REGION:ACCOUNT:topicfilter/$aws/things/${iot:Connection.Thing.ThingName}/*",
        },
    ],
}


class Heard:
    """What a stream of the SDK gave, from its thread to ours."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._subscribed = asyncio.Event()

    @property
    def options(self) -> Any:  # noqa: ANN401 - the SDK has no types
        """What a stream is to be made with."""
        return awsiot.ServiceStreamOptions(
            incoming_event_listener=self._event, subscription_status_listener=self._status
        )

    async def open(self, stream: Any) -> None:  # noqa: ANN401 - the SDK has no types
        """Begin to listen, and return once the broker knows."""
        self._stream = stream  # the SDK ends a stream that nobody holds
        stream.open()
        async with asyncio.timeout(PATIENCE_S):
            await self._subscribed.wait()

    async def next(self) -> Any:  # noqa: ANN401 - the SDK has no types
        """Return the next event."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.events.get()

    def _event(self, event: object) -> None:
        self._loop.call_soon_threadsafe(self.events.put_nowait, event)

    def _status(self, status: Any) -> None:  # noqa: ANN401 - the SDK has no types
        if status.type == request_response.SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED:
            self._loop.call_soon_threadsafe(self._subscribed.set)


async def done(future: concurrent.futures.Future[Any]) -> Any:  # noqa: ANN401 - the SDK has no types
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.wrap_future(future)


async def refused(future: concurrent.futures.Future[Any]) -> Any:  # noqa: ANN401 - the SDK has no types
    """Return the error that the service gave."""
    with pytest.raises(awsiot.V2ServiceException) as caught:
        await done(future)
    assert caught.value.modeled_error is not None, caught.value.message
    return caught.value.modeled_error


@contextlib.asynccontextmanager
async def connected(port: int, files: TlsFiles, client_id: str) -> AsyncIterator[Any]:
    """Connect the SDK's MQTT 5 client."""
    loop = asyncio.get_running_loop()
    up: asyncio.Future[None] = loop.create_future()
    down = asyncio.Event()

    def settle(error: Exception | None) -> None:
        if up.done():
            return
        if error is None:
            up.set_result(None)
        else:
            up.set_exception(error)

    def failed(data: Any) -> None:  # noqa: ANN401 - the SDK has no types
        loop.call_soon_threadsafe(settle, ConnectionError(str(data.connack_packet)))

    client = builder.mtls_from_path(
        endpoint="localhost",
        port=port,
        cert_filepath=str(files.cert),
        pri_key_filepath=str(files.key),
        ca_filepath=str(files.ca),
        client_id=client_id,
        on_lifecycle_connection_success=lambda _: loop.call_soon_threadsafe(settle, None),
        on_lifecycle_connection_failure=failed,
        on_lifecycle_stopped=lambda _: loop.call_soon_threadsafe(down.set),
    )
    client.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await up
        yield client
    finally:
        client.stop()
        async with asyncio.timeout(PATIENCE_S):
            await down.wait()


def options() -> Any:  # noqa: ANN401 - the SDK has no types
    return request_response.ClientOptions(
        max_request_response_subscriptions=4, max_streaming_subscriptions=4, operation_timeout_in_seconds=PATIENCE_S
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def standin(files: Certificates) -> AsyncIterator[Standin]:
    standin = Standin()
    try:
        await standin.start(tls=files.server)
        yield standin
    finally:
        await standin.close()


@pytest.fixture
async def client(standin: Standin, files: Certificates) -> AsyncIterator[Any]:
    async with connected(standin.port, files.client, THING) as one:
        yield one


# --- shadows ---


async def test_a_shadow_is_made_read_and_removed(client: Any) -> None:  # noqa: ANN401 - the SDK has no types
    shadows = iotshadow.IotShadowClientV2(client, options())
    state = iotshadow.ShadowState(desired={"pump": "on"}, reported={"pump": "off", "level": 3})
    made = await done(shadows.update_shadow(iotshadow.UpdateShadowRequest(thing_name=THING, state=state)))
    assert (made.version, made.state.desired, made.state.reported) == (1, {"pump": "on"}, {"pump": "off", "level": 3})
    found = await done(shadows.get_shadow(iotshadow.GetShadowRequest(thing_name=THING)))
    assert (found.version, found.state.delta) == (1, {"pump": "on"})
    assert set(found.metadata.reported["level"]) == {"timestamp"}
    gone = await done(shadows.delete_shadow(iotshadow.DeleteShadowRequest(thing_name=THING)))
    assert gone.version == 1
    error = await refused(shadows.get_shadow(iotshadow.GetShadowRequest(thing_name=THING)))
    assert (error.code, error.message) == (404, "No shadow exists with name: Unnamed Shadow")


async def test_named_shadows_and_their_refusals(client: Any) -> None:  # noqa: ANN401 - the SDK has no types
    shadows = iotshadow.IotShadowClientV2(client, options())

    def update(desired: dict[str, object], version: int | None = None) -> concurrent.futures.Future[Any]:
        state = iotshadow.ShadowState(desired=desired)
        future: concurrent.futures.Future[Any] = shadows.update_named_shadow(
            iotshadow.UpdateNamedShadowRequest(thing_name=THING, shadow_name="config", state=state, version=version)
        )
        return future

    assert (await done(update({"rate": 1}))).version == 1
    conflict = await refused(update({"rate": 2}, 7))
    assert (conflict.code, conflict.message) == (409, "Version conflict")
    assert (await refused(update({"text": "x" * 9000}))).code == 413
    deep: dict[str, object] = {}
    for _ in range(8):
        deep = {"a": deep}
    assert (await refused(update(deep))).code == 400
    found = await done(
        shadows.get_named_shadow(iotshadow.GetNamedShadowRequest(thing_name=THING, shadow_name="config"))
    )
    assert (found.version, found.state.desired) == (1, {"rate": 1})


async def test_a_device_hears_what_is_desired_of_it(standin: Standin, client: Any) -> None:  # noqa: ANN401 - as above
    shadows = iotshadow.IotShadowClientV2(client, options())
    deltas, changes = Heard(), Heard()
    named = {"thing_name": THING, "shadow_name": "config"}
    await deltas.open(
        shadows.create_named_shadow_delta_updated_stream(
            iotshadow.NamedShadowDeltaUpdatedSubscriptionRequest(**named), deltas.options
        )
    )
    await changes.open(
        shadows.create_named_shadow_updated_stream(
            iotshadow.NamedShadowUpdatedSubscriptionRequest(**named), changes.options
        )
    )
    standin.shadows.update(THING, "config", {"desired": {"rate": 5}})
    delta = await deltas.next()
    assert (delta.version, delta.state) == (1, {"rate": 5})
    change = await changes.next()
    assert (change.previous, change.current.version) == (None, 1)
    # The device reports; then nothing is left to be done, and no delta comes.
    state = iotshadow.ShadowState(reported={"rate": 5})
    await done(shadows.update_named_shadow(iotshadow.UpdateNamedShadowRequest(**named, state=state)))
    change = await changes.next()
    assert (change.previous.version, change.current.state.reported) == (1, {"rate": 5})
    assert deltas.events.empty()
    assert "delta" not in standin.shadows.get(THING, "config")["state"]  # type: ignore[operator] # it is an object


# --- jobs ---


async def test_a_job_from_its_notice_to_its_end(standin: Standin, client: Any) -> None:  # noqa: ANN401 - as above
    jobs = iotjobs.IotJobsClientV2(client, options())
    lists, nexts = Heard(), Heard()
    await lists.open(
        jobs.create_job_executions_changed_stream(
            iotjobs.JobExecutionsChangedSubscriptionRequest(thing_name=THING), lists.options
        )
    )
    await nexts.open(
        jobs.create_next_job_execution_changed_stream(
            iotjobs.NextJobExecutionChangedSubscriptionRequest(thing_name=THING), nexts.options
        )
    )
    standin.jobs.create([THING], {"operation": "edge.restart"}, "j1", timeout_minutes=30)
    assert [one.job_id for one in (await lists.next()).jobs["QUEUED"]] == ["j1"]
    assert (await nexts.next()).execution.job_document == {"operation": "edge.restart"}

    pending = await done(jobs.get_pending_job_executions(iotjobs.GetPendingJobExecutionsRequest(thing_name=THING)))
    assert ([one.job_id for one in pending.queued_jobs], pending.in_progress_jobs) == (["j1"], [])

    started = await done(
        jobs.start_next_pending_job_execution(iotjobs.StartNextPendingJobExecutionRequest(thing_name=THING))
    )
    assert (started.execution.status, started.execution.version_number) == ("IN_PROGRESS", 2)
    assert started.execution.job_document == {"operation": "edge.restart"}

    request = iotjobs.UpdateJobExecutionRequest(thing_name=THING, job_id="j1", status="SUCCEEDED", expected_version=1)
    error = await refused(jobs.update_job_execution(request))
    assert (error.code, error.execution_state.version_number) == (iotjobs.RejectedErrorCode.VERSION_MISMATCH, 2)

    request = iotjobs.UpdateJobExecutionRequest(
        thing_name=THING, job_id="j1", status="SUCCEEDED", expected_version=2, status_details={"step": "done"},
        include_job_execution_state=True,
    )  # fmt: skip
    updated = await done(jobs.update_job_execution(request))
    assert (updated.execution_state.status, updated.execution_state.version_number) == ("SUCCEEDED", 3)
    assert (await lists.next()).jobs == {}
    assert (await nexts.next()).execution is None
    assert standin.jobs.status_of("j1") == "COMPLETED"
    assert [(one.state, one.details) for one in standin.jobs.executions_of("j1")] == [("SUCCEEDED", {"step": "done"})]


async def test_describing_a_job(standin: Standin, client: Any) -> None:  # noqa: ANN401 - the SDK has no types
    jobs = iotjobs.IotJobsClientV2(client, options())

    def describe(job_id: str) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = jobs.describe_job_execution(
            iotjobs.DescribeJobExecutionRequest(thing_name=THING, job_id=job_id)
        )
        return future

    assert (await done(describe("$next"))).execution is None
    assert (await refused(describe("nothing"))).code == iotjobs.RejectedErrorCode.RESOURCE_NOT_FOUND
    url = "https://s3.eu-west-1.amazonaws.com/bucket/app.zip"
    standin.jobs.create([THING], {"url": "${aws:iot:s3-presigned-url:" + url + "}"}, "j1")
    found = (await done(describe("$next"))).execution
    assert (found.job_id, found.status, found.version_number) == ("j1", "QUEUED", 1)
    assert found.job_document["url"].startswith(f"{url}?X-Amz-Algorithm=AWS4-HMAC-SHA256&")
    standin.jobs.cancel("j1")
    assert (await refused(describe("j1"))).code == iotjobs.RejectedErrorCode.TERMINAL_STATE_REACHED


# --- provisioning ---


def csr(folder: Path) -> tuple[str, Path]:
    """Make a key and a request for a certificate, as a device does."""
    program = shutil.which("openssl") or ""
    key = folder / "device.key"
    subprocess.run(
        [program, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key)],
        check=True,
        capture_output=True,
    )
    made = subprocess.run(
        [program, "req", "-new", "-sha256", "-subj", "/CN=device", "-key", str(key)],
        check=True,
        capture_output=True,
        text=True,
    )
    return made.stdout, key


async def test_a_device_gets_a_certificate_and_a_name_and_connects_with_them(
    files: Certificates, tmp_path: Path
) -> None:
    request, key = csr(tmp_path)
    standin = Standin(policies=True)
    try:
        standin.registry.put_policy("device", DEVICE_POLICY)
        standin.provisioning.put_template("fleet", TEMPLATE)
        await standin.start(tls=files.server)
        claim = await standin.provisioning.create_claim("fleet")
        (tmp_path / "claim.pem").write_text(claim.certificate)
        (tmp_path / "claim.key").write_text(claim.key)
        claimed = TlsFiles(files.client.ca, tmp_path / "claim.pem", tmp_path / "claim.key")

        async with connected(standin.port, claimed, "claim-1") as client:
            identity = iotidentity.IotIdentityClientV2(client, options())
            broken = iotidentity.CreateCertificateFromCsrRequest(certificate_signing_request="x")
            error = await refused(identity.create_certificate_from_csr(broken))
            assert (error.status_code, error.error_code) == (400, "InvalidCertificateSigningRequest")

            made = await done(
                identity.create_certificate_from_csr(
                    iotidentity.CreateCertificateFromCsrRequest(certificate_signing_request=request)
                )
            )
            assert made.certificate_id == id_of_pem(made.certificate_pem)
            assert standin.registry.certificates[made.certificate_id].status is Status.INACTIVE

            def register(token: str, **parameters: str) -> Awaitable[Any]:
                asked = iotidentity.RegisterThingRequest(
                    template_name="fleet", certificate_ownership_token=token, parameters=parameters
                )
                return done(identity.register_thing(asked))

            with pytest.raises(awsiot.V2ServiceException) as caught:
                await register("wrong", SerialNumber="7")
            assert caught.value.modeled_error.error_code == "InvalidCertificateOwnershipToken"
            registered = await register(made.certificate_ownership_token, SerialNumber="7")
            assert (registered.thing_name, registered.device_configuration) == ("edge-7", {"site": "garden"})

        assert standin.registry.thing_of(made.certificate_id) == Thing("edge-7", {"serial": "7"}, ("edge-runtime",))
        (tmp_path / "device.pem").write_text(made.certificate_pem)
        device = TlsFiles(files.client.ca, tmp_path / "device.pem", key)
        async with connected(standin.port, device, "edge-7") as client:
            shadows = iotshadow.IotShadowClientV2(client, options())
            state = iotshadow.ShadowState(reported={"here": True})
            made_shadow = await done(
                shadows.update_shadow(iotshadow.UpdateShadowRequest(thing_name="edge-7", state=state))
            )
            assert made_shadow.version == 1
        # The certificate of the set is no registered one.
        with pytest.raises(ConnectionError):
            async with connected(standin.port, files.client, "edge-8"):
                pass
    finally:
        await standin.close()


async def test_keys_made_by_the_cloud(standin: Standin, client: Any) -> None:  # noqa: ANN401 - the SDK has no types
    identity = iotidentity.IotIdentityClientV2(client, options())
    made = await done(identity.create_keys_and_certificate(iotidentity.CreateKeysAndCertificateRequest()))
    assert made.private_key.startswith("-----BEGIN PRIVATE KEY-----")
    assert made.certificate_id in standin.registry.certificates
