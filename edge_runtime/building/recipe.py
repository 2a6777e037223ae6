"""Recipes of Greengrass components, as data and as YAML, that the classic nucleus and the lite one both take.

What the lite nucleus is strict about, as of 2.6.0: keys have one spelling; every `{` in a script begins a variable, and
it knows few; a step is `bootstrap`, `install`, `startup` or `run`; the environment holds texts; a platform has
`runtime`; a recipe is shorter than 8,192 bytes. Source: AWS IoT Greengrass developer guide, "Component recipe
reference".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_runtime.app import App, LinkSpec
from edge_runtime.errors import ConfigError

MOST_BYTES = 8191
"""The lite nucleus reads a recipe into a buffer of 8,196 bytes."""
CORE = "EDGE--NAME-OF-THE-CORE--EDGE"
"""Stands for the name of the core device in the topics of an app that was read for a component."""
PUBLISH, SUBSCRIBE = "aws.greengrass#PublishToIoTCore", "aws.greengrass#SubscribeToIoTCore"
TOKENS = "aws.greengrass.TokenExchangeService"
_PROXY = "aws.greengrass.ipc.mqttproxy"
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,128}")
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})")


@dataclass(frozen=True, slots=True)
class Platform:
    """Which machines a manifest is for, and the artifacts that they get."""

    architecture: str
    """`amd64`, `aarch64`, `arm` or `*`, as Greengrass says it."""
    artifacts: tuple[str, ...]
    """File names."""


@dataclass(frozen=True, slots=True)
class Component:
    """What a recipe says."""

    name: str
    version: str
    description: str
    platforms: tuple[Platform, ...]
    steps: Mapping[str, str]
    """Scripts by the name of their step."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of the step `run`."""
    access: Mapping[str, Any] = field(default_factory=dict)
    """Its `accessControl`."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """Components and their version ranges."""
    publisher: str = ""
    timeout_s: int = 900
    """Of the step `install`: a small board unpacks for minutes, and 120 s is what it would get otherwise."""

    def __post_init__(self) -> None:
        """Check what AWS would refuse. Raises: ConfigError."""
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"{self.name!r} is no name of a component: 1 to 128 letters, digits, dots, - and _")
        check_version(self.version)


def check_version(version: str) -> None:
    """Return when it is a version of a component. Raises: ConfigError."""
    if not _VERSION.fullmatch(version):
        raise ConfigError(
            f"{version!r} is no version of a component: three numbers below 1,000,000", hint="as in --release 1.4.0"
        )


def recipe(component: Component, bucket: str) -> dict[str, Any]:
    """Return the recipe of a component whose artifacts are in a bucket of S3."""
    about = _head(component)
    if component.needs:
        # Without DependencyType: the classic nucleus takes it as HARD and starts this one after the other; the lite one
        # would bind the units to one another, so that this one ended for good whenever the other restarts.
        about["ComponentDependencies"] = {
            name: {"VersionRequirement": versions} for name, versions in sorted(component.needs.items())
        }
    place = f"s3://{bucket}/{component.name}/{component.version}"
    about["Manifests"] = [
        _manifest(component, one.architecture, [_artifact(f"{place}/{file}") for file in one.artifacts])
        for one in component.platforms
    ]
    return about


def recipe_offline(component: Component) -> dict[str, Any]:
    """Return the recipe for a deployment from the disk of the device itself: nothing is fetched, nothing looked up."""
    return {**_head(component), "Manifests": [_manifest(component, "*", [])]}


def as_yaml(about: Mapping[str, Any]) -> bytes:
    """Return a recipe as YAML. Raises: ConfigError when the lite nucleus could not read it."""
    import yaml  # noqa: PLC0415 - a running host does not carry it

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else '"' if value[:1].isdigit() or value in {"true", "false"} else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    written = yaml.dump(dict(about), Dumper=Dumper, sort_keys=False, width=1000, explicit_start=True).encode()
    if len(written) > MOST_BYTES:
        raise ConfigError(
            f"the recipe of {about['ComponentName']} has {len(written)} bytes; the lite nucleus reads {MOST_BYTES}",
            hint="let fewer topic filters under link.up and link.down cover more",
        )
    return written


def access_control(app: App, component: str) -> dict[str, Any]:
    """Return the least rights by which the link of an app works through the nucleus; none for any other link.

    What goes up may be published; it may be subscribed to as well where its echo is what acknowledges it.
    """
    link = app.link
    if link is None or link.driver != "greengrass":
        return {}
    up, down = [rule.filter for rule in link.uplink.up], list(link.uplink.down)
    for more in _services(link):
        up.append(more)
        down.append(more)
    if topic := str(link.options.get("confirm_topic") or ""):
        down.append(topic)
    else:
        echo = link.options.get("echo")
        down += [str(one) for one in echo] if isinstance(echo, list | tuple) and echo else up
    policies = {}
    for number, (what, operation, topics) in enumerate(
        (("What goes to the cloud", PUBLISH, up), ("What comes from the cloud", SUBSCRIBE, down)), 1
    ):
        if topics:
            policies[f"{component}:mqttproxy:{number}"] = {
                "policyDescription": what,
                "operations": [operation],
                "resources": _resources(topics),
            }
    return {_PROXY: policies} if policies else {}


def needs_tokens(app: App) -> bool:
    """Tell whether functions of an app get the credentials of the core's role."""
    return app.link is not None and app.link.credentials is not None and not app.link.credentials.endpoint


