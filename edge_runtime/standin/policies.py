"""AWS IoT policies: documents in, yes or no out. No I/O.

    policy = Policy.parse(document)
    decide([policy], "iot:Publish", "arn:aws:iot:eu-west-1:123456789012:topic/a", {"iot:ClientId": "a"})

Sources: AWS IoT Core developer guide, "AWS IoT Core policies", "policy variables" and "Connect policy examples"; IAM
user guide, "Policy evaluation logic" and "Condition operators". Nothing said means no; one Deny that applies outweighs
every Allow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edge_runtime.errors import ConfigError
from edge_runtime.plugin import nearest
from edge_runtime.standin._conditions import Condition, Context, parse_condition
from edge_runtime.standin._patterns import Pattern, fold

__all__ = ["MOST_BYTES", "Context", "Policy", "Statement", "decide"]

MOST_BYTES: Final = 2048
"""Characters of a policy document without white space: AWS General Reference, "AWS IoT Core endpoints and quotas"."""
_KNOWN: Final = ("Sid", "Effect", "Action", "Resource", "Condition")
_VERSIONS: Final = ("2012-10-17", "2008-10-17")
_ARN_PARTS: Final = 5


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. It applies when action, resource and all conditions match."""

    allow: bool
    actions: tuple[Pattern, ...]
    resources: tuple[Pattern, ...]
    conditions: tuple[Condition, ...] = ()

    def applies(self, action: str, resource: str, context: Context) -> bool:
        """Tell whether this statement speaks about the request. `context` is folded already."""
        lowered = action.lower()  # IAM user guide, "Action": names of actions have no case
        return (
            any(one.matches(lowered, context) for one in self.actions)
            and any(one.matches(resource, context) for one in self.resources)
            and all(one.holds(context) for one in self.conditions)
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy document that was found to be well-formed."""

    statements: tuple[Statement, ...]

    @classmethod
    def parse(cls, document: str | Mapping[str, object], *, anywhere: bool = False) -> Policy:
        """Read a policy document, JSON or what it stands for.

        With `anywhere` the region and the account of ARNs are not compared: documents written for any account, or
        with the words REGION and ACCOUNT still in them, can be tried as they are.

        Raises: ConfigError, which says what AWS would not accept, or what this evaluator does not know.
        """
        if isinstance(document, str):
            document = _loads(document)
        if (size := len("".join(json.dumps(document, separators=(",", ":")).split()))) > MOST_BYTES:
            raise ConfigError(f"a policy of {size} characters without white space; AWS IoT allows {MOST_BYTES}")
        version = document.get("Version")
        if version not in _VERSIONS:
            raise ConfigError(f'a policy needs "Version": "{_VERSIONS[0]}", not {version!r}')
        found = document.get("Statement")
        statements = [found] if isinstance(found, Mapping) else found
        if not isinstance(statements, list) or not statements:
            raise ConfigError('a policy needs a "Statement": a list of objects with Effect, Action and Resource')
        return cls(tuple(_statement(one, number, anywhere=anywhere) for number, one in enumerate(statements, 1)))


def decide(policies: Iterable[Policy], action: str, resource: str, context: Context) -> bool:
    """Tell whether the policies together allow `action` on the ARN `resource`.

    `context` holds the policy variables, such as `iot:ClientId`; one that has no value is left out. Its names have
    no case.
    """
    folded = fold(context)
    allowed = False
    for policy in policies:
        for statement in policy.statements:
            if (not allowed or not statement.allow) and statement.applies(action, resource, folded):
                if not statement.allow:
                    return False
                allowed = True
    return allowed


def _loads(text: str) -> Mapping[str, object]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"a policy must be a JSON object: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError("a policy must be a JSON object")
    return document


def _statement(found: object, number: int, *, anywhere: bool) -> Statement:
    where = f"statement {number} of the policy"
    if not isinstance(found, Mapping):
        raise ConfigError(f"{where} must be an object")
    for key in found:
        if key not in _KNOWN:
            raise ConfigError(f"{where}: {key!r} is not known{nearest(str(key), _KNOWN)}; known: {', '.join(_KNOWN)}")
    if found.get("Effect") not in ("Allow", "Deny"):
        raise ConfigError(f'{where}: "Effect" must be "Allow" or "Deny", not {found.get("Effect")!r}')
    actions = _texts(found.get("Action"), f'{where}: "Action"')
    resources = _texts(found.get("Resource"), f'{where}: "Resource"')
    for one in actions:
        if ":" not in one and one != "*":
            raise ConfigError(f'{where}: action {one!r} must name its service, as "iot:Publish" does')
    for one in resources:
        if one != "*" and not one.startswith("arn:"):
            raise ConfigError(f'{where}: resource {one!r} is neither an ARN nor "*"')
    conditions = found.get("Condition", {})
    if not isinstance(conditions, Mapping):
        raise ConfigError(f'{where}: "Condition" must be an object')
    return Statement(
        found["Effect"] == "Allow",
        tuple(Pattern.parse(one.lower()) for one in actions),
        tuple(Pattern.parse(_anywhere(one) if anywhere else one) for one in resources),
        tuple(
            parse_condition(str(operator), keys, _anywhere if anywhere else str, where)
            for operator, keys in conditions.items()
        ),
    )


def _texts(found: object, where: str) -> Sequence[str]:
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise ConfigError(f"{where} must be a text or a list of texts")
    return texts


def _anywhere(resource: str) -> str:
    """Return an ARN with wildcards in the places of partition, region and account."""
    parts = resource.split(":", _ARN_PARTS)
    if len(parts) <= _ARN_PARTS or parts[0] != "arn":
        return resource
    return ":".join(("arn", "*", parts[2], "*", "*", parts[5]))
