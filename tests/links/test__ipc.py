"""The IPC client, against a nucleus of the tests and against the bytes that a real one was seen to exchange."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import LinkError, NotFoundError, RefusedError
from edge_runtime.links._ipc import Flag, Ipc, Type, dial
from edge_runtime.pure.eventstream import Frame, decode, number, text
from tests.nucleus import COMPONENT, TOKEN, Nucleus, start_nucleus

TIGHT = 10_000
WHO = {"authToken": TOKEN}
RECORDING = Path(__file__).parent.parent / "pure" / "data" / "greengrass-ipc-frames.jsonl"


@pytest.fixture
async def nucleus(tmp_path: Path) -> AsyncIterator[Nucleus]:
    async with start_nucleus(tmp_path) as started:
        yield started


@pytest.fixture
async def ipc(nucleus: Nucleus) -> AsyncIterator[Ipc]:
    client = await dial(nucleus.socket, WHO, most_frame=TIGHT)
    yield client
    client.close()


async def test_a_request_is_answered(ipc: Ipc, nucleus: Nucleus) -> None:
    answer = await ipc.request("GetConfiguration", {"keyPath": ["limits", "maxRows"]})
    assert answer == {"componentName": COMPONENT, "value": {"maxRows": 2000}}
    assert nucleus.hellos == [{"authToken": TOKEN}]


async def test_requests_may_overlap(ipc: Ipc) -> None:
    answers = [ipc.begin("GetConfiguration", {"keyPath": ["limits"]}) for _ in range(20)]
    answers[3].cancel()
    done = await asyncio.gather(*answers, return_exceptions=True)
    expected = {"componentName": COMPONENT, "value": {"maxRows": 2000}}
    assert [d == expected for d in done] == [n != 3 for n in range(20)]


async def test_what_the_nucleus_refuses(ipc: Ipc, nucleus: Nucleus) -> None:
    with pytest.raises(NotFoundError) as missing:
        await ipc.request("GetConfiguration", {"keyPath": ["nope"]})
    assert str(missing.value) == (
        "the nucleus refused GetConfiguration on 'nope': ResourceNotFoundError (Key not found.)"
    )
    nucleus.allow = lambda _operation, topic: topic != "zz"
    with pytest.raises(RefusedError, match=r"SubscribeToIoTCore on 'zz': UnauthorizedError") as denied:
        await ipc.request("SubscribeToIoTCore", {"topicName": "zz", "qos": "1"})
    assert denied.value.code == 0x87
    assert "accessControl" in denied.value.hint
    with pytest.raises(LinkError, match=r"the nucleus refused GetThingShadow: ServiceError$") as unknown:
        await ipc.request("GetThingShadow", {"thingName": "x"})
    assert not isinstance(unknown.value, RefusedError)
    assert ipc.error is None


async def test_events_come_to_their_subscription(ipc: Ipc, nucleus: Nucleus) -> None:
    first: asyncio.Queue[Any] = asyncio.Queue()
    second: asyncio.Queue[Any] = asyncio.Queue()
    await ipc.begin("SubscribeToIoTCore", {"topicName": "a/+", "qos": "1"}, first.put_nowait)
    await ipc.begin("SubscribeToIoTCore", {"topicName": "b", "qos": "1"}, second.put_nowait)
    nucleus.deliver("a/x", b"\x00\x01loop")
    nucleus.deliver("b", b"")
    assert await first.get() == {"message": {"topicName": "a/x", "payload": "AAFsb29w"}}
    assert await second.get() == {"message": {"topicName": "b", "payload": ""}}
    assert first.empty()


async def test_a_subscription_that_nobody_waits_for_is_ended(ipc: Ipc, nucleus: Nucleus) -> None:
    got: list[Any] = []
    answer = ipc.begin("SubscribeToIoTCore", {"topicName": "a", "qos": "1"}, got.append)
    answer.cancel()
    await ipc.request("GetConfiguration", {})
    await ipc.request("GetConfiguration", {})  # what ends the subscription was written before this
    assert [peer.subscriptions for peer in nucleus.peers] == [{}]
    nucleus.deliver("a", b"")
    await ipc.request("GetConfiguration", {})
    assert got == []


async def test_what_does_not_fit_a_frame_is_not_sent(ipc: Ipc, nucleus: Nucleus) -> None:
    with pytest.raises(RefusedError, match=r"^PublishToIoTCore on 'up' needs a frame of 10\d\d\d bytes") as caught:
        await ipc.request("PublishToIoTCore", {"topicName": "up", "qos": "1", "payload": "A" * 9_900})
    assert caught.value.code == 0x95
    assert nucleus.requests == []
    await ipc.request("GetConfiguration", {})


async def test_a_cut_connection_is_noticed_at_once(ipc: Ipc, nucleus: Nucleus) -> None:
    await ipc.request("GetConfiguration", {})
    nucleus.silent = True
    waiting = ipc.begin("GetConfiguration", {})
    nucleus.cut()
    reason = await ipc.gone()
    assert str(reason).startswith(f"the nucleus at {nucleus.socket} closed the connection")
    for answer in (waiting, ipc.begin("GetConfiguration", {})):
        with pytest.raises(LinkError, match="closed the connection"):
            await answer
    ipc.close()
    assert await ipc.gone() is reason


async def test_a_token_is_void_after_a_restart_and_the_new_one_works(ipc: Ipc, nucleus: Nucleus) -> None:
    token = nucleus.restart()
    await ipc.gone()
    with pytest.raises(LinkError, match="does not accept this component") as caught:
        await dial(nucleus.socket, WHO, most_frame=TIGHT)
    assert "void once the nucleus has restarted" in caught.value.hint
    again = await dial(nucleus.socket, {"authToken": token}, most_frame=TIGHT)
    await again.request("GetConfiguration", {})
    again.close()


async def test_the_lite_nucleus_knows_a_component_by_name(nucleus: Nucleus) -> None:
    ipc = await dial(nucleus.socket, {"componentName": COMPONENT}, most_frame=TIGHT)
    assert ipc.svcuid == TOKEN
    ipc.close()


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=r"cannot reach the nucleus at .*: No such file or directory") as caught:
        await dial(tmp_path / "none", WHO, most_frame=TIGHT)
    assert caught.value.hint == "does the nucleus run?"
    with pytest.raises(LinkError, match=r"cannot reach the nucleus at .*AF_UNIX path too long"):
        await dial("/" + "x" * 200, WHO, most_frame=TIGHT)


async def test_a_dial_that_is_cancelled_leaves_no_connection(nucleus: Nucleus) -> None:
    nucleus.silent = True
    task = asyncio.create_task(dial(nucleus.socket, WHO, most_frame=TIGHT))
    await nucleus.until(lambda: len(nucleus.peers) == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await nucleus.until(lambda: not nucleus.peers)


def routed(kind: Type, flags: int, stream: int) -> tuple[Any, ...]:
    return number(":message-type", kind), number(":message-flags", flags), number(":stream-id", stream)


async def test_a_ping_is_answered_and_the_end_of_a_stream_is_an_end(ipc: Ipc, nucleus: Nucleus) -> None:
    (peer,) = nucleus.peers
    heard: asyncio.Queue[Frame] = asyncio.Queue()
    nucleus.tap = heard.put_nowait
    peer.raw(routed(Type.PING, 0, 0), b"hi")
    assert await heard.get() == Frame(routed(Type.PONG, 0, 0), b"hi")
    answer = ipc.begin("SubscribeToIoTCore", {"topicName": "a", "qos": "1"}, lambda _event: None)
    assert (await heard.get()).number(":stream-id") == 1
    peer.message(1, "SubscribeToIoTCoreResponse", {})
    assert await answer == {}
    peer.raw(routed(Type.MESSAGE, Flag.TERMINATE, 1))
    assert str(await ipc.gone()).endswith("ended SubscribeToIoTCore on 'a'")


@pytest.mark.parametrize(
    ("headers", "payload", "said"),
    [
        (routed(Type.MESSAGE, 0, 1), b"{", "sent what is not Greengrass IPC: Expecting property name"),
        (routed(Type.MESSAGE, 0, 1), b"[]", "sent what is not Greengrass IPC: a payload is not a JSON object but list"),
        (routed(Type.CONNECT, 0, 0), b"", "sent what is not Greengrass IPC: a frame of type 4"),
        ((), b"", "sent what is not Greengrass IPC: a frame of type -1"),
        (routed(Type.PROTOCOL_ERROR, 0, 0), b'{"message":"no"}', "reports an error of the protocol: no"),
        (routed(Type.INTERNAL_ERROR, 0, 0), b"?", "reports an error of the protocol: none"),
    ],
)
async def test_a_peer_that_speaks_something_else(
    ipc: Ipc, nucleus: Nucleus, headers: tuple[Any, ...], payload: bytes, said: str
) -> None:
    nucleus.silent = True
    answer = ipc.begin("GetConfiguration", {})
    (peer,) = nucleus.peers
    peer.raw(headers, payload)
    assert said in str(await ipc.gone())
    with pytest.raises(LinkError):
        await answer


async def test_bytes_that_are_no_frames_end_the_connection(ipc: Ipc, nucleus: Nucleus) -> None:
    (peer,) = nucleus.peers
    peer.transport.write(b"HTTP/1.1 400 Bad Request\r\n")
    assert "the lengths of a frame do not match their CRC" in str(await ipc.gone())


async def test_our_requests_are_those_of_the_aws_client(nucleus: Nucleus) -> None:
    """The recorded session is replayed: whatever the AWS client said to a real nucleus, we say in the same words."""
    lines = map(json.loads, RECORDING.read_text(encoding="utf-8").splitlines())
    sent = [decode(bytes.fromhex(r["hex"])) for r in lines if r["dir"] == "client->nucleus" and "hex" in r]
    heard: list[Frame] = []
    ipc = await dial(nucleus.socket, json.loads(sent[0].payload), most_frame=TIGHT)
    done = asyncio.Event()

    def hear(frame: Frame) -> None:
        heard.append(frame)
        if len(heard) == len(requests):
            done.set()

    nucleus.tap = hear
    requests = [frame for frame in sent[1:] if frame.text("operation")]
    for frame in requests:
        ipc.begin(frame.text("operation").removeprefix("aws.greengrass#"), json.loads(frame.payload))
    await done.wait()
    assert heard == requests
    assert text("service-model-type", "aws.greengrass#SubscribeToIoTCoreRequest") in heard[0].headers
    ipc.close()


def as_aws_does() -> list[object]:
    """Do with AWS's own client what the link does with ours, and return what came of it."""
    client = pytest.importorskip("awsiot.greengrasscoreipc.clientv2").GreengrassCoreIPCClientV2()
    got: queue.Queue[tuple[str, bytes]] = queue.Queue()
    _, operation = client.subscribe_to_iot_core(
        topic_name="a/#", qos="1", on_stream_event=lambda e: got.put((e.message.topic_name, e.message.payload))
    )
    client.publish_to_iot_core(topic_name="a/b", qos="1", payload=b"hi")
    seen: list[object] = [got.get(timeout=10), client.get_configuration(key_path=["limits"]).value]
    with pytest.raises(Exception, match=r"^$") as denied:
        client.publish_to_iot_core(topic_name="zz", qos="1", payload=b"hi")
    operation.close().result(10)
    client.close().result(10)
    return [*seen, denied.type.__name__]


async def test_the_nucleus_of_the_tests_satisfies_the_client_of_aws(
    nucleus: Nucleus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVCUID", TOKEN)
    monkeypatch.setenv("AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT", str(nucleus.socket))
    nucleus.allow = lambda _operation, topic: topic != "zz"
    seen = await asyncio.to_thread(as_aws_does)
    assert seen == [("a/b", b"hi"), {"maxRows": 2000}, "UnauthorizedError"]
    assert [one[:3] for one in nucleus.published] == [("a/b", b"hi", "1")]