def _services(link: LinkSpec) -> Iterable[str]:
    """Yield what the services of AWS IoT that a link uses speak on."""
    if link.shadows is not None:
        if link.shadows.everything or "" in link.shadows.names:
            yield f"$aws/things/{CORE}/shadow/*"
        else:
            yield from (f"$aws/things/{CORE}/shadow/name/{name}/*" for name in link.shadows.names)
    if link.jobs is not None:
        yield f"$aws/things/{CORE}/jobs/*"


def _resources(topics: Iterable[str]) -> list[str]:
    """Return topic filters as resources; what a wider one of them covers anyway is left out."""
    found = list(dict.fromkeys(topics))
    wide = {one: one[:-1] for one in found if one.endswith(("/#", "/*"))}
    least = [one for one in found if not any(one.startswith(stem) and wide.get(one) != stem for stem in wide.values())]
    return [one.replace(CORE, "{iot:thingName}") for one in least]


def _head(component: Component) -> dict[str, Any]:
    about = {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": component.name,
        "ComponentVersion": component.version,
        "ComponentType": "aws.greengrass.generic",
        "ComponentDescription": component.description,
    }
    if component.publisher:
        about["ComponentPublisher"] = component.publisher
    configuration: dict[str, Any] = {"accessControl": dict(component.access)} if component.access else {}
    return {**about, "ComponentConfiguration": {"DefaultConfiguration": configuration}} if configuration else about


def _artifact(uri: str) -> dict[str, Any]:
    # Never unzipped by the nucleus: the lite one does that for deployments from the cloud only.
    return {"Uri": uri, "Unarchive": "NONE", "Permission": {"Read": "OWNER"}}


def _manifest(component: Component, architecture: str, artifacts: list[dict[str, Any]]) -> dict[str, Any]:
    lifecycle: dict[str, Any] = {}
    for step, script in component.steps.items():
        more: dict[str, Any] = {"Timeout": str(component.timeout_s)} if step == "install" else {}
        if step == "run" and component.environment:
            more["Setenv"] = dict(component.environment)
        lifecycle[step] = {"RequiresPrivilege": "false", **more, "Script": script}
    return {
        "Name": f"linux-{architecture}" if architecture != "*" else "linux",
        "Platform": {"os": "linux", "architecture": architecture, "runtime": "*"},
        "Artifacts": artifacts,
        "Lifecycle": lifecycle,
    }
