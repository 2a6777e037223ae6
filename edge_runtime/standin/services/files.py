"""The one JSON file of an account: what people write by hand, and what is kept over restarts.

    {"things": {"edge-1": {"attributes": {"site": "a"}, "groups": ["edge"], "type": "gateway"}},
     "policies": {"device": {"Version": "2012-10-17", "Statement": [...]}},
     "certificates": [{"file": "client.pem", "policies": ["device"], "things": ["edge-1"]}],
     "templates": {"fleet": {"body": {"Parameters": {...}, "Resources": {...}}}},
     "role_aliases": {"edge": {"role_arn": "arn:aws:iam::123456789012:role/edge", "duration_s": 3600}}}

Everything may be left out. A certificate is given as `pem`, or as `file`, a path beside this file. What a stand-in
writes has `shadows`, `jobs` and `executions` too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from edge_runtime.errors import ConfigError, EdgeError, StoreError
from edge_runtime.plugin import nearest
from edge_runtime.standin.registry import Registry, RoleAlias, Status, Template, Thing
from edge_runtime.standin.services import templates
from edge_runtime.standin.services.executions import Execution, State
from edge_runtime.standin.services.jobs import Job, Jobs
from edge_runtime.standin.services.messages import Tree
from edge_runtime.standin.services.shadows import Shadows

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SECTIONS: Final = (
    "things",
    "policies",
    "certificates",
    "templates",
    "role_aliases",
    "shadows",
    "jobs",
    "executions",
)
T = TypeVar("T", bound="DataclassInstance")
_ENUMS: Final[Mapping[str, type[StrEnum]]] = {"Status": Status, "State": State}
# The types of fields, as their annotations spell them, and what JSON gives for them.
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "Tree": (dict,),
    "Status": (str,),
    "State": (str,),
    "Mapping[str, str]": (dict,),
    "tuple[str, ...]": (list,),
}


def read_file(path: Path) -> Tree:
    """Return what is in a file; nothing when there is none yet. Raises: ConfigError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"the registry {path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"the registry {path} must be a JSON object")
    return found


