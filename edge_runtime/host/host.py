"""What is declared, at work.

Every part (a trigger, a function's dispatcher, the uplink, the devices, the control socket) runs by itself and is
started again when it fails; only the store is needed by all, and without it there is no host.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime import plugin
from edge_runtime.app import App, Broker, QueueLimits, Rule
from edge_runtime.clock import Clock, SystemClock, make_event
from edge_runtime.cloud.agent import Agent
from edge_runtime.cloud.uplink import TARGET as UPLINK
from edge_runtime.cloud.uplink import UplinkRunner
from edge_runtime.control.server import Server, serve
from edge_runtime.control.wire import SOCKET
from edge_runtime.errors import EdgeError, HostError, QueueFullError, StoreError
from edge_runtime.host._late_link import LateLink
from edge_runtime.host._time_gate import TimeGate
from edge_runtime.host.bus import FROM_CLOUD, Bus, feeds_of, function_rules, payload_bounds
from edge_runtime.host.configuration import RESTART, Configuration
from edge_runtime.host.credentials import lent, region
from edge_runtime.host.hardware import Hardware, late_trigger
from edge_runtime.host.services import Services
from edge_runtime.host.shadows import ShadowKeeper, shadow_rules
from edge_runtime.host.supervise import Part, supervise
from edge_runtime.host.timekeeper import NO_FLOOR, Timekeeper, floor_of_files
from edge_runtime.host.verbs import Verbs
from edge_runtime.model import Link, Trigger
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.platform_lines import is_platform
from edge_runtime.store.store import Store
from edge_runtime.workers.dispatch import Dispatcher
from edge_runtime.workers.isolation import wanted
from edge_runtime.workers.pool import Pool

if TYPE_CHECKING:
    from edge_runtime.cloud.jobs import JobsAgent
    from edge_runtime.host.broker import BrokerKeeper
    from edge_runtime.host.identity import CertificateState
    from edge_runtime.host.jobs import Installer

_log = logging.getLogger(__name__)
_function_log = logging.getLogger("edge_runtime.function")
_STOP_S = 5.0


class Host:
    """One app, running. `start`, then `stop`; what was accepted in between is delivered or on disk."""

    def __init__(
        self,
        app: App,
        state: Path,
        *,
        clock: Clock | None = None,
        simulate: bool = False,
        link: Link | None = None,
        watch: Path | None = None,
        configuration: Configuration | None = None,
        installer: Installer | None = None,
    ) -> None:
        """`link` replaces the one that the app declares, for tests. `watch` is the app file: reload on a save.

        `configuration` is followed: what changes in it ends this host in favour of a `successor`. `installer` takes the
        bundles that jobs bring; without, they are rejected.
        """
        self.app = app
        self.state = state
        self.clock: Clock = clock or SystemClock()
        self.timekeeper = Timekeeper(self.clock, state)
        """What is known of the time: `timekeeper.date(stamp)`."""
        self._is_given_time = clock is not None
        self.stopping = asyncio.Event()
        """Set when somebody asks the host to end."""
        self.status = 0
        """The exit status that the process ends with."""
        self.successor: App | None = None
        """The app that this process is to go on with when this host has ended."""
        self.parts: list[Part] = []
        """What runs, and how."""
        self.uplink: UplinkRunner | None = None
        self.jobs: JobsAgent | None = None
        """What AWS IoT jobs want done; None when the app lets them do nothing."""
        self.broker: BrokerKeeper | None = None
        """The broker for devices around; None when the app declares none."""
        self.certificate: CertificateState | None = None
        """How the link's certificate does; None when it has none."""
        self.hardware = Hardware(app, self.clock, simulate=simulate, synced=lambda: self.timekeeper.is_right)
        self.started = self.clock.now()
        self.store: Store
        self.bus: Bus
        self.pool: Pool
        self.services: Services
        self.shadows: ShadowKeeper
        self._link = link
        self._simulate = simulate
        self._watch = watch
        self._configuration = configuration
        self.installer = installer
        """What takes bundles; None when this host takes none."""
        self._server: Server | None = None
        self._dispatchers: list[Dispatcher] = []
        self._agents: list[Agent] = []
        """What talks over the link beside the queue; to be filled before the sinks begin."""
        self._sources: list[asyncio.Task[None]] = []
        self._sinks: list[asyncio.Task[None]] = []
        self._closing = contextlib.AsyncExitStack()

    def end(self, status: int = 0, *, successor: App | None = None) -> None:
        """Ask for the end: of the process with an exit status, or of this host alone when another app takes over."""
        self.status, self.successor = status, successor
        self.stopping.set()

    async def start(self) -> None:
        """Open the store, then start everything else around it. Returns when events are accepted.

        Devices and the link come up afterwards, in their own time. When it raises, nothing is left behind.

        Raises: HostError when another host has the state folder, StoreError, ConfigError.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        app, link = self.app, self.app.link
        for note in app.notes:
            _log.warning("%s", note)
        rules = (
            *app.rules,
            *function_rules(app.functions),
            *shadow_rules(app.thing),
            *(link.uplink.up if link else ()),
            *_job_rules(app),
        )
        targets = sorted(feeds_of(rules) | ({UPLINK} if link else set()))
        queues = {name: app.queues.get(name, app.queues.get("", QueueLimits())) for name in ("", *targets)}
        # What files tell of the time is nothing to a clock that has its own.
        self.timekeeper.open(NO_FLOOR if self._is_given_time else floor_of_files(self.state))
        self.store = await Store.open(self.state, queues, clock=self.clock, limits=app.limits)
        self._closing.push_async_callback(self.store.close)
        self._closing.push_async_callback(self.timekeeper.close)
        await self.timekeeper.recall(self.store)
        self._closing.push_async_callback(self.hardware.close)
        aws_quotas = bool(link and link.uplink.aws_quotas)
        self.bus = Bus(self.store, rules, aws_quotas=aws_quotas, payloads=payload_bounds(app.functions))
        self.shadows = ShadowKeeper(self.store, app.thing, self.clock, self.bus.emit)
        self.services = Services(
            app.functions,
            self.bus.emit,
            self.clock,
            self.state,
            self.shadows,
            lent=lent(app, self.clock),
            region=region(app),
        )
        self.pool = Pool(
            {f.name: f for f in app.functions},
            thing=app.thing,
            scratch=self.state / "workers",
            log=_log_function,
            services=self.services.variables,
            isolation=wanted(os.environ, (self.state,)),
        )
        self._closing.push_async_callback(self.services.close)
        self._closing.push_async_callback(self.pool.close)
        self.services.open(self.pool)
        # Neither is worth failing for: the parts try again, and tell why if that fails too.
        with contextlib.suppress(HostError):
            await self._listen()
        with contextlib.suppress(OSError):
            await self.pool.start()
        try:
            await self.bus.emit(make_event(self.clock, "host/started", b'{"event":"started"}', "host"))
        except EdgeError as error:
            # A queue that is full must not keep away what would empty it.
            _log.warning("the event of the start was not accepted: %s", error)
        self._begin("workers", self._keep_workers, source=True)
        self._begin("rates", self._measure, source=True)
        if self._server is None:
            self._begin("control", self._keep_listening, source=True)
        self._start_sinks(feeds_of(rules))
        self._start_sources()
        self._begin("clock", partial(self.timekeeper.run, self.store), source=True)

    def _start_sinks(self, fed: set[str]) -> None:
        for function in self.app.functions:
            if f"function/{function.name}" in fed:
                dispatcher = Dispatcher(
                    function,
                    self.store,
                    self.pool,
                    self.clock,
                    route=self.bus.route,
                    emitted=self.bus.show,
                    date=self.timekeeper.date,
                )
                self._dispatchers.append(dispatcher)
                self._begin(f"function/{function.name}", dispatcher.run)
        self._begin("shadows", self.shadows.run)
        self._agents += self.shadows.agents(self.app.link)
        if self.app.link is not None:
            if self.app.link.jobs is not None:
                self._start_jobs()
            link, options = self._link or LateLink(self.app.link), self.app.link.options
            if isinstance(link, LateLink) and options.get("certificate"):
                self._begin("certificate", partial(self._keep_identity, options, link.renew))
            self.uplink = UplinkRunner(
                self.store,
                link,
                self.app.link.uplink,
                self.clock,
                deliver=self._deliver,
                driver=self.app.link.driver,
                agents=self._agents,
                dates=self.timekeeper,
                gate=TimeGate(self.timekeeper, link) if isinstance(link, LateLink) else None,
            )
            self._begin(UPLINK, self.uplink.run)
        if self.app.connectors:
            from edge_runtime.host import connectors  # noqa: PLC0415 - most apps have none

            connectors.begin(
                self.app,
                self.hardware,
                self._begin,
                store=self.store,
                bus=self.bus,
                clock=self.clock,
                simulate=self._simulate,
            )

    def _start_jobs(self) -> None:
        from edge_runtime.host.jobs import Operations, jobs_agent  # noqa: PLC0415 - most apps have none

        operations = Operations(
            self.app, self.store, self.state, self.clock, pool=self.pool, end=self.end, installer=self.installer
        )
        self.jobs = jobs_agent(self.app, self.store, self.clock, self.bus.emit, operations)
        self._agents.append(self.jobs)
        self._begin("jobs", self.jobs.work)

    def _start_sources(self) -> None:
        if self.app.broker is not None:
            from edge_runtime.host.broker import BrokerKeeper  # noqa: PLC0415 - most apps have none

            self.broker = BrokerKeeper(self.app.broker, self.app.thing, self.state, self.clock)
            self.broker.begin(self.store, self.bus, self._begin)
        if self.app.schedules:
            self._begin("schedule", late_trigger(self._schedule, self.bus), source=True)
        for broker in self.app.brokers:
            self._begin(f"broker/{broker.name}", late_trigger(partial(self._broker, broker), self.bus), source=True)
        if self.app.devices:
            places = self.shadows.of_devices(self.app.devices, self.bus)
            if places is not None:
                self._begin("shadow-devices", places.run, source=True)
            opening = partial(self.hardware.run, self.store, self.bus, self._begin, places)
            self._begin("devices", opening, source=True)
        if self._watch is not None:
            self._begin("watch", partial(self._reload, self._watch), source=True)
        if self._configuration is not None:
            self._begin("configuration", partial(self._configure, self._configuration), source=True)

    async def _keep_identity(self, options: Mapping[str, object], renew: Callable[[], Awaitable[bool]]) -> None:
        from edge_runtime.host.identity import IdentityKeeper  # noqa: PLC0415 - only with a certificate

        keeper = IdentityKeeper(options, renew, self.clock)
        self.certificate = keeper.state
        await keeper.run()

    async def _reload(self, path: Path) -> None:
        from edge_runtime.host.watch import Reloader  # noqa: PLC0415 - only while somebody develops

        await Reloader(self.app, path, self.state, self.pool, self._succeed).run()

    async def _configure(self, configuration: Configuration) -> None:
        await configuration.run(self.clock, self._succeed, partial(self.end, RESTART))

    def _succeed(self, app: App) -> None:
        # An end that somebody else has asked for already stays what it is.
        if app != self.app and (self.successor is not None or not self.stopping.is_set()):
            self.end(successor=app)

    def _schedule(self) -> Trigger:
        module = plugin.load("triggers", "schedule")
        trigger: Trigger = module.ScheduleTrigger(self.app.schedules, self.app.thing, self.clock, self.store.recall)
        return trigger

    def _broker(self, broker: Broker) -> Trigger:
        trigger: Trigger = plugin.load("triggers", "mqtt").MqttTrigger(broker, self.clock)
        return trigger

    def _begin(self, name: str, run: Callable[[], Awaitable[None]], *, source: bool = False) -> None:
        part = Part(name)
        self.parts.append(part)
        task = asyncio.create_task(supervise(part, run, self.clock), name=name)
        (self._sources if source else self._sinks).append(task)

    async def _listen(self) -> None:
        self._server = await serve(self.state / SOCKET, Verbs(self).table())

    async def _keep_listening(self) -> None:
        await self._listen()
        await asyncio.get_running_loop().create_future()

    async def _measure(self) -> None:
        from edge_runtime.host.rates import RateKeeper  # noqa: PLC0415 - events are accepted before it is needed

        await RateKeeper(self.store, self.bus, self.clock, self.timekeeper.date).run()

    async def _keep_workers(self) -> None:
        await self.pool.start()
        await asyncio.get_running_loop().create_future()

    async def _deliver(self, topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        """Store what came down from the cloud. It is not acknowledged before that, and holds up nothing else."""
        headers = {key: value for key, value in properties.items() if not key.startswith("edge-")}
        event = make_event(self.clock, topic, payload, FROM_CLOUD, headers)
        backoff = Backoff(1.0, 60.0)
        while True:
            try:
                await self.bus.emit(event)
            except (QueueFullError, StoreError) as error:
                wait_s = backoff.next()
                _log.warning("a message from the cloud waits, next try in %.1f s: %s", wait_s, error)
                await self.clock.sleep(wait_s)
            except EdgeError as error:
                _log.warning("a message from the cloud was left out: %s", error)
                return
            else:
                return

    async def stop(self, grace_s: float = _STOP_S) -> None:
        """End in order, sources first, and lose nothing. Safe to call twice, and when `start` failed half way.

        What runs or is on its way gets `grace_s` to end; what is not done then stays queued.
        """
        try:
            await _cancel(self._sources)
            if self._server is not None:
                await self._server.close()
            await self._let_finish(grace_s)
            await _cancel(self._sinks)
        finally:
            await self._closing.aclose()

    async def _let_finish(self, grace_s: float) -> None:
        """Give the handlers that run the time to end, and publishes on their way the time for an acknowledgement."""
        try:
            async with asyncio.timeout(grace_s):
                await asyncio.gather(*(dispatcher.finish() for dispatcher in self._dispatchers))
                # Outputs end before the uplink does: that they are safe now is to go up, too.
                await _cancel([task for task in self._sinks if task.get_name().startswith("device/")])
                if self.uplink is not None and self.uplink.state.state == "up":
                    await self.uplink.finish()
        except TimeoutError:
            _log.info("some handlers or publishes are not done after %g s; their events stay queued", grace_s)


def _job_rules(app: App) -> tuple[Rule, ...]:
    """Return the rule by which it goes up how jobs do, if the app has any."""
    if app.link is None or app.link.jobs is None:
        return ()
    from edge_runtime.host.jobs import job_rule  # noqa: PLC0415 - most apps have none

    return (job_rule(app.thing),)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _log_function(name: str, text: str) -> None:
    """Log what a handler printed; the lines of the platform itself only on request, for they come with every event."""
    for line in text.splitlines():
        _function_log.log(logging.DEBUG if is_platform(line) else logging.INFO, "%s: %s", name, line)
