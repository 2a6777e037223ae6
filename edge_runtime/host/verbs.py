"""What a running host answers over its control socket; the contract is in `edge_runtime.control`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edge_runtime.clock import make_event
from edge_runtime.control.server import Verb
from edge_runtime.control.wire import pack, unpack
from edge_runtime.endpoints import Outsider
from edge_runtime.errors import ConfigError, NotFoundError
from edge_runtime.model import Message
from edge_runtime.plugin import nearest
from edge_runtime.store import letters
from edge_runtime.threads import in_thread

if TYPE_CHECKING:
    from edge_runtime.host.host import Host
    from edge_runtime.host.installer import BundleInstaller
    from edge_runtime.workers.isolation import Isolation

_MOST_HEALTH_S = 3600


class Verbs:
    """The answers. One method a verb."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def table(self) -> Mapping[str, Verb]:
        """Return the verbs by name."""
        return {
            "publish": self.publish,
            "invoke": self.invoke,
            "tail": self.tail,
            "endpoint": self.endpoint,
            "status": self.status,
            "ledger": self.ledger,
            "devices": self.devices,
            "broker": self.broker,
            "shadow": self.shadow,
            "shadow.ls": self.shadow_names,
            "queue.replay": self.replay,
            "queue.purge": self.purge,
            "simulate": self.simulate,
            "install": self.install,
            "releases": self.releases,
            "stop": self.stop,
        }

    async def publish(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Emit an event; answer when it is safe."""
        event = make_event(self._host.clock, _text(request, "topic"), unpack(_text(request, "payload")), "cli")
        await self._host.bus.emit(event)
        _, feeds = self._host.bus.route(event)
        return {"id": event.id, "targets": [feed.target for feed in feeds]}

    async def invoke(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Call a function and answer with its reply (Lambda's RequestResponse): no queue, no retry."""
        clock = self._host.clock
        event = make_event(clock, "invoke", unpack(_text(request, "payload")), "cli")
        context = {"custom": {"subject": _text(request, "topic")}} if "topic" in request else None
        result = await self._host.pool.invoke(
            _text(request, "name"), event.payload, request_id=event.id, context=context
        )
        return {**result._asdict(), "payload": pack(result.payload)}

    async def tail(self, request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        """Show events as they are emitted."""
        watcher = self._host.bus.watch(str(request.get("filter") or "#"))
        try:
            async for event, feeds in watcher.entries():
                wall_ns, mark = self._host.timekeeper.date(event.time)
                yield {
                    "topic": event.topic,
                    "payload": pack(event.payload),
                    "source": event.source,
                    "time": wall_ns / 1e9,
                    "clock": mark,
                    "id": event.id,
                    "targets": [feed.target for feed in feeds],
                    "missed": watcher.missed,
                }
        finally:
            self._host.bus.unwatch(watcher)

    async def endpoint(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        """Say how an AWS SDK reaches this host, its token included."""
        return {"variables": dict(self._host.services.outside())}

    async def install(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take a bundle as the next release; the answer comes when it is found well, or this host gives way before."""
        health_s = request.get("health_s", 0.0)
        if isinstance(health_s, bool) or not isinstance(health_s, int | float) or not 0 <= health_s <= _MOST_HEALTH_S:
            raise ConfigError(f"health_s is {health_s!r}; 0 to {_MOST_HEALTH_S} may be")
        path = Path(_text(request, "path"))
        health = await self._installer().install(path, "", health_check_s=float(health_s), anew=True)
        return {"verdict": health.verdict, "text": health.text}

    async def releases(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Say which releases are here; with `back`, go to the one before; with `files`, which files are here."""
        installer = self._installer()
        if request.get("back"):
            await installer.back()
        facts = partial(installer.releases.facts, files=bool(request.get("files")))
        return {**await in_thread("release.facts", facts), "runs": self._host.app.base.name}

    def _installer(self) -> BundleInstaller:
        from edge_runtime.host.installer import BundleInstaller  # noqa: PLC0415 - most hosts run an app file

        installer = self._host.installer
        if not isinstance(installer, BundleInstaller):
            raise ConfigError(
                "this host runs an app file of its own and takes no releases",
                hint="give `edge run` a folder for releases in place of an app file",
            )
        return installer

    async def status(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        """Say how everything does."""
        host = self._host
        now = host.clock.now()
        link = asdict(host.uplink.state) if host.uplink is not None else None
        if link is not None:
            link["since_s"] = round((now.mono_ns - link.pop("since_ns")) / 1e9, 1)
        database = host.state / "queue.db"
        return {
            "thing": host.app.thing,
            "uptime_s": round((now.mono_ns - host.started.mono_ns) / 1e9, 1),
            "clock": {
                "wall": now.wall_ns / 1e9,
                "boot": now.boot,
                "synced": host.timekeeper.is_right,
                "fault": host.timekeeper.fault,
            },
            "link": link,
            "certificate": asdict(host.certificate) if host.certificate is not None else None,
            "broker": host.broker.row() if host.broker is not None else None,
            "store": {
                "bytes": _size(database),
                "limit": host.store.limit_bytes,
                "wal_bytes": _size(database.with_name("queue.db-wal")),
                "disk_tight": host.store.tight,
                "notes": list(host.store.notes),
            },
            "credentials": asdict(state) if (state := host.services.credentials()) is not None else None,
            "job": asdict(job) if host.jobs is not None and (job := host.jobs.state()) is not None else None,
            "isolation": _isolation(host.pool.isolation()),
            "functions": [asdict(state) for state in host.pool.status()],
            "queues": [_row(counters) for counters in host.store.ledger],
            "devices": await host.hardware.rows(),
            "shadows": await host.shadows.rows(),
            "parts": [asdict(part) for part in host.parts],
        }

    async def ledger(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the books; `edge ledger` counts the rows itself."""
        return {"rows": [_row(counters) for counters in self._host.store.ledger]}

    async def devices(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the devices with their values, and what drives the pins."""
        return {"devices": await self._host.hardware.rows(), **self._host.hardware.board()}

    async def broker(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do what `host.broker.act` says with the devices of the local broker."""
        if self._host.broker is None:
            raise ConfigError(
                "the app that is running declares no broker", hint="write broker: {} into it, and start the host again"
            )
        return await self._host.broker.answer(request)

    async def shadow(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Get, update or delete a shadow; a refusal is an answer too."""
        method, name = _text(request, "method"), _text(request, "name")
        if method not in {"get", "update", "delete"}:
            raise ConfigError(f"{method!r} is no method of a shadow", hint="known: get, update, delete")
        body = unpack(_text(request, "payload")) if "payload" in request else b""
        answer = await self._host.services.shadow(Outsider, method, name, body)
        return {"code": getattr(answer, "code", 200), "payload": pack(answer.payload)}

    async def shadow_names(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the names of all shadows that are there, the classic one's empty."""
        return {"names": await self._host.shadows.shadows.there()}

    async def replay(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put dead letters back into their queue."""
        target = self._target(request)
        seqs = None if request.get("all") else _numbers(request, "ids")
        store = self._host.store
        found = await store.work(lambda writer: letters.replay(writer, target, seqs), writes=True)
        messages = cast("list[Message]", found)
        if target == "uplink" and self._host.uplink is not None:
            self._host.uplink.forgive()
        store.queue(target).give_back(messages)
        return {"replayed": len(messages), "left": store.counters(target).dead}

    async def purge(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Drop what waits, or the dead letters, and count it."""
        target, dead = self._target(request), bool(request.get("dead"))
        count = await self._host.store.work(lambda writer: letters.purge(writer, target, dead=dead), writes=True)
        return {"purged": count}

    async def simulate(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Let a simulated device measure a value."""
        if "value" not in request:
            raise ConfigError("the request has no field 'value'")
        self._host.hardware.simulate(_text(request, "device"), request["value"])
        return {}

    async def stop(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        """End the host."""
        asyncio.get_running_loop().call_soon(self._host.stopping.set)
        return {}

    def _target(self, request: Mapping[str, Any]) -> str:
        target = _text(request, "target")
        known = [counters.name for counters in self._host.store.ledger]
        if target not in known:
            raise NotFoundError(
                f"there is no queue named {target!r}{nearest(target, known)}", hint=f"known: {', '.join(known)}"
            )
        return target


def _isolation(found: Isolation | None) -> Mapping[str, Any] | None:
    return None if found is None else {"level": found.level, "layers": [asdict(layer) for layer in found.layers]}


def _row(counters: Any) -> dict[str, Any]:  # noqa: ANN401 - Counters, whose import would only be for this line
    return {
        "target": counters.name,
        "produced": counters.produced,
        "delivered": counters.delivered,
        "queued": counters.queued,
        "expired": counters.expired,
        "dropped": counters.dropped,
        "dead": counters.dead,
        "rejected": counters.rejected,
        "bytes": counters.bytes,
        "reasons": counters.reasons,
    }


def _text(request: Mapping[str, Any], key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str):
        raise ConfigError(f"the request has no text field {key!r}")
    return value


def _numbers(request: Mapping[str, Any], key: str) -> list[int]:
    values = request.get(key)
    if not isinstance(values, list) or not values or not all(type(value) is int for value in values):
        raise ConfigError(f"the request has no list of numbers {key!r}", hint="or ask for all")
    return values


def _size(path: Any) -> int:  # noqa: ANN401 - a Path
    with contextlib.suppress(FileNotFoundError):
        return int(path.stat().st_size)
    return 0