def write_file(path: Path, tree: Tree) -> None:
    """Replace a file, whole or not at all; it can be read by its owner only. Raises: StoreError."""
    new = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(tree, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise StoreError(f"the registry {path} cannot be written: {error.strerror or error}") from error


def dump(registry: Registry, shadows: Shadows, jobs: Jobs) -> Tree:
    """Return everything, for `load`."""
    return {
        "things": {one.name: _fields(one, "name") for one in registry.things.values()},
        "policies": dict(registry.policies),
        "certificates": [_fields(one, "id") for one in registry.certificates.values()],
        "templates": {one.name: _fields(one, "name") for one in registry.templates.values()},
        "role_aliases": {one.name: _fields(one, "name") for one in registry.role_aliases.values()},
        "shadows": shadows.dump(),
        "jobs": {one.id: _fields(one, "id") for one in jobs.jobs.values()},
        "executions": [_fields(one) for one in jobs.executions.values()],
    }


def load(tree: Tree, folder: Path, registry: Registry, shadows: Shadows, jobs: Jobs) -> None:
    """Add what a file holds. `folder` is where its certificates are looked for.

    Raises: ConfigError that says where what is wrong.
    """
    for section in tree:
        if section not in SECTIONS:
            raise ConfigError(f"there is no section {section!r}{nearest(section, SECTIONS)}")
    for name, one in _named(tree, "things"):
        registry.put_thing(_make(Thing, {"name": name, **one}, f"things.{name}"))
    for name, one in _named(tree, "policies"):
        with _At(f"policies.{name}"):
            registry.put_policy(name, one)
    for number, one in enumerate(_listed(tree, "certificates")):
        with _At(f"certificates[{number}]"):
            _load_certificate(one, folder, registry, f"certificates[{number}]")
    for name, one in _named(tree, "templates"):
        template = _make(Template, {"name": name, **one}, f"templates.{name}")
        with _At(f"templates.{name}"):
            templates.check(template.body)
        registry.put_template(template)
    for name, one in _named(tree, "role_aliases"):
        registry.put_role_alias(_make(RoleAlias, {"name": name, **one}, f"role_aliases.{name}"))
    if "shadows" in tree:
        shadows.load(dict(_named(tree, "shadows")))
    _load_jobs(tree, jobs)


def _load_certificate(one: Tree, folder: Path, registry: Registry, where: str) -> None:
    given = dict(one)
    if isinstance(file := given.pop("file", None), str):
        try:
            given["pem"] = (folder / file).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError(f"the certificate {folder / file} cannot be read: {error}") from error
    # The id is made from the certificate itself.
    made = _make(_Given, given, where)
    certificate = registry.register(made.pem, status=made.status, expires_s=made.expires_s)
    for policy in made.policies:
        registry.attach_policy(certificate.id, policy)
    for thing in made.things:
        registry.attach_thing(certificate.id, thing, exclusive=made.exclusive)


def _load_jobs(tree: Tree, jobs: Jobs) -> None:
    for name, one in _named(tree, "jobs"):
        jobs.jobs[name] = _make(Job, {"id": name, **one}, f"jobs.{name}")
    for number, one in enumerate(_listed(tree, "executions")):
        execution = _make(Execution, one, f"executions[{number}]")
        if execution.job_id not in jobs.jobs:
            raise ConfigError(f"executions[{number}]: there is no job {execution.job_id!r}")
        jobs.executions[execution.thing, execution.job_id] = execution


class _At:
    """Puts the place in front of what is wrong there."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, EdgeError) and not str(error).startswith(self._where):
            raise ConfigError(f"{self._where}: {error}", hint=error.hint) from error


@dataclass(frozen=True, slots=True)
class _Given:
    """A certificate as the file has it."""

    pem: str
    status: Status = Status.ACTIVE
    policies: tuple[str, ...] = ()
    things: tuple[str, ...] = ()
    exclusive: bool = False
    expires_s: float = 0.0


def _fields(one: DataclassInstance, *left_out: str) -> Tree:
    return {name: value for name, value in asdict(one).items() if name not in left_out}


def _make(kind: type[T], given: Tree, where: str) -> T:
    """Make one of our dataclasses of JSON. Raises: ConfigError."""
    known = {one.name: one for one in fields(kind)}
    values: dict[str, object] = {}
    for key, value in given.items():
        if key not in known:
            raise ConfigError(f"{where} has no {key!r}{nearest(key, known)}")
        spelt = str(known[key].type)
        if not isinstance(value, _KINDS[spelt]) or (isinstance(value, bool) and spelt != "bool"):
            raise ConfigError(f"{where}.{key} may not be {json.dumps(value)[:100]}")
        values[key] = _converted(spelt, value, f"{where}.{key}")
    missing = [key for key, one in known.items() if one.default is MISSING and one.default_factory is MISSING]
    if absent := [key for key in missing if key not in values]:
        raise ConfigError(f"{where} needs {', '.join(absent)}")
    return kind(**values)


def _converted(spelt: str, value: object, where: str) -> object:
    if spelt in _ENUMS:
        try:
            return _ENUMS[spelt](str(value))
        except ValueError:
            raise ConfigError(f"{where} must be one of {', '.join(_ENUMS[spelt])}") from None
    inner = list(value.values()) if isinstance(value, dict) and spelt != "Tree" else value
    if isinstance(inner, list) and not all(isinstance(one, str) for one in inner):
        raise ConfigError(f"{where} must hold texts only")
    return tuple(value) if isinstance(value, list) else value


def _named(tree: Tree, section: str) -> Iterator[tuple[str, Tree]]:
    found = tree.get(section, {})
    if not isinstance(found, Mapping):
        raise ConfigError(f"{section} must be an object")
    for name, one in found.items():
        if not isinstance(one, Mapping):
            raise ConfigError(f"{section}.{name} must be an object")
        yield name, one


def _listed(tree: Tree, section: str) -> Iterator[Tree]:
    found = tree.get(section, [])
    if not isinstance(found, list):
        raise ConfigError(f"{section} must be a list")
    for number, one in enumerate(found):
        if not isinstance(one, Mapping):
            raise ConfigError(f"{section}[{number}] must be an object")
        yield one
