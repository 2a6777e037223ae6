"""Fleet provisioning templates: what a template makes of the parameters of a device. No I/O.

Source: AWS IoT developer guide, "Provisioning templates" and "Fleet provisioning": the sections Parameters, Mappings,
Resources and DeviceConfiguration; Ref, Fn::Join, Fn::Select, Fn::Split, Fn::Sub and Fn::FindInMap; OverrideSettings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from edge_runtime.errors import ConfigError
from edge_runtime.plugin import nearest
from edge_runtime.standin.policies import Policy
from edge_runtime.standin.registry import Status, Thing
from edge_runtime.standin.services.messages import THING, Tree

CERTIFICATE_ID: Final = "AWS::IoT::Certificate::Id"
"""The parameter that AWS fills in."""
NAME: Final = re.compile(r"[0-9A-Za-z_-]{1,36}")
"""Of a template."""
_SECTIONS: Final = ("Parameters", "Mappings", "Resources", "DeviceConfiguration", "Description")
_TYPES: Final = ("AWS::IoT::Thing", "AWS::IoT::Certificate", "AWS::IoT::Policy")
_OVERRIDES: Final = ("DO_NOTHING", "REPLACE", "FAIL", "MERGE")
_NO_TREE: Final[Tree] = {}
_IN_TEXT: Final = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be there after provisioning."""

    status: Status = Status.ACTIVE
    """Of the certificate."""
    thing: Thing | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    """What happens to each property of a thing that is there already; DO_NOTHING where nothing is said."""
    policies: tuple[str, ...] = ()
    """Names of policies that must be there."""
    documents: Mapping[str, Tree] = field(default_factory=dict)
    """Policies to make, by name."""
    configuration: Tree = field(default_factory=dict)


def check(body: Tree) -> None:
    """Return if a template can be used. Raises: ConfigError."""
    for section, found in body.items():
        if section not in _SECTIONS:
            raise ConfigError(f"a template has no section {section!r}{nearest(section, _SECTIONS)}")
        if section != "Description":
            _tree(found, section)
    declared = _section(body, "Parameters")
    for name, one in declared.items():
        if _tree(one, f"Parameters.{name}").get("Type") != "String":
            raise ConfigError(f'Parameters.{name} needs "Type": "String"')
    # A run with made-up values shows what is not known, misspelt, or not there.
    made = plan(body, {name: _text_or(one, name) for name, one in declared.items()}, certificate_id="0" * 64)
    for document in made.documents.values():
        Policy.parse(document, anywhere=True)


def _text_or(declared: object, name: str) -> str:
    default = declared.get("Default") if isinstance(declared, Mapping) else None
    return default if isinstance(default, str) else re.sub(r"\W", "-", name)


def plan(body: Tree, parameters: Mapping[str, str], *, certificate_id: str) -> Plan:
    """Return what a template makes of parameters.

    Raises: ConfigError for a parameter that is missing, or a template that cannot be used.
    """
    resources = _section(body, "Resources")
    scope = _Scope(_values(_section(body, "Parameters"), parameters, certificate_id), _section(body, "Mappings"))
    made = Plan()
    kinds: dict[str, str] = {}
    for name, one in resources.items():
        resource = _tree(one, f"Resources.{name}")
        kind = resource.get("Type")
        if kind not in _TYPES:
            raise ConfigError(f"Resources.{name}: type {kind!r} is not known; known: {', '.join(_TYPES)}")
        if kind != "AWS::IoT::Policy" and kind in kinds.values():
            raise ConfigError(f"Resources.{name}: there are two of {kind}")
        kinds[name] = str(kind)
        properties = _tree(scope.value(resource.get("Properties", _NO_TREE)), f"Resources.{name}.Properties")
        made = _ADD[str(kind)](made, properties, resource, f"Resources.{name}")
        scope.values.setdefault(name, made.thing.name if kind == _TYPES[0] and made.thing else certificate_id)
    if _TYPES[1] not in kinds.values():
        raise ConfigError("a template needs a resource AWS::IoT::Certificate")
    return replace(made, configuration=_tree(scope.value(body.get("DeviceConfiguration", {})), "DeviceConfiguration"))


def _values(declared: Tree, given: Mapping[str, str], certificate_id: str) -> dict[str, str]:
    values = {CERTIFICATE_ID: certificate_id}
    for name, one in declared.items():
        if name == CERTIFICATE_ID:
            continue
        value = given.get(name, _tree(one, f"Parameters.{name}").get("Default"))
        if not isinstance(value, str):
            raise ConfigError(f"parameter {name!r} is missing")
        values[name] = value
    return values


# --- resources ---


