"""Components, as both nuclei see them: their recipes, and their scripts run as a nucleus runs them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from edge_runtime import __version__
from edge_runtime.building.carry_out import carry_out
from edge_runtime.building.plan import Plan, Write, shown
from edge_runtime.building.recipe import CORE
from edge_runtime.cloud.pack import Packing, parcels
from edge_runtime.errors import ConfigError
from edge_runtime.loaders import read_app
from edge_runtime.model import Event, Message, Stamp
from edge_runtime.plugin import load
from edge_runtime.pure.topics import matches
from tests import runtimes
from tests.nucleus import COMPONENT, TOKEN, Nucleus, start_nucleus

ROOT = Path(__file__).parent.parent.parent.parent
SCHEMA = ROOT.parent / "shared" / "data" / "greengrass-recipe-schema.json"
KNOWN = {"artifacts:path", "artifacts:decompressedPath", "kernel:rootPath", "iot:thingName", "work:path"}
APP = """\
thing: another-name
functions:
  echo:
    code: ./echo
    handler: app.handler
    timeout: 30s
    events: [{topic: "cmd/{thing}/#"}]
    on_success: dt/{thing}/echo
link: {driver: greengrass, up: ["dt/{thing}/#"], down: ["cmd/{thing}/#"]}
"""
LOOPBACK = ("sh", "-c", 'ip link set lo up; exec "$@"', "sh")
"""A machine without a network reaches itself: functions talk to the runtime over it."""
HANDLER = "def handler(event, context):\n    return {'got': event, 'release': RELEASE}\n"
GOLDEN = """\
target greengrass
remove OUT/greengrass-build
bundle com-example-echo 1.4.0 for any machine of echo/app.py=APP/echo/app.py edge.yaml=APP/edge.yaml \
as OUT/greengrass-build/artifacts/com.example.echo/1.4.0/com.example.echo.zip
write OUT/greengrass-build/recipes/recipe.yaml 644 N bytes
write OUT/greengrass-build/recipe-offline.yaml 644 N bytes
write OUT/greengrass-build/recipes-offline/com.example.echo-1.4.0.yaml 644 N bytes
result OUT/greengrass-build/recipes/recipe.yaml
result OUT/greengrass-build/recipe-offline.yaml
result OUT/greengrass-build/artifacts/com.example.echo/1.4.0
"""
GOLDEN_RUNTIME = """\
target greengrass
remove OUT/greengrass-build
copy INSTALLER to ART/edge-install.sh 755
wheels LOCKS/armv6l.txt for armv6l, Python 3.11 3.12 3.13, into WORK/armv6l/wheels
wheels LOCKS/pure.txt for any machine, into WORK/armv6l/pure
own wheel into WORK/armv6l/own
pins of WORK/armv6l/wheels WORK/armv6l/own WORK/armv6l/pure as WORK/armv6l/requirements.lock
bundle edge-runtime VERSION for armv6l of requirements.lock=WORK/armv6l/requirements.lock wheels=WORK/armv6l/wheels \
wheels=WORK/armv6l/own wheels=WORK/armv6l/pure as ART/edge-runtime-armv6l.zip
"""


def write_app(folder: Path, release: str = "1.4.0", text: str = APP) -> Path:
    (folder / "echo").mkdir(parents=True, exist_ok=True)
    (folder / "edge.yaml").write_text(text)
    (folder / "echo" / "app.py").write_text(HANDLER.replace("RELEASE", repr(release)))
    return folder / "edge.yaml"


def plan_app(path: Path, out: Path, release: str = "1.4.0", name: str = "com.example.echo") -> Plan:
    overlay = out.with_name("thing.json")
    overlay.write_text(json.dumps({"thing": CORE}))
    plan: Plan = load("deploy", "greengrass").plan_app(
        read_app(path, overlay), path, "bucket", out, name=name, version=release, runtime=COMPONENT
    )
    return plan


def recipes(plan: Plan) -> list[dict[str, Any]]:
    """Return the recipe for the cloud and the one for the disk."""
    return [yaml.safe_load(step.data) for step in plan.steps if isinstance(step, Write)][:2]


OURS = {
    "field_station": ("field_station/greengrass.yaml", {"dt/{iot:thingName}/#"}),
    "image_tags": ("image_tags/edge.yaml", set[str]()),
    "unpack": ("unpack/edge.yaml", {"unpacked/edge/+/up/#"}),
}
"""The components of this project: their app file, and what each may publish through the nucleus."""


def plan_ours(name: str, tmp_path: Path) -> Plan:
    return plan_app(ROOT / "components" / OURS[name][0], tmp_path / "out", "1.0.0", f"com.example.{name}")


@pytest.fixture(params=["runtime", "app", *OURS])
def plan(request: pytest.FixtureRequest, tmp_path: Path) -> Plan:
    if request.param in OURS:
        return plan_ours(request.param, tmp_path)
    if request.param == "app":
        return plan_app(write_app(tmp_path / "app"), tmp_path / "out")
    found: Plan = load("deploy", "greengrass").plan_runtime("bucket", tmp_path / "out")
    return found


def test_the_plan_of_an_app(tmp_path: Path) -> None:
    plan = plan_app(write_app(tmp_path / "app"), tmp_path / "out")
    text = shown(plan, {tmp_path / "out": "OUT", tmp_path / "app": "APP"})
    assert re.sub(r"\d+ bytes", "N bytes", text) == GOLDEN


def test_the_plan_of_the_runtime(tmp_path: Path) -> None:
    target = load("deploy", "greengrass")
    plan = target.plan_runtime("bucket", tmp_path / "out", architectures=("armv6l",), work=tmp_path / "work")
    artifacts = tmp_path / "out" / "greengrass-build" / "artifacts" / COMPONENT / __version__
    places = {tmp_path / "out": "OUT", artifacts: "ART", tmp_path / "work": "WORK", target.INSTALLER: "INSTALLER"}
    text = shown(plan, {**places, load("deploy", "runtime").LOCKS: "LOCKS"})
    assert text.startswith(GOLDEN_RUNTIME.replace("VERSION", __version__))
    assert [one["Platform"]["architecture"] for one in recipes(plan)[0]["Manifests"]] == ["arm"]


def test_each_machine_gets_what_is_for_it(tmp_path: Path) -> None:
    about = recipes(load("deploy", "greengrass").plan_runtime("bucket", tmp_path))[0]
    got = {
        one["Platform"]["architecture"]: [Path(file["Uri"]).name for file in one["Artifacts"]]
        for one in about["Manifests"]
    }
    assert got == {
        "aarch64": ["edge-install.sh", "edge-runtime-aarch64.zip"],
        "arm": ["edge-install.sh", "edge-runtime-armv7l.zip", "edge-runtime-armv6l.zip"],
        "amd64": ["edge-install.sh", "edge-runtime-x86_64.zip"],
    }


@pytest.mark.parametrize("name", OURS)
def test_a_component_of_ours_may_do_what_it_does_and_has_all_its_files(name: str, tmp_path: Path) -> None:
    plan = plan_ours(name, tmp_path)
    configuration = recipes(plan)[0].get("ComponentConfiguration", {}).get("DefaultConfiguration", {})
    rights = configuration.get("accessControl", {}).get("aws.greengrass.ipc.mqttproxy", {})
    assert {part for one in rights.values() if "Publish" in one["operations"][0] for part in one["resources"]} == (
        OURS[name][1]
    )
    carry_out(plan)
    (bundle,) = (tmp_path / "out" / "greengrass-build" / "artifacts").rglob("*.zip")
    with zipfile.ZipFile(bundle) as file:
        names = set(file.namelist())
    app = yaml.safe_load((ROOT / "components" / OURS[name][0]).read_text())
    wanted = {f"{one['code'].removeprefix('./')}/app.py" for one in app["functions"].values()}
    assert names >= wanted | {"edge.yaml"}


def lower(one: Any) -> Any:  # noqa: ANN401 - JSON
    """AWS's schema is written in lower case."""
    if isinstance(one, dict):
        return {key.lower(): lower(value) for key, value in one.items()}
    return [lower(part) for part in one] if isinstance(one, list) else one


