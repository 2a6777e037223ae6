"""The file of an account: what people write by hand, and what is kept."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import ConfigError, StoreError
from edge_runtime.standin.registry import Certificate, Registry, RoleAlias, Status, Template, Thing, id_of_pem
from edge_runtime.standin.services import files
from edge_runtime.standin.services.executions import Execution, State
from edge_runtime.standin.services.jobs import Job, Jobs
from edge_runtime.standin.services.shadows import Shadows
from tests.standin.harness import Bench
from tests.standin.services.test_templates import BODY

POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}
PEM = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n"
BY_HAND: dict[str, Any] = {
    "things": {"edge-1": {"attributes": {"site": "a"}, "groups": ["edge"], "type": "gateway"}, "edge-2": {}},
    "policies": {"device": POLICY},
    "certificates": [{"file": "client.pem", "policies": ["device"], "things": ["edge-1"], "exclusive": True}],
    "templates": {"fleet": {"body": BODY}},
    "role_aliases": {"edge": {"role_arn": "arn:aws:iam::123456789012:role/edge"}},
}


def empty() -> tuple[Registry, Shadows, Jobs]:
    broker, registry = Bench().broker, Registry()
    return registry, Shadows(broker), Jobs(broker, registry)


def test_a_file_by_hand(tmp_path: Path) -> None:
    (tmp_path / "client.pem").write_text(PEM)
    registry, shadows, jobs = empty()
    files.load(BY_HAND, tmp_path, registry, shadows, jobs)
    assert registry.things == {
        "edge-1": Thing("edge-1", {"site": "a"}, ("edge",), "gateway"),
        "edge-2": Thing("edge-2"),
    }
    certificate_id = id_of_pem(PEM)
    assert registry.certificates == {
        certificate_id: Certificate(certificate_id, PEM, Status.ACTIVE, ("device",), ("edge-1",), exclusive=True)
    }
    assert registry.templates == {"fleet": Template("fleet", BODY)}
    assert registry.role_aliases == {"edge": RoleAlias("edge", "arn:aws:iam::123456789012:role/edge", 3600)}


def test_what_is_kept_is_what_there_was(tmp_path: Path) -> None:
    (tmp_path / "client.pem").write_text(PEM)
    registry, shadows, jobs = empty()
    files.load(BY_HAND, tmp_path, registry, shadows, jobs)
    registry.set_status(id_of_pem(PEM), Status.REVOKED)
    shadows.update("edge-1", "", {"desired": {"a": 1}})
    jobs.create(["edge-1", "edge-2"], {"operation": "x"}, "j1", timeout_minutes=5)
    jobs.create(["edge-1"], {}, "j2")
    jobs.cancel("j2")
    path = tmp_path / "account.json"
    files.write_file(path, files.dump(registry, shadows, jobs))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = empty()
    files.load(files.read_file(path), tmp_path, *again)
    assert files.dump(*again) == files.dump(registry, shadows, jobs)
    assert again[2].jobs["j1"] == Job("j1", {"operation": "x"}, ("edge-1", "edge-2"), 1_700_000_000, 5)
    (canceled,) = again[2].executions_of("j2")
    assert canceled == Execution("j2", "edge-1", 1_700_000_000, 1_700_000_000, State.CANCELED, {}, version=2)
    assert again[2].jobs["j2"].is_canceled


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"thing": {}}, "there is no section 'thing'; did you mean 'things'"),
        ({"things": []}, "things must be an object"),
        ({"things": {"a": 1}}, "things.a must be an object"),
        ({"things": {"a": {"group": []}}}, "things.a has no 'group'; did you mean 'groups'"),
        ({"things": {"a": {"groups": "x"}}}, 'things.a.groups may not be "x"'),
        ({"things": {"a": {"groups": [1]}}}, "things.a.groups must hold texts only"),
        ({"things": {"a": {"attributes": {"b": 1}}}}, "things.a.attributes must hold texts only"),
        ({"things": {"a b": {}}}, "'a b' is no name of a thing"),
        ({"policies": {"p": {}}}, "policies.p: a policy needs"),
        ({"certificates": {}}, "certificates must be a list"),
        ({"certificates": [1]}, r"certificates\[0\] must be an object"),
        ({"certificates": [{}]}, r"certificates\[0\] needs pem"),
        ({"certificates": [{"pem": "x"}]}, r"certificates\[0\]: this is no certificate"),
        (
            {"certificates": [{"file": "missing.pem"}]},
            r"certificates\[0\]: the certificate .*missing.pem cannot be read",
        ),
        ({"certificates": [{"pem": PEM, "status": "ON"}]}, r"certificates\[0\].status must be one of ACTIVE, INACTIVE"),
        ({"certificates": [{"pem": PEM, "policies": ["p"]}]}, r"certificates\[0\]: there is no policy 'p'"),
        ({"certificates": [{"pem": PEM, "things": ["t"]}]}, r"certificates\[0\]: there is no thing 't'"),
        ({"templates": {"t": {}}}, "templates.t needs body"),
        ({"templates": {"t": {"body": {}}}}, "templates.t: a template needs a resource"),
        ({"role_aliases": {"r": {"role_arn": "a", "duration_s": True}}}, "role_aliases.r.duration_s may not be true"),
        ({"shadows": {"t": {"": {}}}}, "shadows.t.classic is no shadow"),
        ({"executions": [{"job_id": "j", "thing": "t", "queued_s": 1, "updated_s": 1}]}, "there is no job 'j'"),
    ],
)
def test_what_cannot_be(tree: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        files.load(tree, tmp_path, *empty())


@pytest.mark.parametrize("text", ["", "{", "[]", "\ud800"])
def test_a_file_that_is_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match=r"the registry .*account\.json"):
        files.read_file(path)


def test_a_file_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert files.read_file(tmp_path / "account.json") == {}


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / ".account.json.new").mkdir()
    path = tmp_path / "account.json"
    path.write_text(json.dumps({"things": {}}))
    with pytest.raises(StoreError, match=r"account\.json cannot be written"):
        files.write_file(path, {"things": {"a": {}}})
    assert files.read_file(path) == {"things": {}}