def _thing(made: Plan, properties: Tree, resource: Tree, where: str) -> Plan:
    name = _text(properties, "ThingName", where)
    if not THING.fullmatch(name):
        raise ConfigError(f"{where}.ThingName: {name!r} is no name of a thing")
    attributes = _tree(properties.get("AttributePayload", {}), f"{where}.AttributePayload")
    groups = properties.get("ThingGroups", [])
    if not isinstance(groups, list) or not all(isinstance(one, str) for one in groups):
        raise ConfigError(f"{where}.ThingGroups must be a list of texts")
    thing = Thing(
        name,
        {key: _text(attributes, key, f"{where}.AttributePayload") for key in attributes},
        tuple(groups),
        _text(properties, "ThingTypeName", where, default=""),
    )
    settings = _tree(resource.get("OverrideSettings", {}), f"{where}.OverrideSettings")
    for key, value in settings.items():
        if value not in _OVERRIDES:
            raise ConfigError(f"{where}.OverrideSettings.{key} must be one of {', '.join(_OVERRIDES)}")
    return replace(made, thing=thing, overrides={key: str(value) for key, value in settings.items()})


def _certificate(made: Plan, properties: Tree, _resource: Tree, where: str) -> Plan:
    word = _text(properties, "Status", where, default="ACTIVE").upper()
    if word not in ("ACTIVE", "INACTIVE"):
        raise ConfigError(f"{where}.Status must be ACTIVE or INACTIVE")
    _text(properties, "CertificateId", where)
    return replace(made, status=Status(word))


def _policy(made: Plan, properties: Tree, _resource: Tree, where: str) -> Plan:
    document = properties.get("PolicyDocument")
    if document is None:
        return replace(made, policies=(*made.policies, _text(properties, "PolicyName", where)))
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{where}.PolicyDocument is no JSON: {error}") from None
    name = _text(properties, "PolicyName", where, default=where.rpartition(".")[2])
    return replace(made, documents={**made.documents, name: _tree(document, f"{where}.PolicyDocument")})


_ADD: Final[Mapping[str, Callable[[Plan, Tree, Tree, str], Plan]]] = dict(
    zip(_TYPES, (_thing, _certificate, _policy), strict=True)
)

# --- values ---


@dataclass(frozen=True, slots=True)
class _Scope:
    """What references mean."""

    values: dict[str, str]
    mappings: Tree

    def value(self, found: object) -> object:
        """Return a value with its functions carried out."""
        match found:
            case {"Ref": str(name), **rest} if not rest:
                return self._ref(name)
            case Mapping():
                function = _FUNCTIONS.get(next(iter(found), "")) if len(found) == 1 else None
                inner = {key: self.value(item) for key, item in found.items()}
                return inner if function is None else function(self, *inner.values())
            case list():
                return [self.value(item) for item in found]
        return found

    def _ref(self, name: str) -> str:
        if name not in self.values:
            raise ConfigError(f"there is no parameter or resource {name!r}{nearest(name, self.values)}")
        return self.values[name]

    def join(self, found: object) -> str:
        match found:
            case [str(between), list(texts)] if all(isinstance(one, str) for one in texts):
                return between.join(texts)
        raise ConfigError("Fn::Join needs a text between, and a list of texts")

    def select(self, found: object) -> object:
        match found:
            case [(int() | str()) as number, list(items)] if str(number).isdecimal() and int(number) < len(items):
                return items[int(number)]
        raise ConfigError("Fn::Select needs an index and a list that is long enough")

    def split(self, found: object) -> list[str]:
        match found:
            case [str(between), str(text)] if between:
                return text.split(between)
        raise ConfigError("Fn::Split needs a text to split at, and a text")

    def sub(self, found: object) -> str:
        own: Mapping[str, object] = {}
        match found:
            case str(text):
                pass
            case [str(text), Mapping() as own]:
                pass
            case _:
                raise ConfigError("Fn::Sub needs a text, or a text and an object of values")
        return _IN_TEXT.sub(lambda one: str(own[one[1]]) if one[1] in own else self._ref(one[1]), text)

    def find(self, found: object) -> object:
        match found:
            case [str(name), str(key), str(inner)]:
                value: object = self.mappings
                for step in (name, key, inner):
                    value = value.get(step) if isinstance(value, Mapping) else None
                if value is not None:
                    return value
                raise ConfigError(f"there is no Mappings.{name}.{key}.{inner}")
        raise ConfigError("Fn::FindInMap needs the names of a map and of two keys")


_FUNCTIONS: Final[Mapping[str, Callable[[_Scope, object], object]]] = {
    "Fn::Join": _Scope.join,
    "Fn::Select": _Scope.select,
    "Fn::Split": _Scope.split,
    "Fn::Sub": _Scope.sub,
    "Fn::FindInMap": _Scope.find,
}


def _section(body: Tree, name: str) -> Tree:
    return _tree(body.get(name, _NO_TREE), name)


def _tree(found: object, where: str) -> Tree:
    if not isinstance(found, Mapping):
        raise ConfigError(f"{where} must be an object")
    return found


def _text(tree: Tree, key: str, where: str, default: str | None = None) -> str:
    value = tree.get(key, default)
    if not isinstance(value, str):
        raise ConfigError(f"{where}.{key} must be a text")
    return value
