"""What templates make of parameters."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.standin.registry import Status, Thing
from edge_runtime.standin.services import templates
from edge_runtime.standin.services.templates import Plan

ID = "0" * 64
BODY: dict[str, Any] = {
    "Parameters": {
        "SerialNumber": {"Type": "String"},
        "Site": {"Type": "String", "Default": "north"},
        "AWS::IoT::Certificate::Id": {"Type": "String"},
    },
    "Mappings": {"Sites": {"north": {"Zone": "z1"}}},
    "Resources": {
        "certificate": {
            "Type": "AWS::IoT::Certificate",
            "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "Active"},
        },
        "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "device"}},
        "thing": {
            "Type": "AWS::IoT::Thing",
            "OverrideSettings": {"AttributePayload": "MERGE"},
            "Properties": {
                "ThingName": {"Fn::Join": ["", ["edge-", {"Ref": "SerialNumber"}]]},
                "AttributePayload": {"site": {"Ref": "Site"}},
                "ThingGroups": ["edge", {"Ref": "Site"}],
                "ThingTypeName": "gateway",
            },
        },
    },
    "DeviceConfiguration": {"url": {"Fn::Sub": "https://${Site}.example.org/${thing}"}},
}


def test_a_whole_template() -> None:
    made = templates.plan(BODY, {"SerialNumber": "7", "unknown": "passed over"}, certificate_id=ID)
    assert made == Plan(
        Status.ACTIVE,
        Thing("edge-7", {"site": "north"}, ("edge", "north"), "gateway"),
        {"AttributePayload": "MERGE"},
        ("device",),
        {},
        {"url": "https://north.example.org/edge-7"},
    )
    templates.check(BODY)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "SerialNumber"}, "a:b"),
        ({"Fn::Join": ["-", ["x", {"Ref": "Site"}]]}, "x-north"),
        ({"Fn::Select": ["1", {"Fn::Split": [":", {"Ref": "SerialNumber"}]}]}, "b"),
        ({"Fn::Select": [0, ["x", "y"]]}, "x"),
        ({"Fn::Sub": ["${Site}/${own}/${SerialNumber}", {"own": {"Ref": "Site"}}]}, "north/north/a:b"),
        ({"Fn::FindInMap": ["Sites", {"Ref": "Site"}, "Zone"]}, "z1"),
        ("plain ${Site}", "plain ${Site}"),
    ],
)
def test_functions(value: object, expected: str) -> None:
    body = copy.deepcopy(BODY)
    body["DeviceConfiguration"] = {"value": value}
    made = templates.plan(body, {"SerialNumber": "a:b"}, certificate_id=ID)
    assert made.configuration == {"value": expected}


@pytest.mark.parametrize(
    "value",
    [
        {"Ref": "Nothing"}, {"Fn::Join": "x"}, {"Fn::Join": ["", [1]]}, {"Fn::Select": [9, ["x"]]},
        {"Fn::Select": [-1, ["x"]]}, {"Fn::Split": ["", "x"]}, {"Fn::Sub": 1}, {"Fn::Sub": "${Nothing}"},
        {"Fn::FindInMap": ["Sites", "x", "y"]}, {"Fn::FindInMap": 1},
    ],
)  # fmt: skip
def test_functions_that_cannot_be_carried_out(value: object) -> None:
    body = copy.deepcopy(BODY)
    body["DeviceConfiguration"] = {"value": value}
    with pytest.raises(ConfigError):
        templates.check(body)


def changed(path: str, value: object) -> dict[str, Any]:
    """Return the body with something else at a path."""
    body = copy.deepcopy(BODY)
    *way, last = path.split("/")
    inner: Any = body
    for step in way:
        inner = inner[step]
    inner[last] = value
    return body


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (changed("Resource", {}), "no section 'Resource'; did you mean 'Resources'"),
        (changed("Resources", []), "Resources must be an object"),
        (changed("Parameters/SerialNumber", {"Type": "Number"}), 'Parameters.SerialNumber needs "Type": "String"'),
        (changed("Parameters/SerialNumber", 1), "Parameters.SerialNumber must be an object"),
        (changed("Resources/thing", 1), "Resources.thing must be an object"),
        (changed("Resources/thing/Type", "AWS::IoT::Things"), "type 'AWS::IoT::Things' is not known"),
        (changed("Resources/thing/Properties/ThingName", 7), "ThingName must be a text"),
        (changed("Resources/thing/Properties/ThingName", "a b"), "'a b' is no name of a thing"),
        (changed("Resources/policy/Properties", {"PolicyDocument": {}}), 'a policy needs "Version"'),
        (changed("Resources/thing/Properties/ThingGroups", "g"), "ThingGroups must be a list of texts"),
        (changed("Resources/thing/Properties/AttributePayload", {"a": 1}), "AttributePayload.a must be a text"),
        (changed("Resources/thing/OverrideSettings", {"ThingGroups": "KEEP"}), "must be one of DO_NOTHING, REPLACE"),
        (changed("Resources/certificate/Properties/Status", "On"), "Status must be ACTIVE or INACTIVE"),
        (changed("Resources/certificate/Properties", {}), "CertificateId must be a text"),
        (changed("Resources/policy/Properties", {}), "PolicyName must be a text"),
        (changed("Resources/policy/Properties/PolicyDocument", "{"), "PolicyDocument is no JSON"),
        (changed("Resources/other", BODY["Resources"]["thing"]), "there are two of AWS::IoT::Thing"),
        (changed("Resources", {"thing": BODY["Resources"]["thing"]}), "needs a resource AWS::IoT::Certificate"),
    ],
)
def test_templates_that_cannot_be_used(body: Mapping[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        templates.check(body)


def test_a_parameter_that_is_missing() -> None:
    with pytest.raises(ConfigError, match="parameter 'SerialNumber' is missing"):
        templates.plan(BODY, {}, certificate_id=ID)


def test_policies_in_the_template() -> None:
    document = {"Version": "2012-10-17", "Statement": []}
    text = '{"Version":"2012-10-17","Statement":[]}'
    for given_ in (document, text):
        body = changed("Resources/policy/Properties", {"PolicyDocument": given_})
        made = templates.plan(body, {"SerialNumber": "7"}, certificate_id=ID)
        assert (made.policies, list(made.documents.values())) == ((), [document])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Ref", "Fn::Join", "Fn::Sub", "Fn::Select", "Type", "Properties", "a"]), inner
        )
    ),
    max_leaves=8,
)


PLACES = [
    "Parameters",
    "Mappings",
    "Resources",
    "DeviceConfiguration",
    "Resources/thing",
    "Resources/thing/Properties",
    "Resources/policy/Properties",
    "Parameters/Site",
]


@given(st.sampled_from(PLACES), JSON)
def test_any_template_is_taken_or_refused(path: str, value: object) -> None:
    try:
        templates.check(changed(path, value))
    except ConfigError:
        return
    assert templates.plan(changed(path, value), {"SerialNumber": "7"}, certificate_id=ID)