@pytest.mark.skipif(not SCHEMA.is_file(), reason="AWS's schema of recipes is not beside the checkout")
def test_aws_takes_the_recipes(plan: Plan) -> None:
    schema = json.loads(SCHEMA.read_text())
    for about in recipes(plan):
        jsonschema.Draft7Validator(schema).validate(lower(about))


def test_the_lite_nucleus_takes_the_recipes(plan: Plan) -> None:
    for step in plan.steps:
        assert not isinstance(step, Write) or len(step.data) < 8192
    for about in recipes(plan):
        assert all("DependencyType" not in one for one in about.get("ComponentDependencies", {}).values())
        for manifest in about["Manifests"]:
            assert manifest["Platform"]["runtime"] == "*"
            assert manifest["Platform"]["os"] == "linux"
            assert all(one["Unarchive"] == "NONE" for one in manifest["Artifacts"])
            assert manifest["Lifecycle"].keys() <= {"install", "run", "startup", "bootstrap"}
            for step in manifest["Lifecycle"].values():
                assert step.keys() <= {"Script", "RequiresPrivilege", "Timeout", "Setenv"}
                assert all(isinstance(value, str) for value in step.get("Setenv", {}).values())
                for text in (step["Script"], *step.get("Setenv", {}).values()):
                    assert len(text) < 10_000
                    assert {*re.findall(r"\{([^}]*)", text)} <= KNOWN


