"""The commands for an account's services, as the control channel of a stand-in takes them.

    {"shadow": "get", "thing": "edge-1", "name": "config"}                        -> {"shadow": {...}}
    {"shadow": "update", "thing": "edge-1", "state": {"desired": {"led": "on"}}}  -> {"shadow": {...}}
    {"job": "create", "targets": ["edge-1"], "document": {...}, "id": "j1"}       -> {"job": {...}}
    {"claim": "create", "template": "fleet"}                                      -> {"claim": {...}}
    {"thing": "list"}                                                             -> {"things": [...]}
    {"message": "list", "topic": "$aws/events/#"}                                 -> {"messages": [...]}

A command is a noun with its verb; the rest are arguments.
"""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from edge_runtime.errors import ConfigError
from edge_runtime.plugin import nearest
from edge_runtime.standin.registry import Certificate, Status, Thing
from edge_runtime.standin.services.account import Account

Reply = dict[str, object]
Command = Callable[..., Awaitable[Reply]]
_KINDS: Final[Mapping[object, tuple[type, ...]]] = {
    str: (str,),
    int: (int,),
    float: (int, float),
    bool: (bool,),
    dict: (dict,),
    list: (list,),
}


def commands(account: Account) -> Mapping[str, Command]:
    """Return the commands of an account by name: `shadow get`, `job create`. Their parameters are their arguments."""
    verbs = _Verbs(account)
    found = {name.replace("_", " "): getattr(verbs, name) for name in dir(verbs) if not name.startswith("_")}
    return dict(sorted(found.items()))


async def carry_out(account: Account, noun: str, verb: str, arguments: Mapping[str, object]) -> Reply:
    """Carry out one command and return its reply.

    Raises: ConfigError for a command or an argument that is not known, NotFoundError, LimitError.
    """
    known = commands(account)
    name = f"{noun} {verb}"
    if name not in known:
        raise ConfigError(f"there is no command {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    command = known[name]
    parameters = inspect.signature(command, eval_str=True).parameters
    for key, value in arguments.items():
        if key not in parameters:
            raise ConfigError(f"{name!r} takes {', '.join(parameters) or 'no arguments'}, not {key!r}")
        if not _fits(value, parameters[key].annotation):
            raise ConfigError(f"{name!r}: {key} may not be {str(value)[:100]!r}")
    missing = [key for key, one in parameters.items() if one.default is one.empty and key not in arguments]
    if missing:
        raise ConfigError(f"{name!r} needs {', '.join(missing)}")
    return await command(**arguments)


def _fits(value: object, annotation: object) -> bool:
    if isinstance(annotation, types.UnionType):
        return any(_fits(value, one) for one in typing.get_args(annotation))
    if annotation is type(None):
        return value is None
    origin = typing.get_origin(annotation) or annotation
    if not isinstance(value, _KINDS[origin]) or (isinstance(value, bool) and origin is not bool):
        return False
    return origin is not list or all(isinstance(one, str) for one in typing.cast("list[object]", value))


class _Verbs:
    """One method for each command; its name is the noun and the verb."""

    def __init__(self, account: Account) -> None:
        self._account = account

    async def shadow_get(self, thing: str, name: str = "") -> Reply:
        return {"shadow": self._account.shadows.get(thing, name)}

    async def shadow_update(
        self, thing: str, state: dict[str, object], name: str = "", version: int | None = None
    ) -> Reply:
        return {"shadow": self._account.shadows.update(thing, name, state, version=version)}

    async def shadow_delete(self, thing: str, name: str = "") -> Reply:
        return {"shadow": self._account.shadows.delete(thing, name)}

    async def shadow_list(self, thing: str) -> Reply:
        return {"shadows": list(self._account.shadows.names(thing))}

    async def job_create(
        self,
        targets: list[str],
        document: dict[str, object],
        id: str = "",  # noqa: A002 - its name in a command
        timeout_minutes: int = 0,
    ) -> Reply:
        jobs = self._account.jobs
        made = jobs.create(targets, document, id, timeout_minutes=timeout_minutes)
        return self._job(made[0].job_id)

    async def job_get(self, id: str) -> Reply:  # noqa: A002 - its name in a command
        return self._job(id)

    async def job_cancel(self, id: str, force: bool = False) -> Reply:  # noqa: A002, FBT001, FBT002 - given by name
        self._account.jobs.cancel(id, force=force)
        return self._job(id)

    async def job_delete(self, id: str) -> Reply:  # noqa: A002 - its name in a command
        self._account.jobs.delete(id)
        return {}

    async def job_list(self) -> Reply:
        jobs = self._account.jobs
        return {"jobs": {one: jobs.status_of(one) for one in jobs.jobs}}

    async def claim_create(self, template: str) -> Reply:
        claim = await self._account.provisioning.create_claim(template)
        return {
            "claim": {
                "certificateId": claim.certificate_id,
                "certificatePem": claim.certificate,
                "keyPair": {"PrivateKey": claim.key},
                "expiration": int(claim.expires_s),
            }
        }

    async def template_put(self, name: str, body: dict[str, object], enabled: bool = True) -> Reply:  # noqa: FBT001, FBT002 - given by name
        self._account.provisioning.put_template(name, body, enabled=enabled)
        return {}

    async def policy_put(self, name: str, document: dict[str, object]) -> Reply:
        self._account.registry.put_policy(name, document)
        return {}

    async def message_list(self, topic: str = "#", count: int = 20) -> Reply:
        return {"messages": [one.shown() for one in self._account.traffic.last(topic, count)]}

    async def message_publish(
        self,
        topic: str,
        payload: str | dict[str, object] | list[str] | float | None = "",
    ) -> Reply:
        text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
        self._account.traffic.publish(topic, text.encode())
        return {}

    async def thing_put(self, name: str, groups: list[str] | None = None, type: str = "") -> Reply:  # noqa: A002 - its name in a command
        registry = self._account.registry
        known = registry.things.get(name, Thing(name))
        members = known.groups if groups is None else tuple(groups)
        made = registry.put_thing(Thing(name, known.attributes, members, type or known.type))
        return {"thing": _shown_thing(made)}

    async def thing_list(self) -> Reply:
        return {"things": [_shown_thing(one) for one in self._account.registry.things.values()]}

    async def cert_list(self) -> Reply:
        return {"certificates": [_shown_certificate(one) for one in self._account.registry.certificates.values()]}

    async def cert_status(self, id: str, status: str) -> Reply:  # noqa: A002 - its name in a command
        if status not in Status.__members__:
            raise ConfigError(f"status must be one of {', '.join(Status)}, not {status!r}")
        return {"certificate": _shown_certificate(self._account.registry.set_status(id, Status[status]))}

    def _job(self, job_id: str) -> Reply:
        jobs = self._account.jobs
        shown = {
            one.thing: {"status": one.state, "statusDetails": dict(one.details), "versionNumber": one.version}
            for one in jobs.executions_of(job_id)
        }
        return {"job": {"id": job_id, "status": jobs.status_of(job_id), "executions": shown}}


def _shown_thing(one: Thing) -> Reply:
    return {"name": one.name, "attributes": dict(one.attributes), "groups": list(one.groups), "type": one.type}


def _shown_certificate(one: Certificate) -> Reply:
    return {"id": one.id, "status": one.status, "policies": list(one.policies), "things": list(one.things)}
