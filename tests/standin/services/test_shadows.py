"""The Device Shadow service, as a device and as people see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError, NotFoundError
from edge_runtime.standin.packets import Publish, Will
from edge_runtime.standin.quotas import Mode
from edge_runtime.standin.services.shadows import CLASSIC, Shadows
from tests.standin.harness import Bench
from tests.standin.services.talk import NOW, Device, device

ROOT = "$aws/things/edge-1/shadow"
ANSWERS = (f"{ROOT}/+/+", f"{ROOT}/name/+/+/+")


def setting(quotas: Mode = "none", *filters: str) -> tuple[Bench, Shadows, Device]:
    bench = Bench(quotas)
    shadows = Shadows(bench.broker)
    bench.broker.services.append(shadows)
    return bench, shadows, device(bench, *(filters or ANSWERS))


def test_an_update_is_accepted_and_those_who_listen_are_told() -> None:
    _, _, edge = setting()
    request = {"state": {"desired": {"led": "on"}, "reported": {"led": "off"}}, "clientToken": "t1"}
    stamp = {"timestamp": NOW}
    accepted, delta, documents = edge.ask(f"{ROOT}/update", request)
    assert accepted == (
        f"{ROOT}/update/accepted",
        {
            "state": request["state"],
            "metadata": {"desired": {"led": stamp}, "reported": {"led": stamp}},
            "version": 1,
            "timestamp": NOW,
            "clientToken": "t1",
        },
    )
    assert delta == (
        f"{ROOT}/update/delta",
        {"version": 1, "state": {"led": "on"}, "metadata": {"led": stamp}, "timestamp": NOW, "clientToken": "t1"},
    )
    assert (documents[0], documents[1]["previous"]) == (f"{ROOT}/update/documents", None)


def test_named_and_classic_shadows_are_apart() -> None:
    _, shadows, edge = setting()
    edge.ask(f"{ROOT}/update", {"state": {"reported": {"a": 1}}})
    edge.ask(f"{ROOT}/name/config/update", {"state": {"reported": {"b": 2}}})
    ((topic, found),) = edge.ask(f"{ROOT}/name/config/get")
    assert (topic, found["state"]) == (f"{ROOT}/name/config/get/accepted", {"reported": {"b": 2}})
    assert shadows.names("edge-1") == (CLASSIC, "config")
    assert edge.ask(f"{ROOT}/delete") == [(f"{ROOT}/delete/accepted", {"version": 1, "timestamp": NOW})]
    assert shadows.names("edge-1") == ("config",)


@pytest.mark.parametrize(
    ("topic", "payload", "code", "message"),
    [
        (f"{ROOT}/get", b"", 404, "No shadow exists with name: Unnamed Shadow"),
        (f"{ROOT}/name/n/get", b"{}", 404, "No shadow exists with name: n"),
        (f"{ROOT}/delete", b"", 404, "No shadow exists with name: Unnamed Shadow"),
        (f"{ROOT}/update", b"", 400, "Missing update payload"),
        (f"{ROOT}/update", b"[]", 400, "Invalid JSON: it is no object"),
        (f"{ROOT}/update", b"{}", 400, "Missing required node: state"),
        (f"{ROOT}/update", b'{"state":1}', 400, "State node must be an object"),
        (f"{ROOT}/update", b'{"state":{},"version":5}', 409, "Version conflict"),
        (f"{ROOT}/update", b'{"state":{"reported":{"a":"' + b"x" * 8200 + b'"}}}', 413,
         "The payload exceeds the maximum size allowed"),
        (f"{ROOT}/name/a b/get", b"", 400, "Invalid shadow name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_rejected_in_the_words_of_aws(topic: str, payload: bytes, code: int, message: str) -> None:
    _, _, edge = setting()
    ((where, answer),) = edge.ask(topic, payload)
    assert (where, answer["code"], answer["message"], answer["timestamp"]) == (f"{topic}/rejected", code, message, NOW)


def test_a_name_of_a_thing_that_cannot_be_is_rejected() -> None:
    bench, _, _ = setting()
    edge = device(bench, "$aws/things/+/shadow/+/+", client_id="other")
    ((topic, answer),) = edge.ask("$aws/things/a b/shadow/get")
    assert (topic, answer["code"]) == ("$aws/things/a b/shadow/get/rejected", 400)


def test_who_has_not_subscribed_is_told_nothing() -> None:
    bench, shadows, _ = setting()
    mute = device(bench, client_id="mute")
    assert mute.ask(f"{ROOT}/update", {"state": {"reported": {"a": 1}}}) == []
    assert shadows.get("edge-1")["version"] == 1


def test_more_than_ten_in_flight_are_throttled() -> None:
    bench, _, edge = setting("aws")
    answers = edge.client.say(*(Publish(f"{ROOT}/get", b"", 0) for _ in range(12)))
    codes = [json.loads(one.payload)["code"] for one in answers if isinstance(one, Publish)]
    assert codes == [404] * 10 + [429] * 2
    assert bench.broker.limits.shadow_in_flight == 10


async def test_more_than_twenty_a_second_are_throttled() -> None:
    bench, _, edge = setting("aws")
    codes = [edge.ask(f"{ROOT}/get")[0][1]["code"] for _ in range(21)]
    assert codes == [404] * 20 + [429]
    await bench.clock.advance(0.05)
    assert edge.ask(f"{ROOT}/get")[0][1]["code"] == 404


def test_without_quotas_nothing_is_throttled() -> None:
    _, _, edge = setting()
    assert {str(edge.ask(f"{ROOT}/get")[0][1]["code"]) for _ in range(50)} == {"404"}


def test_a_will_is_no_request() -> None:
    bench, shadows, _ = setting()
    client = bench.connect("dying", will=Will(f"{ROOT}/update", b'{"state":{"reported":{"a":1}}}'))
    client.peer.lost()
    assert shadows.names("edge-1") == ()


def test_what_cannot_be_recorded_is_not_carried_out() -> None:
    bench = Bench(record=Path("/dev/full"))
    shadows = Shadows(bench.broker)
    bench.broker.services.append(shadows)
    client = bench.connect("edge-1")
    assert client.publish(f"{ROOT}/update", b'{"state":{"reported":{"a":1}}}') == []
    assert client.pipe.aborted
    assert shadows.names("edge-1") == ()
    bench.record.close()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([f"{ROOT}/update", f"{ROOT}/get", f"{ROOT}/delete", f"{ROOT}/name/n/update"]),
    st.binary(max_size=60)
    | st.sampled_from([b'{"state":{"desired":null}}', b'{"state":{"x":1}}', b'{"state":{},"clientToken":1}']),
)
def test_every_request_gets_one_answer(topic: str, payload: bytes) -> None:
    _, _, edge = setting()
    outcomes = [where for where, _ in edge.ask(topic, payload) if where.endswith(("/accepted", "/rejected"))]
    assert len(outcomes) == 1


# --- people ---


def test_an_app_desires_and_the_device_hears() -> None:
    _, shadows, edge = setting()
    accepted = shadows.update("edge-1", "config", {"desired": {"rate": 5}})
    assert (accepted["version"], accepted["state"]) == (1, {"desired": {"rate": 5}})
    assert [topic.rpartition("/")[2] for topic, _ in edge.heard()] == ["accepted", "delta", "documents"]
    assert shadows.get("edge-1", "config")["state"] == {"desired": {"rate": 5}, "delta": {"rate": 5}}
    assert shadows.delete("edge-1", "config")["version"] == 1
    assert [topic for topic, _ in edge.heard()] == [f"{ROOT}/name/config/delete/accepted"]


def test_what_people_get_wrong_is_an_error() -> None:
    _, shadows, edge = setting()
    with pytest.raises(NotFoundError, match="the classic shadow of thing 'edge-1': 404 No shadow exists"):
        shadows.get("edge-1")
    shadows.update("edge-1", "n", {"desired": {"a": 1}})
    edge.heard()
    with pytest.raises(ConfigError, match="shadow 'n' of thing 'edge-1': 409 Version conflict"):
        shadows.update("edge-1", "n", {"desired": {"a": 2}}, version=7)
    with pytest.raises(ConfigError, match="'a/b' is no name of a thing"):
        shadows.update("a/b", CLASSIC, {})
    with pytest.raises(ConfigError, match="'a/b' is no name of a shadow"):
        shadows.update("edge-1", "a/b", {})
    assert edge.heard() == []


def test_what_is_kept_is_what_there_was() -> None:
    bench, shadows, edge = setting()
    shadows.update("edge-1", CLASSIC, {"desired": {"a": 1}})
    shadows.update("edge-1", "gone", {"desired": {"a": 1}})
    shadows.delete("edge-1", "gone")
    kept = json.loads(json.dumps(shadows.dump()))
    other = Shadows(bench.broker)
    other.load(kept)
    assert other.get("edge-1") == shadows.get("edge-1")
    assert other.names("edge-1") == (CLASSIC,)
    # A deleted one goes on counting its versions.
    assert other.update("edge-1", "gone", {"desired": {"a": 2}})["version"] == 2
    edge.heard()


@pytest.mark.parametrize(
    ("tree", "words"), [({"t": 1}, "shadows.t is no object"), ({"t": {"": 1}}, "shadows.t.classic is no shadow")]
)
def test_what_is_no_shadow_is_not_loaded(tree: dict[str, object], words: str) -> None:
    _, shadows, _ = setting()
    with pytest.raises(ConfigError, match=words):
        shadows.load(tree)