def test_a_release_that_is_no_version(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no version of a component"):
        plan_app(write_app(tmp_path / "app"), tmp_path / "out", "1.4")


def test_the_tree_is_that_of_gdk(tmp_path: Path) -> None:
    (tmp_path / "out" / "greengrass-build" / "recipes").mkdir(parents=True)
    (tmp_path / "out" / "greengrass-build" / "recipes" / "old.yaml").write_text("of before")
    carry_out(plan_app(write_app(tmp_path / "app"), tmp_path / "out"))
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {
        "greengrass-build/recipes/recipe.yaml",
        "greengrass-build/recipe-offline.yaml",
        "greengrass-build/recipes-offline/com.example.echo-1.4.0.yaml",
        "greengrass-build/artifacts/com.example.echo/1.4.0/com.example.echo.zip",
    }


# -- as a nucleus runs them --------------------------------------------------------------------------------------------


class Core:
    """A core device: the root of a nucleus, with its artifacts and the work folders of its components."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.nucleus: Nucleus | None = None

    def deploy(self, plan: Plan) -> tuple[str, str, Mapping[str, Any]]:
        """Take over a component as `deployment create` does from the disk; return its name, version and lifecycle."""
        carry_out(plan)
        about = recipes(plan)[1]
        name, version = about["ComponentName"], about["ComponentVersion"]
        place = self.root / "packages" / "artifacts" / name / version
        shutil.copytree(plan.results[2], place)
        work = self.root / "work" / name
        work.mkdir(parents=True, exist_ok=True)
        for path in (place, *place.iterdir()):
            path.chmod(0o555)
        if os.getuid() == 0:
            os.chown(work, runtimes.NOBODY, runtimes.NOBODY)
        work.chmod(0o700)
        return name, version, about["Manifests"][0]["Lifecycle"]

    async def start(self, component: tuple[str, str, Mapping[str, Any]], step: str) -> asyncio.subprocess.Process:
        """Run a step as the nucleus does: its variables, its environment, its user, the work folder, no network."""
        name, version, lifecycle = component
        about = lifecycle[step]
        values = {
            "artifacts:path": str(self.root / "packages" / "artifacts" / name / version),
            "kernel:rootPath": str(self.root),
            "work:path": str(self.root / "work" / name),
            "iot:thingName": "core-1",
        }
        environment = {
            "PATH": runtimes.environment()["PATH"],
            "SVCUID": TOKEN,
            "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT": str(self.root / "ipc.socket"),
            "AWS_IOT_THING_NAME": "core-1",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "GGC_VERSION": "2.14.0",
            **{key: _filled(value, values) for key, value in about.get("Setenv", {}).items()},
        }
        before = [*runtimes.without_network(), *LOOPBACK, *runtimes.as_nobody()]
        return await asyncio.create_subprocess_exec(
            *before, "sh", "-c", _filled(about["Script"], values), cwd=self.root / "work" / name, env=environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\{([^}]*)\}", lambda match: values[match[1]], text)


@pytest.fixture
def core() -> Iterator[Core]:
    with runtimes.open_folder() as folder:
        (folder / "gg").mkdir(mode=0o755)
        yield Core(folder / "gg")


@asynccontextmanager
async def running(
    core: Core, component: tuple[str, str, Mapping[str, Any]]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a component; on the way out end it as the nucleus does, with SIGTERM."""
    process = await core.start(component, "run")
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        said = (await process.communicate())[0].decode()
        print(said)  # noqa: T201 - shown when the test fails
    assert process.returncode == 0, said


async def install(core: Core, folder: Path) -> tuple[str, str, Mapping[str, Any]]:
    """Have a core install the runtime, twice, as the classic nucleus does. Skips where it cannot be made."""
    runtimes.real_bundle(folder)
    target, machine = load("deploy", "greengrass"), os.uname().machine
    runtime = core.deploy(target.plan_runtime("b", folder / "rt", name=COMPONENT, architectures=(machine,)))
    for _ in range(2):
        installing = await core.start(runtime, "install")
        said = (await installing.communicate())[0].decode()
        assert installing.returncode == 0, said
    assert said == ""
    return runtime


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_unpacking_component_publishes_each_message_by_itself(core: Core, tmp_path: Path) -> None:
    await install(core, tmp_path)
    plan = plan_ours("unpack", tmp_path)
    resources = _resources(recipes(plan)[0])
    messages = [
        Message(
            Event("edge/dev-1/up/dt", f'{{"n":{number}}}'.encode(), "f", Stamp(number, 0, "b"), f"id-{number}"),
            "u",
            5,
            number,
        )
        for number in range(3)
    ]
    (parcel,) = parcels(messages, Packing(50, gzip=True))
    async with start_nucleus(core.root) as nucleus:
        nucleus.socket.chmod(0o777)
        nucleus.allow = lambda operation, topic: any(matches(one, topic) for one in resources[operation])
        async with running(core, core.deploy(plan)):
            await nucleus.until(lambda: any(peer.subscriptions for peer in nucleus.peers))
            nucleus.deliver(parcel.topic, parcel.payload)
            await nucleus.until(lambda: len(nucleus.published) >= len(messages))
    found = [(one.topic, bytes(one.payload)) for one in nucleus.published]
    assert found == [("unpacked/edge/dev-1/up/dt", message.event.payload) for message in messages]


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_an_event_of_a_function_reaches_the_cloud_and_state_outlives_upgrades_and_removal(
    core: Core, tmp_path: Path
) -> None:
    runtime = await install(core, tmp_path)
    resting = await core.start(runtime, "run")
    apps = [
        core.deploy(plan_app(write_app(tmp_path / release / "app", release), tmp_path / release / "out", release))
        for release in ("1.4.0", "1.5.0")
    ]
    resources = _resources(recipes(plan_app(write_app(tmp_path / "r" / "app"), tmp_path / "r" / "out"))[0])
    async with start_nucleus(core.root) as nucleus:
        nucleus.socket.chmod(0o777)
        nucleus.allow = lambda operation, topic: any(matches(one, topic) for one in resources[operation])
        # An upgrade, and then back: the nucleus decides, also for an older one.
        for number, component in enumerate((apps[0], apps[1], apps[0])):
            async with running(core, component):
                await nucleus.until(lambda: any(peer.subscriptions for peer in nucleus.peers))
                nucleus.deliver("cmd/core-1/go", json.dumps({"n": number}).encode())
                wanted = {"got": {"n": number}, "release": component[1]}
                await nucleus.until(lambda wanted=wanted: wanted in _replies(nucleus))  # type: ignore[misc] # mypy: default of a lambda
        assert not nucleus.allow("PublishToIoTCore", "dt/another-core/echo")
    resting.terminate()
    await resting.wait()
    state = core.root / "work" / "com.example.echo" / "state"
    before = (state / "queue.db").stat().st_ino
    # Removed: the nucleus forgets artifacts and recipe, and keeps the work folder.
    for path in (core.root / "packages" / "artifacts" / "com.example.echo").rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(core.root / "packages" / "artifacts" / "com.example.echo")
    again = core.deploy(plan_app(write_app(tmp_path / "a" / "app", "1.5.0"), tmp_path / "a" / "out", "1.5.0"))
    async with start_nucleus(core.root) as nucleus:
        nucleus.socket.chmod(0o777)
        async with running(core, again):
            await nucleus.until(lambda: any(peer.subscriptions for peer in nucleus.peers))
    assert (state / "queue.db").stat().st_ino == before


def _resources(about: Mapping[str, Any]) -> dict[str, list[str]]:
    policies = about["ComponentConfiguration"]["DefaultConfiguration"]["accessControl"]["aws.greengrass.ipc.mqttproxy"]
    return {
        one["operations"][0].partition("#")[2]: [text.replace("{iot:thingName}", "core-1") for text in one["resources"]]
        for one in policies.values()
    }


def _replies(nucleus: Nucleus) -> list[Any]:
    return [json.loads(one.payload) for one in nucleus.published if one.topic == "dt/core-1/echo"]
