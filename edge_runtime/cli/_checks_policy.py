"""An app is held against policy documents, without a network: what AWS would deny, and what would allow it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_runtime.app import App
from edge_runtime.cli._finding import Finding
from edge_runtime.cli._rights import Right, needed, statement
from edge_runtime.errors import ConfigError

_ARN = "arn:aws:iot:eu-west-1:123456789012:"
"""Region and account are not compared: a document may be one for any account."""


def policies(app: App, files: Sequence[Path]) -> Iterator[Finding]:
    """Check what the documents in these files, taken together, let the app do.

    The certificate is taken to be attached to the app's thing, and active.
    """
    if not files:
        return
    from edge_runtime.standin.policies import Policy, decide  # noqa: PLC0415 - only where there are documents

    documents = []
    for path in files:
        try:
            documents.append(Policy.parse(path.read_text(encoding="utf-8"), anywhere=True))
        except (OSError, UnicodeError, ConfigError) as error:
            hint = error.hint if isinstance(error, ConfigError) else ""
            yield Finding("policy", "fail", f"{path}: {error}", hint or "aws iot get-policy --policy-name NAME")
    if len(documents) < len(files):
        return
    context = _context(app)
    rights = list(dict.fromkeys(needed(app)))
    denied = [one for one in rights if not decide(documents, one.action, f"{_ARN}{one.resource}", context)]
    for right in denied:
        yield _missing(right, app)
    if not denied:
        yield Finding("policy", "ok", f"the documents allow all {len(rights)} requests of the app")


def _missing(right: Right, app: App) -> Finding:
    fix = f"add to the policy: {statement(right, app)}"
    if right.action == "iot:Connect":
        fix += f"; a policy by thing name needs client_id to be {app.thing}"
    if not right.wide:
        return Finding("policy", "fail", f"{right.action} on {right.subject} is not allowed ({right.why})", fix)
    text = f"{right.action} is not allowed on all topics of {right.wide} ({right.why})"
    # A policy may name each of the topics that there will ever be.
    return Finding("policy", "warn" if right.why in ("up", "down") else "fail", text, fix)


def _context(app: App) -> dict[str, str | Sequence[str]]:
    """Return the policy variables of the app's connection.

    Those of the thing have a value only when it is named as the client (AWS IoT Core developer guide, "Thing policy
    variables").
    """
    client_id = str(app.link.options.get("client_id", "")) if app.link else ""
    found: dict[str, str | Sequence[str]] = {"iot:ConnectAttributes": ["PersistentConnect"]}
    if client_id:
        found["iot:ClientId"] = client_id
    if client_id == app.thing:
        found["iot:Connection.Thing.ThingName"] = app.thing
    found["iot:Connection.Thing.IsAttached"] = "true" if client_id == app.thing else "false"
    return found
