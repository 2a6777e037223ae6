"""The files in deploy/iot: AWS would take them, they allow what the runtime does, and nothing else."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.pure.job_messages import Topics
from edge_runtime.pure.shadow_sync import filters
from edge_runtime.standin.policies import Policy, decide
from edge_runtime.standin.services import templates

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "iot"
IOT = ["device-policy.json", "claim-policy.json", "rotate-policy.json", "greengrass-policy.json"]
IAM = ["role-policy.json", "hook-policy.json"]
MOST_SIGNS = 2048
"""Of an IoT policy, white space not counted (AWS General Reference, AWS IoT Core quotas)."""
REGION, ACCOUNT = "ap-southeast-1", "123456789012"
VARIABLES = {
    "device-policy.json": {"iot:Connection.Thing.ThingName"},
    "role-policy.json": {"credentials-iot:ThingName"},
}
"""Where a variable has a value (AWS IoT Core developer guide, "Thing policy variables"); none in the other files."""
THING = "edge-1234"
ARN = f"arn:aws:iot:{REGION}:{ACCOUNT}"


def load(name: str) -> Any:  # noqa: ANN401 - any JSON
    text = (FOLDER / name).read_text(encoding="utf-8")
    filled = text.replace("REGION", REGION).replace("ACCOUNT", ACCOUNT).replace("BUCKET", "b").replace("CORE", "core")
    return json.loads(filled)


def statements(name: str) -> Iterator[Mapping[str, Any]]:
    document = load(name)
    assert document["Version"] == "2012-10-17"
    yield from document["Statement"]


def listed(value: object) -> list[str]:
    return [value] if isinstance(value, str) else list(value)  # type: ignore[call-overload]  # JSON


def test_every_file_is_named_in_the_readme_and_is_json() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in FOLDER.glob("*.json"):
        load(path.name)
        assert path.name in readme or (path.name.startswith("hook") and "hook*.json" in readme)


@pytest.mark.parametrize("name", IOT)
def test_a_policy_fits_into_what_aws_takes(name: str) -> None:
    text = json.dumps(load(name))
    assert len(re.sub(r"\s", "", text)) <= MOST_SIGNS
    Policy.parse(load(name), anywhere=True)


@pytest.mark.parametrize("name", [*IOT, *IAM])
def test_nothing_is_allowed_by_the_dozen(name: str) -> None:
    for statement in statements(name):
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in listed(statement["Action"]))
        for resource in listed(statement["Resource"]):
            services = {action.split(":")[0] for action in listed(statement["Action"])}
            # These actions of Greengrass and of IoT's registry know no resources.
            knows_none = services == {"greengrass"} or name == "hook-policy.json"
            assert resource != "*" or knows_none
            assert not re.search(r":(client|topic|topicfilter|rolealias)/\*$", resource)


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.json")))
def test_only_variables_that_have_a_value_there(name: str) -> None:
    found = set(re.findall(r"\$\{([^}]+)\}", (FOLDER / name).read_text(encoding="utf-8")))
    assert found == VARIABLES.get(name, set())


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.json")))
def test_only_the_placeholders_that_the_readme_fills_in(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    words = {"REGION", "ACCOUNT", "BUCKET", "MERGE", "REPLACE"} | ({"CORE"} if "greengrass" in name else set())
    assert set(re.findall(r"(?<!_)\b[A-Z]{4,}\b", text)) <= words


def test_the_command_of_the_readme_fills_them_in(tmp_path: Path) -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    loop = re.search(r"mkdir -p filled\n(for .*?done)\n", readme, re.DOTALL)
    assert loop is not None
    for path in FOLDER.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "filled").mkdir()
    script = f"AWS_REGION={REGION}; ACCOUNT={ACCOUNT}\n{loop[1]}"
    subprocess.run(["/bin/sh", "-ec", script], cwd=tmp_path, check=True)
    for path in (tmp_path / "filled").glob("*.json"):
        assert not re.search(r"REGION|ACCOUNT|BUCKET|CORE", path.read_text(encoding="utf-8"))
    assert len(list((tmp_path / "filled").iterdir())) == len(list(FOLDER.glob("*.json")))


def test_every_command_of_the_readme_can_be_read_by_a_shell() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL):
        subprocess.run(["/bin/sh", "-n"], input=block, text=True, check=True, capture_output=True)
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for word in words:
                if word.startswith(("file://", "fileb://")):
                    name = word.partition("://")[2]
                    assert (FOLDER / name).is_file() or name == "hook.zip"


# -- what the policies let through, decided as AWS does --------------------------------------------------------------

PROVISIONING = ("$aws/certificates/create-from-csr/json", "$aws/provisioning-templates/edge-runtime/provision/json")


def may(name: str, action: str, resource: str, *, as_thing: bool = True) -> bool:
    """Tell whether a policy lets something pass; `as_thing`: connected with the name of its thing as client id."""
    known = {"iot:Connection.Thing.ThingName": THING, "iot:Connection.Thing.IsAttached": "true"} if as_thing else {}
    return decide([Policy.parse(load(name), anywhere=True)], f"iot:{action}", f"{ARN}:{resource}", known)


def both(name: str, topic: str) -> bool:
    """Tell whether what is subscribed to is also let through."""
    example = topic.replace("+", "x").replace("#", "x/y")
    return may(name, "Subscribe", f"topicfilter/{topic}") and may(name, "Receive", f"topic/{example}")


def test_a_device_may_be_itself_alone() -> None:
    assert may("device-policy.json", "Connect", f"client/{THING}")
    assert not may("device-policy.json", "Connect", "client/edge-1235")
    assert not may("device-policy.json", "Connect", f"client/{THING}", as_thing=False)


def test_a_device_may_do_what_the_runtime_does() -> None:
    name, root = "device-policy.json", f"$aws/things/{THING}"
    assert may(name, "Publish", f"topic/edge/{THING}/up/soil/moisture")
    assert may(name, "RetainPublish", f"topic/edge/{THING}/up/soil")
    assert both(name, f"edge/{THING}/down/#")
    job = Topics(THING)
    for wanted in (*job.filters, *filters(THING, ["", "edge", "a"]), *filters(THING, [], everything=True)):
        assert both(name, wanted), wanted
    for asked in ("shadow/get", "shadow/update", "shadow/delete", "shadow/name/edge/get", "shadow/name/edge/update"):
        assert may(name, "Publish", f"topic/{root}/{asked}")
    assert may(name, "Publish", f"topic/{job.start_next()}")
    assert may(name, "Publish", f"topic/{root}/jobs/app-1-4-0/update")
    assert may(name, "Publish", f"topic/{root}/jobs/app-1-4-0/get")
    assert may(name, "AssumeRoleWithCertificate", f"rolealias/{load('role-alias.json')['roleAlias']}")


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("Publish", "topic/edge/edge-1235/up/soil"),
        ("Publish", f"topic/edge/{THING}/down/lamp"),
        ("Publish", "topic/$aws/things/edge-1235/shadow/update"),
        ("Publish", "topic/$aws/certificates/create-from-csr/json"),
        ("Publish", "topic/anything"),
        ("Subscribe", "topicfilter/#"),
        ("Subscribe", "topicfilter/edge/+/down/#"),
        ("Subscribe", "topicfilter/$aws/things/+/jobs/#"),
        ("Receive", "topic/edge/edge-1235/down/lamp"),
        ("AssumeRoleWithCertificate", "rolealias/admin"),
    ],
)
def test_a_device_may_do_nothing_else(action: str, resource: str) -> None:
    assert not may("device-policy.json", action, resource)


@pytest.mark.parametrize(("name", "client"), [("claim-policy.json", "claim-1234"), ("rotate-policy.json", "rotate-x")])
def test_a_claim_may_ask_for_an_identity_and_nothing_else(name: str, client: str) -> None:
    assert may(name, "Connect", f"client/{client}", as_thing=False)
    assert not may(name, "Connect", f"client/{THING}", as_thing=False)
    for topic in PROVISIONING:
        assert may(name, "Publish", f"topic/{topic}", as_thing=False)
        assert both(name, f"{topic}/accepted")
        assert both(name, f"{topic}/rejected")
    for topic in ("$aws/certificates/create/json", "$aws/provisioning-templates/other/provision/json", "edge/a/up/b"):
        assert not may(name, "Publish", f"topic/{topic}", as_thing=False)


def test_a_core_may_connect_with_all_its_client_ids() -> None:
    name = "greengrass-policy.json"
    for client in ("core", "core#2", "core-gci"):
        assert may(name, "Connect", f"client/{client}", as_thing=False)
    assert may(name, "Publish", "topic/edge/core/up/soil", as_thing=False)
    assert not may(name, "Publish", "topic/edge/other/up/soil", as_thing=False)
    actions = {action for statement in statements(name) for action in listed(statement["Action"])}
    # AWS IoT Greengrass developer guide, "Minimal AWS IoT policy for core devices".
    assert actions >= {
        "greengrass:GetComponentVersionArtifact",
        "greengrass:ResolveComponentCandidates",
        "greengrass:GetDeploymentConfiguration",
        "greengrass:ListThingGroupsForCoreDevice",
    }


# -- the template ----------------------------------------------------------------------------------------------------


def test_the_template_makes_what_the_runtime_expects() -> None:
    template = load("template.json")
    templates.check(template)
    assert set(template["Parameters"]) == {"SerialNumber", "AWS::IoT::Certificate::Id"}
    plan = templates.plan(template, {"SerialNumber": "1234"}, certificate_id="c" * 64)
    assert plan.thing is not None
    assert plan.thing.name == THING
    assert plan.thing.groups == ("edge-runtime",)
    assert set(plan.policies) == {"edge-runtime-device", "edge-runtime-rotate"}
    assert plan.configuration == {"role_alias": load("role-alias.json")["roleAlias"]}


def test_every_parameter_that_is_used_is_declared() -> None:
    template = load("template.json")
    used = set(re.findall(r'"Ref": "([^"]+)"', json.dumps(template)))
    assert used == set(template["Parameters"])


def test_roles_are_taken_by_whom_they_are_for() -> None:
    who = {
        "template-trust.json": "iot.amazonaws.com",
        "role-trust.json": "credentials.iot.amazonaws.com",
        "hook-trust.json": "lambda.amazonaws.com",
    }
    for name, service in who.items():
        (statement,) = load(name)["Statement"]
        assert statement["Principal"] == {"Service": service}
        assert statement["Action"] == "sts:AssumeRole"
    assert 900 <= load("role-alias.json")["credentialDurationSeconds"] <= 43_200


def test_the_names_in_the_readme_are_those_in_the_files() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert load("role-alias.json")["roleArn"] == f"arn:aws:iam::{ACCOUNT}:role/edge-runtime-device"
    assert "create-role --role-name edge-runtime-device --assume-role-policy-document file://role-trust.json" in readme
    function = load("hook.json")["targetArn"].rpartition(":")[2]
    assert f"create-function --function-name {function} " in readme
    for policy in ("edge-runtime-device", "edge-runtime-rotate"):
        assert f"create-policy --policy-name {policy} " in readme
