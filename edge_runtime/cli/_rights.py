"""What an app needs to be allowed at AWS IoT Core, and the policy statements that would allow it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from edge_runtime.app import App
from edge_runtime.pure.job_messages import Topics
from edge_runtime.pure.shadow_sync import filters as shadow_filters

_ANY_LEVEL = "edge-doctor"


class Right(NamedTuple):
    """One request that AWS decides about, such as `iot:Subscribe` on `topicfilter/cmd/#`."""

    action: str
    resource: str
    why: str
    """Who needs it: `connect`, `down`, `up`, `shadows`, `jobs`, `credentials`, `echo`."""
    wide: str = ""
    """The filter of which the resource is but one example."""

    @property
    def subject(self) -> str:
        """What it is about, without the kind of resource: the topic, the filter, the client id."""
        return self.wide or self.resource.partition("/")[2]


def subscriptions(app: App) -> dict[str, tuple[str, ...]]:
    """Return the filters that the link subscribes to, by who wants them. Those of greengrass for itself are `echo`."""
    link = app.link
    if link is None:
        return {}
    found = {"down": tuple(link.uplink.down)}
    if link.shadows is not None:
        spec = link.shadows
        found["shadows"] = shadow_filters(app.thing, spec.names, everything=spec.everything)
    if link.jobs is not None:
        found["jobs"] = Topics(app.thing).filters
    if link.driver == "greengrass":
        echo, confirm = link.options.get("echo"), link.options.get("confirm_topic")
        found["echo"] = (*(echo if isinstance(echo, list | tuple) else ()), *([str(confirm)] if confirm else ()))
    return {who: filters for who, filters in found.items() if filters}


def needed(app: App) -> Iterator[Right]:
    """Yield all that the app asks of AWS: to connect, to subscribe and receive, to publish, and for credentials."""
    link = app.link
    if link is None:
        return
    if client_id := link.options.get("client_id"):
        yield Right("iot:Connect", f"client/{client_id}", "connect")
    for who, filters in subscriptions(app).items():
        for one in filters:
            yield subscribe(one, who)
            yield _on_topics("iot:Receive", one, who)
    for who, topics in _publications(app):
        yield _on_topics("iot:Publish", topics, who)
    if link.credentials is not None and link.credentials.name:
        yield Right("iot:AssumeRoleWithCertificate", f"rolealias/{link.credentials.name}", "credentials")


def _publications(app: App) -> Iterator[tuple[str, str]]:
    """Yield who publishes on the topics of which filter."""
    link = app.link
    if link is None:
        return
    yield from (("up", rule.filter) for rule in link.uplink.up)
    if link.shadows is not None:
        root = f"$aws/things/{app.thing}/shadow"
        for name in ("", "+") if link.shadows.everything else link.shadows.names:
            place = f"{root}/name/{name}" if name else root
            yield from (("shadows", f"{place}/{method}") for method in ("get", "update", "delete"))
    if link.jobs is not None:
        jobs = Topics(app.thing)
        yield from (("jobs", topic) for topic in (jobs.start_next(), jobs.get("+"), jobs.update("+")))


def subscribe(topic_filter: str, who: str) -> Right:
    """Return the right to subscribe to a filter."""
    return Right("iot:Subscribe", f"topicfilter/{topic_filter}", who)


def publish(topic: str) -> Right:
    """Return the right to publish on a topic."""
    return Right("iot:Publish", f"topic/{topic}", "publish")


def statement(right: Right, app: App) -> str:
    """Return the statement that is missing in the policy, as JSON on one line. The account is left to be filled in.

    In policies `*` is the only sign for many topics; `+` and `#` mean themselves (AWS IoT Core developer guide,
    "Publish/Subscribe policy examples").
    """
    host = str(app.link.options.get("endpoint", "")) if app.link else ""
    if right.action == "iot:Subscribe":  # what comes has to be allowed, too
        receive = _json("iot:Receive", f"topic/{_starred(right.subject)}", host)
        return f"{_json(right.action, right.resource, host)}, {receive}"
    return _json(right.action, f"topic/{_starred(right.wide)}" if right.wide else right.resource, host)


def _starred(topic_filter: str) -> str:
    return topic_filter.replace("+", "*").replace("#", "*")


def region_of(host: str) -> str:
    """Return the region in the name of an endpoint, `REGION` when it tells none."""
    parts = host.lower().split(".")
    return parts[parts.index("iot") + 1] if "iot" in parts[:-2] and "amazonaws" in parts else "REGION"


def _json(action: str, resource: str, host: str) -> str:
    region = region_of(host)
    partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    arn = f"arn:{partition}:iot:{region}:ACCOUNT:{resource}"
    return json.dumps({"Effect": "Allow", "Action": action, "Resource": arn})


def _on_topics(action: str, topic_filter: str, who: str) -> Right:
    """Return the right to do something on the topics of a filter; on an example of them where there are many."""
    levels = [_ANY_LEVEL if level in ("+", "#") else level for level in topic_filter.split("/")]
    topic = "/".join(levels)
    return Right(action, f"topic/{topic}", who, topic_filter if topic != topic_filter else "")
