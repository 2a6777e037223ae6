"""Policy documents: what AWS allows, by tables and by properties."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.standin.policies import Context, Policy, decide

PLACE = "arn:aws:iot:eu-west-1:123456789012:"


def statement(resource: str | list[str] = "*", action: str | list[str] = "iot:*", **more: object) -> dict[str, object]:
    wanted = [resource] if isinstance(resource, str) else resource
    return {
        "Effect": "Allow",
        "Action": action,
        "Resource": [one if one == "*" else PLACE + one for one in wanted],
        **more,
    }


def policy(*statements: dict[str, object]) -> Policy:
    return Policy.parse(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def allowed(one: Policy, action: str, resource: str, context: Context | None = None) -> bool:
    return decide([one], action, PLACE + resource, context or {})


@pytest.mark.parametrize(
    ("pattern", "resource", "matched"),
    [
        ("topic/a/b", "topic/a/b", True),
        ("topic/a/b", "topic/a/B", False),
        ("topic/a/*", "topic/a/b/c", True),
        ("topic/a/*", "topic/a/", True),
        ("topic/a/*", "topic/a", False),
        ("topic/a?c", "topic/abc", True),
        ("topic/a?c", "topic/ac", False),
        ("topic/a?c", "topic/a/c", True),
        ("topic/*/up/*", "topic/x/y/up/z", True),
        ("topicfilter/a/+/b", "topicfilter/a/+/b", True),
        ("topicfilter/a/+/b", "topicfilter/a/x/b", False),
        ("topicfilter/a/#", "topicfilter/a/#", True),
        ("topicfilter/a/#", "topicfilter/a/b", False),
        ("topicfilter/a/*", "topicfilter/a/+/#", True),
        ("topic/a", "topicfilter/a", False),
        ("topic/a.c", "topic/abc", False),
        ("topic/${*}", "topic/*", True),
        ("topic/${*}", "topic/x", False),
        ("topic/${?}${$}", "topic/?$", True),
        ("topic/$aws/things/x", "topic/$aws/things/x", True),
        ("*", "client/anything", True),
    ],
)
def test_resources(pattern: str, resource: str, *, matched: bool) -> None:
    assert allowed(policy(statement(pattern)), "iot:Publish", resource) is matched


@pytest.mark.parametrize(
    ("pattern", "action", "matched"),
    [
        ("iot:Publish", "iot:Publish", True),
        ("iot:publish", "iot:Publish", True),
        ("iot:Pub*", "iot:Publish", True),
        ("iot:?ublish", "iot:Publish", True),
        ("iot:*", "iot:Connect", True),
        ("*", "iot:Connect", True),
        ("greengrass:*", "iot:Connect", False),
        ("iot:Publish", "iot:RetainPublish", False),
    ],
)
def test_actions(pattern: str, action: str, *, matched: bool) -> None:
    assert allowed(policy(statement(action=[pattern, "iot:Other"])), action, "topic/a") is matched


def test_nothing_said_is_no_and_a_deny_outweighs_every_allow() -> None:
    assert not decide([], "iot:Publish", PLACE + "topic/a", {})
    deny = policy(statement("topic/secret/*", Effect="Deny"))
    everything = policy(statement())
    assert decide([everything, deny], "iot:Publish", PLACE + "topic/a", {})
    assert not decide([everything, deny], "iot:Publish", PLACE + "topic/secret/a", {})
    assert not decide([deny, everything], "iot:Publish", PLACE + "topic/secret/a", {})


THING: dict[str, str] = {
    "iot:ClientId": "edge-1",
    "iot:Connection.Thing.ThingName": "edge-1",
    "iot:Connection.Thing.IsAttached": "true",
    "iot:Connection.Thing.Attributes[site]": "north",
}


@pytest.mark.parametrize(
    ("pattern", "resource", "matched"),
    [
        ("client/${iot:Connection.Thing.ThingName}", "client/edge-1", True),
        ("client/${iot:Connection.Thing.ThingName}", "client/edge-2", False),
        ("client/${IOT:ClientID}", "client/edge-1", True),
        ("topic/${iot:Connection.Thing.Attributes[site]}/*", "topic/north/x", True),
        ("topic/${iot:Connection.Thing.ThingTypeName}/*", "topic//x", False),
        ("topic/${iot:Connection.Thing.ThingTypeName}*", "topic/x", False),
        ("topic/${nonsense", "topic/${nonsense", True),
    ],
)
def test_variables(pattern: str, resource: str, *, matched: bool) -> None:
    assert allowed(policy(statement(pattern)), "iot:Publish", resource, THING) is matched


def test_the_value_of_a_variable_is_never_a_wildcard() -> None:
    one = policy(statement("topic/${iot:ClientId}/*"))
    assert not allowed(one, "iot:Publish", "topic/other/x", {"iot:ClientId": "*"})
    assert allowed(one, "iot:Publish", "topic/*/x", {"iot:ClientId": "*"})


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"Bool": {"iot:Connection.Thing.IsAttached": "true"}}, THING, True),
        ({"Bool": {"iot:Connection.Thing.IsAttached": ["true"]}}, THING, True),
        ({"Bool": {"iot:Connection.Thing.IsAttached": True}}, THING, True),
        ({"Bool": {"iot:Connection.Thing.IsAttached": "false"}}, THING, False),
        ({"Bool": {"iot:Connection.Thing.IsAttached": "true"}}, {}, False),
        ({"StringEquals": {"iot:ClientId": ["a", "edge-1"]}}, THING, True),
        ({"StringEquals": {"iot:ClientId": "EDGE-1"}}, THING, False),
        ({"StringEquals": {"iot:ClientId": "edge-*"}}, THING, False),
        ({"StringEquals": {"iot:ClientId": "${iot:Connection.Thing.ThingName}"}}, THING, True),
        ({"StringEquals": {"iot:ClientId": "${iot:Nothing}"}}, THING, False),
        ({"StringEqualsIgnoreCase": {"iot:ClientId": "EDGE-1"}}, THING, True),
        ({"StringNotEquals": {"iot:ClientId": ["a", "b"]}}, THING, True),
        ({"StringNotEquals": {"iot:ClientId": ["a", "edge-1"]}}, THING, False),
        ({"StringNotEquals": {"iot:Nothing": "a"}}, THING, True),
        ({"StringEqualsIfExists": {"iot:Nothing": "a"}}, THING, True),
        ({"StringEqualsIfExists": {"iot:ClientId": "a"}}, THING, False),
        ({"StringLike": {"iot:ClientId": "edge-?"}}, THING, True),
        ({"StringNotLike": {"iot:ClientId": "edge-?"}}, THING, False),
        ({"Null": {"iot:Nothing": "true"}}, THING, True),
        ({"Null": {"iot:ClientId": "true"}}, THING, False),
        ({"Null": {"iot:ClientId": "false"}}, THING, True),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws:SourceIp": "10.1.2.3"}, True),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws:SourceIp": "11.1.2.3"}, False),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws:SourceIp": "no address"}, False),
        ({"NotIpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::1"]}}, {"aws:SourceIp": "::1"}, False),
        (
            {"ArnEquals": {"iot:LastWillTopic": PLACE + "topic/will/*"}},
            {"iot:LastWillTopic": PLACE + "topic/will/a"},
            True,
        ),
        ({"ArnEquals": {"iot:LastWillTopic": PLACE + "topic/will"}}, {}, False),
        ({"Bool": {"iot:Connection.Thing.IsAttached": "true"}, "StringEquals": {"iot:ClientId": "x"}}, THING, False),
        ({"StringEquals": {"iot:ClientId": "edge-1", "iot:Connection.Thing.ThingName": "x"}}, THING, False),
    ],
)
def test_conditions(condition: dict[str, object], context: dict[str, str], *, holds: bool) -> None:
    assert allowed(policy(statement(Condition=condition)), "iot:Connect", "client/edge-1", context) is holds


PERSISTENT, WILL = "PersistentConnect", "LastWill"


@pytest.mark.parametrize(
    ("operator", "wanted", "none", "persistent", "both"),
    [
        # The policies of the developer guide's "Connect policy examples".
        ("ForAllValues:StringEquals", [PERSISTENT], True, True, False),
        ("ForAllValues:StringNotEquals", [PERSISTENT], True, False, False),
        ("ForAllValues:StringEquals", [PERSISTENT, WILL], True, True, True),
        ("ForAllValues:StringEquals", [], True, False, False),
        ("ForAnyValue:StringEquals", [PERSISTENT], False, True, True),
        ("ForAnyValue:StringEquals", [WILL], False, False, True),
    ],
)
def test_attributes_of_a_connect(operator: str, wanted: list[str], *, none: bool, persistent: bool, both: bool) -> None:
    one = policy(statement(Condition={operator: {"iot:ConnectAttributes": wanted}}))

    def may(*attributes: str) -> bool:
        return allowed(one, "iot:Connect", "client/c", {"iot:ConnectAttributes": attributes} if attributes else {})

    assert (may(), may(PERSISTENT), may(PERSISTENT, WILL)) == (none, persistent, both)


def test_documents_for_any_account_can_be_tried_as_they_are() -> None:
    document = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Action": "iot:Connect",
            "Resource": "arn:aws:iot:REGION:ACCOUNT:client/a:b",
            "Condition": {"ArnLike": {"iot:LastWillTopic": "arn:aws-cn:iot:R:A:topic/will"}},
        },
    }
    context = {"iot:LastWillTopic": PLACE + "topic/will"}
    assert decide([Policy.parse(document, anywhere=True)], "iot:Connect", PLACE + "client/a:b", context)
    assert not decide([Policy.parse(document)], "iot:Connect", PLACE + "client/a:b", context)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("nonsense", "must be a JSON object"),
        ("[1]", "must be a JSON object"),
        ("[" * 100_000, "must be a JSON object"),
        ({"Statement": []}, 'needs "Version": "2012-10-17", not None'),
        ({"Version": "2012-10-17"}, 'needs a "Statement"'),
        ({"Version": "2012-10-17", "Statement": []}, 'needs a "Statement"'),
        ({"Version": "2012-10-17", "Statement": [1]}, "statement 1 of the policy must be an object"),
        ({"Version": "2012-10-17", "Statement": [statement(Effect="allow")]}, '"Effect" must be'),
        ({"Version": "2012-10-17", "Statement": [statement(Resources="*")]}, "'Resources' is not known; did you mean"),
        ({"Version": "2012-10-17", "Statement": [statement(Principal="*")]}, "'Principal' is not known"),
        ({"Version": "2012-10-17", "Statement": [statement(action="Publish")]}, "must name its service"),
        ({"Version": "2012-10-17", "Statement": [statement(action=[])]}, '"Action" must be a text or a list'),
        ({"Version": "2012-10-17", "Statement": [{**statement(), "Resource": "topic/a"}]}, "neither an ARN nor"),
        ({"Version": "2012-10-17", "Statement": [statement(Condition=[])]}, '"Condition" must be an object'),
        ({"Version": "2012-10-17", "Statement": [statement(Condition={"StringEqual": {"a": "b"}})]}, "did you mean"),
        ({"Version": "2012-10-17", "Statement": [statement(Condition={"Some:Bool": {"a": "b"}})]}, "ForAllValues:"),
        ({"Version": "2012-10-17", "Statement": [statement(Condition={"Bool": {}})]}, "must be an object of keys"),
        ({"Version": "2012-10-17", "Statement": [statement(Condition={"Bool": {"a": 1}})]}, "must be texts"),
        ({"Version": "2012-10-17", "Statement": [statement(["topic/" + "a" * 2000])]}, "AWS IoT allows 2048"),
    ],
)
def test_what_aws_would_not_take(document: str | dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Policy.parse(document)
    assert words in str(caught.value)


TEXT = st.text(alphabet="ab*?$/+#{}", max_size=12)


def reference(pattern: str, text: str) -> bool:
    """Match by the definition, slowly."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(reference(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and reference(pattern[1:], text[1:])


@given(TEXT, TEXT)
def test_wildcards_match_as_defined(pattern: str, text: str) -> None:
    if "${" not in pattern:
        assert allowed(policy(statement("topic/" + pattern)), "iot:Publish", "topic/" + text) is reference(
            pattern, text
        )


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_client_id_gives_the_right_to_itself_alone(own: str, other: str) -> None:
    one = policy(statement("client/${iot:ClientId}"))
    assert allowed(one, "iot:Connect", f"client/{other}", {"iot:ClientId": own}) is (own == other)


def test_many_wildcards_take_no_time() -> None:
    one = policy(statement("topic/" + "*a" * 100 + "b"))
    assert not allowed(one, "iot:Publish", "topic/" + "a" * 256)
