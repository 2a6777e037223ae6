"""Recipes: least rights, and what both nuclei take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_runtime.app import App, JobsSpec, LinkSpec, RoleAlias, Rule, ShadowSync, Uplink
from edge_runtime.building.recipe import (
    CORE,
    Component,
    Platform,
    access_control,
    as_yaml,
    needs_tokens,
    recipe,
    recipe_offline,
)
from edge_runtime.errors import ConfigError


def app(*up: str, down: tuple[str, ...] = (), **more: Any) -> App:  # noqa: ANN401 - fields of a link
    uplink = Uplink(up=tuple(Rule(one, ("uplink",)) for one in up), down=down)
    return App(CORE, Path("/app"), link=LinkSpec("greengrass", uplink=uplink, **more))


def rights(of: App) -> dict[str, list[str]]:
    """Return the resources by operation."""
    policies = access_control(of, "com.example.a").get("aws.greengrass.ipc.mqttproxy", {})
    return {one["operations"][0].partition("#")[2]: one["resources"] for one in policies.values()}


def test_what_goes_up_may_be_published_and_heard_again_and_nothing_else() -> None:
    assert rights(app(f"dt/{CORE}/#", "alarm/+/fire", down=(f"cmd/{CORE}/#",))) == {
        "PublishToIoTCore": ["dt/{iot:thingName}/#", "alarm/+/fire"],
        "SubscribeToIoTCore": ["cmd/{iot:thingName}/#", "dt/{iot:thingName}/#", "alarm/+/fire"],
    }


def test_what_confirms_decides_what_is_subscribed_to() -> None:
    assert rights(app("dt/a/b", options={"echo": ["dt/#"]}))["SubscribeToIoTCore"] == ["dt/#"]
    assert rights(app("dt/a", down=("c",), options={"confirm_topic": f"ok/{CORE}"})) == {
        "PublishToIoTCore": ["dt/a"],
        "SubscribeToIoTCore": ["c", "ok/{iot:thingName}"],
    }


def test_a_wider_filter_stands_for_narrower_ones() -> None:
    assert rights(app("dt/#", "dt/a", "dtx", "dt/b/#"))["PublishToIoTCore"] == ["dt/#", "dtx"]


def test_services_of_the_cloud_that_are_used() -> None:
    base = "$aws/things/{iot:thingName}"
    named = app("a", shadows=ShadowSync(names=("station",)), options={"confirm_topic": "ok"})
    assert rights(named)["PublishToIoTCore"] == ["a", f"{base}/shadow/name/station/*"]
    both = rights(app("a", shadows=ShadowSync(names=("", "x")), jobs=JobsSpec(), options={"confirm_topic": "ok"}))
    assert both["SubscribeToIoTCore"] == [f"{base}/shadow/*", f"{base}/jobs/*", "ok"]


def test_another_link_needs_no_rights() -> None:
    link = app("a").link
    assert link is not None
    assert access_control(App("t", Path("/"), link=replace(link, driver="paho")), "c") == {}
    assert access_control(App("t", Path("/")), "c") == {}
    assert access_control(app(), "c") == {}


def test_credentials_of_the_core() -> None:
    assert needs_tokens(app(credentials=RoleAlias()))
    assert not needs_tokens(app(credentials=RoleAlias("e", "n")))
    assert not needs_tokens(app())


def component(**more: Any) -> Component:  # noqa: ANN401 - fields of a component
    fields: dict[str, Any] = {
        "name": "com.example.A",
        "version": "1.2.3",
        "description": "d",
        "platforms": (Platform("aarch64", ("a.zip",)),),
        "steps": {"install": "true", "run": "set -e\nexec true\n"},
    }
    return Component(**{**fields, **more})


def test_yaml_reads_back_as_it_was() -> None:
    about = recipe(component(needs={"x": ">=1.0.0"}, environment={"A": "1", "B": "true"}), "b")
    assert yaml.safe_load(as_yaml(about)) == about
    assert about["Manifests"][0]["Artifacts"][0]["Uri"] == "s3://b/com.example.A/1.2.3/a.zip"
    assert about["ComponentDependencies"] == {"x": {"VersionRequirement": ">=1.0.0"}}
    assert b"Script: |\n" in as_yaml(about)


def test_offline_nothing_is_fetched_or_looked_up() -> None:
    about = recipe_offline(component(needs={"x": ">=1.0.0"}))
    assert "ComponentDependencies" not in about
    assert [(one["Artifacts"], one["Platform"]["architecture"]) for one in about["Manifests"]] == [([], "*")]


@pytest.mark.parametrize("version", ["1.2", "1.2.3-rc1", "1.2.1000000", "v1.2.3", ""])
def test_versions_that_aws_refuses(version: str) -> None:
    with pytest.raises(ConfigError, match="is no version of a component"):
        component(version=version)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "x" * 129])
def test_names_that_aws_refuses(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a component"):
        component(name=name)


def test_a_recipe_that_the_lite_nucleus_could_not_read() -> None:
    access = access_control(app(*(f"a/very/long/topic/of/number/{n}" for n in range(200))), "c")
    with pytest.raises(ConfigError, match=r"the recipe of com\.example\.A has \d+ bytes; the lite nucleus reads 8191"):
        as_yaml(recipe(component(access=access), "b"))
