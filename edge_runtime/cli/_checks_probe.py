"""The broker is asked what the app may do, by the app's own link and under its own name.

It is as little of an intrusion as it can be. Nothing is published unless it is asked for. What the broker has kept for
the device stays there: no message is acknowledged. Where it keeps no session, none is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from edge_runtime import plugin
from edge_runtime.app import App, LinkSpec
from edge_runtime.cli._finding import Finding
from edge_runtime.cli._rights import Right, statement, subscribe, subscriptions
from edge_runtime.cli._rights import publish as right_to_publish
from edge_runtime.errors import EdgeError, LinkError, RefusedError
from edge_runtime.links import _codes
from edge_runtime.pure.quotas import CONNECT_GAP_S

_STAY_S = 1.5
"""Another device of the same name comes back within a second or two."""
_TAKEN = _codes.describe(_codes.TAKEN_OVER)
_REFUSED_CONNECT = _codes.describe(_codes.NOT_AUTHORIZED)
_PAYLOAD = b'{"from":"edge doctor"}'


def probe(
    app: App, within_s: float, publish: str = "", *, gap_s: float = CONNECT_GAP_S, stay_s: float = _STAY_S
) -> Iterator[Finding]:
    """Connect, subscribe to all that the app subscribes to, and publish on one topic if there is one to try.

    Each answer may take `within_s`. `gap_s` is between two connections; where the broker has kept a session, the visit
    lasts for `stay_s`, in which another device of the same name would show itself.
    """
    if app.link is not None:
        yield from asyncio.run(_Probe(app, app.link, within_s, publish, (gap_s, stay_s)).run())


class _Probe:
    """One visit at the broker."""

    def __init__(self, app: App, link: LinkSpec, within_s: float, publish: str, pauses: tuple[float, float]) -> None:
        self._app, self._link, self._within_s, self._publish = app, link, within_s, publish
        self._gap_s, self._stay_s = pauses
        self._found: list[Finding] = []

    async def run(self) -> list[Finding]:
        """Return what was found."""
        wanted = {one: who for who, filters in subscriptions(self._app).items() for one in filters if who != "echo"}
        try:
            async with self._connected({}) as (link, resumed):
                self._say("connect", "ok", f"{self._name} may connect")
                keeps = resumed or not self._keeps_sessions
                if keeps:
                    await self._visit(link, wanted)
                if resumed:
                    await self._stay(link)
            if not keeps:
                await self._come_again(wanted)
        except LinkError as error:
            self._refused(error)
        return self._found

    async def _come_again(self, wanted: Mapping[str, str]) -> None:
        """Subscribe on a connection whose session ends with it: there was none, and none is to be left behind."""
        if self._is_old:
            text = "over MQTT 3.1.1 a subscription would outlive the check, so none was tried"
            self._say("subscribe", "skip", text, "edge doctor --policy FILE, or version: 5")
            return
        await asyncio.sleep(self._gap_s)
        async with self._connected({"session_expiry_s": 0}) as (link, _):
            await self._visit(link, wanted)

    async def _visit(self, link: Any, wanted: Mapping[str, str]) -> None:  # noqa: ANN401 - a link of any driver
        await self._subscribe(link, wanted)
        if self._publish:
            await self._try_publish(link)

    async def _stay(self, link: Any) -> None:  # noqa: ANN401 - as above
        with contextlib.suppress(TimeoutError):
            lost = await asyncio.wait_for(link.lost(), self._stay_s)
            if _TAKEN in str(lost):
                self._say("client id", "fail", f"another device connects as {self._name}, too", duel_fix(self._app))

    @property
    def _name(self) -> str:
        return str(self._link.options.get("client_id") or self._link.driver)

    @property
    def _keeps_sessions(self) -> bool:
        return self._link.driver != "greengrass" and self._link.options.get("session_expiry_s") != 0

    @property
    def _is_old(self) -> bool:
        return str(self._link.options.get("version", "5")) != "5"

    @contextlib.asynccontextmanager
    async def _connected(self, more: Mapping[str, object]) -> AsyncIterator[tuple[Any, bool]]:
        """Connect with the app's own settings, and disconnect. Raises: LinkError."""
        module = plugin.load("links", self._link.driver)
        try:
            link = module.LINK(**{**self._link.options, "connect_timeout_s": self._within_s, **more})
        except EdgeError as error:
            raise LinkError(str(error), hint=error.hint) from error
        resumed = await link.connect(down=(), received=_never_stored)
        try:
            yield link, resumed
        finally:
            await link.close()

    async def _subscribe(self, link: Any, wanted: Mapping[str, str]) -> None:  # noqa: ANN401 - as above
        """Ask for each filter by itself, all at once: one answer each."""
        filters = list(wanted)
        answers = await asyncio.gather(*(link.subscribe([one]) for one in filters), return_exceptions=True)
        granted, unknown = 0, []
        for one, answer in zip(filters, answers, strict=True):
            if answer is None:
                granted += 1
            elif isinstance(answer, RefusedError):
                text = f"{one} ({wanted[one]}) was refused: {_codes.describe(answer.code)}"
                self._say("subscribe", "fail", text, self._allow(one, wanted[one]))
            elif isinstance(answer, LinkError):
                unknown.append((one, answer))
            else:
                raise answer  # a mistake of ours
        if granted:
            self._say("subscribe", "ok", f"{granted} of {len(filters)} filters were granted")
        if unknown:
            self._cut_off({one: wanted[one] for one, _ in unknown}, unknown[0][1])

    def _cut_off(self, filters: Mapping[str, str], error: LinkError) -> None:
        """Say what is known of filters before whose answer the connection ended: AWS may do that to refuse."""
        culprits = [one for one in filters if repr(one) in str(error)] or (list(filters) if len(filters) == 1 else [])
        for one in culprits:
            text = f"the connection ended while it subscribed to {one} ({filters[one]}): {error}"
            self._say("subscribe", "fail", text, self._allow(one, filters[one]))
        rest = [one for one in filters if one not in culprits]
        if not rest:
            return
        text = f"the connection ended before an answer came for {', '.join(rest)}: {error}"
        known = any(found.level == "fail" for found in self._found)
        fix = "mend the others first; edge doctor --policy FILE tells all at once"
        self._say("subscribe", "skip" if known else "fail", text, fix if known else f"see which: {fix}")

    def _allow(self, topic_filter: str, who: str) -> str:
        if self._link.driver == "greengrass":
            return access_control("SubscribeToIoTCore", topic_filter)
        return f"add to the policy: {statement(subscribe(topic_filter, who), self._app)}"

    async def _try_publish(self, link: Any) -> None:  # noqa: ANN401 - as above
        topic = self._publish
        try:
            await asyncio.wait_for(link.publish(topic, _PAYLOAD, {}), self._within_s)
        except TimeoutError:
            self._say("publish", "fail", f"no acknowledgement for {topic} in {self._within_s:g} s", "edge doctor again")
        except LinkError as error:
            if self._link.driver == "greengrass":
                fix = access_control("PublishToIoTCore", topic)
            else:
                fix = f"add to the policy: {statement(right_to_publish(topic), self._app)}"
            self._say("publish", "fail", f"{topic}: {error}", fix)
        else:
            self._say("publish", "ok", f"{topic} took {_PAYLOAD.decode()}")

    def _refused(self, error: LinkError) -> None:
        """Say why there is no connection."""
        fix = error.hint
        if _TAKEN in str(error):
            self._say("client id", "fail", f"another device connects as {self._name}, too", duel_fix(self._app))
            return
        if isinstance(error, RefusedError) and self._link.driver == "greengrass":
            topic = next(iter(subscriptions(self._app).get("echo", ())), "#")
            fix = access_control("SubscribeToIoTCore", topic)
        elif _REFUSED_CONNECT in str(error) or "closed the connection" in str(error):
            right = Right("iot:Connect", f"client/{self._name}", "connect")
            fix = f"activate the certificate, attach a policy, and add to it: {statement(right, self._app)}"
        self._say("connect", "fail", str(error), fix)

    def _say(self, what: str, level: str, text: str, fix: str = "") -> None:
        self._found.append(Finding(what, level, text, fix))  # type: ignore[arg-type]  # one of the levels


def duel_fix(app: App) -> str:
    """Return what to do when two devices use one client id."""
    client_id = app.link.options.get("client_id", "") if app.link else ""
    return (
        f"here client_id is {client_id} and thing is {app.thing}: give each device its own, with a certificate of its "
        "own (edge provision); a copied SD card brings both along"
    )


def access_control(operation: str, topic: str) -> str:
    """Return the policy of a Greengrass component that allows an operation of its IPC on a topic."""
    entry = {
        "aws.greengrass.ipc.mqttproxy": {
            "COMPONENT:mqttproxy:edge": {"operations": [f"aws.greengrass#{operation}"], "resources": [topic]}
        }
    }
    return f"merge into accessControl of the component's configuration: {json.dumps(entry)}"


async def _never_stored(topic: str, payload: bytes, properties: Mapping[str, str]) -> None:  # noqa: ARG001 - the signature of `Received`
    """Keep a message that came down from being acknowledged: the broker has it for the host."""
    await asyncio.get_running_loop().create_future()
