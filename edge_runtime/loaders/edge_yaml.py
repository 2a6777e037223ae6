"""`edge.yaml`, the app file of this runtime.

    thing: field-station-1
    devices:
      soil:   {driver: MCP3008, channel: 0, every: 10s, deadband: 0.02}
      button: {driver: Button, pin: 17}
      pump:   {driver: OutputDevice, pin: 27}
    functions:
      irrigate:
        code: ./irrigate                  # a folder or a zip, as for AWS Lambda
        handler: app.handler
        timeout: 3s
        environment: {THRESHOLD: 0.3}
        events:
          - {device: soil}                # each reading, topic device/soil
          - {device: button, on: pressed} # topic device/button/pressed
          - {topic: "cmd/irrigate/#"}
          - {schedule: rate(5 minutes)}
        on_success: dt/{thing}/irrigate
    link:
      driver: awscrt
      endpoint: abc-ats.iot.eu-central-1.amazonaws.com
      certificate: certs/device.pem
      key: certs/device.key
      up: ["dt/{thing}/#", {topic: "alarm/#", priority: 0}]
      down: ["cmd/{thing}/#"]
    queue: {limit: 256MB, when_full: drop_oldest, ttl: 30d}

A device that is read `every` so often emits each reading on `device/<name>`; an input emits what happens to it on
`device/<name>/<event>`; an output obeys what is emitted on `device/<name>/set` and then emits its value on
`device/<name>`. `{thing}` in a topic is the thing's name. Keys of a device or a link that are not ours are for
its driver.

`board: pi-5` at the top names the board that the devices are wired to, by its file in `hardware/boards`; without it the
file is checked against this machine's, or else against the header that all Raspberry Pis have.

A function may have more keys:

        layers: [./layers/tools, deps.zip]          # what makes up /opt, in this order
        on_success: dt/{thing}/irrigate             # or {topic: ..., record: true}, or {function: NAME}
        on_failure: {function: alarm}
        retries: 2
        max_age: 6h                                 # older events are given up; 0: never
        batch: {size: 10, window: 5s, report_failures: true}    # SQS `Records`, `batchItemFailures`
        payload: 1MiB                               # the largest event that it takes
        binary: true                                # the payload as bytes
        pinned: true                                # one worker that starts with the host
        status_timeout: 60s
        log: {format: json, level: info}
        allow: {publish: ["dt/#"], subscribe: [], invoke: [alarm], devices: [pump]}
        greengrass: ./lambda.json                   # a Greengrass Lambda's parameters; the keys here win over them

A device may have a place in a shadow: an output does what is desired there, and what a device does is reported there.
The shadows that the link names have a twin in the cloud.

        pump: {driver: OutputDevice, pin: 27, shadow: pump}             # desired.pump, reported.pump: the classic one
        fan:  {driver: PWMLED, pin: 22, shadow: {name: station, key: fan.speed}}
    link:
        shadows: {sync: [classic, station], conflict: section}          # or sync: all; or conflict: latest_timestamp

AWS IoT jobs may do what the link allows them: run these functions (`edge.invoke`), restart the host (`edge.restart`),
and install bundles that one of these Ed25519 keys has signed (`edge.deploy`).

    link:
        jobs: {run: [irrigate], restart: yes, keys: [keys/release.pem]}     # `openssl pkey -pubout`, or base64

For a long time without a connection: what shares a publish, how much of the link new messages get while a backlog
drains, what a metered link may cost, and old readings that become one message per interval when the queue is full.

    link:
        pack: {messages: 50, gzip: yes}             # or pack: 50
        live_share: 30%                             # 0: strict order
        budget: {bytes: 20MB, per: day, urgent: 2, night: "22:00-06:00", later: 7, timezone: Europe/Berlin}
        queue: {limit: 2GB, when_full: downsample}  # for this link alone; `queue` at the top is for all

`per` may be `month`, with `month_begins: 15`. Priorities up to `urgent` always go, those from `later` on at night only.

The private key of the link may lie in a token, and functions may get the AWS credentials of a role:

    link:
        pkcs11: {module: /usr/lib/softhsm/libsofthsm2.so, token: garden, key: device, pin_file: certs/pin}  # no `key`
        credentials: {endpoint: ID.credentials.iot.REGION.amazonaws.com, role_alias: NAME}  # or: greengrass

In a strict app a function gets them with `allow: {credentials: yes}` only.

The host can run a broker for devices that speak MQTT (see `edge broker`). What they publish is emitted here; what is
emitted on a topic of `publish` goes out to them.

    broker: {address: 0.0.0.0, publish: ["zigbee2mqtt/+/set"]}      # all keys: docs/guides/local-broker.md

What worked on the connectors of Greengrass V1 (Raspberry Pi GPIO, Serial Stream, Modbus-RTU) works on the same topics,
with the same parameters: see `docs/guides/v1-connectors.md`.

    connectors: {gpio: {InputGpios: "5,6U,7D", InputPollPeriod: 50, OutputGpios: "8H,9,27L"}}

What a list of `allow` leaves out is denied, and a list that is missing denies nothing. With `strict: true` at the top
it denies everything. Whoever emits on `function/<name>/invoke` invokes that function.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from edge_runtime.app import (
    App,
    Batch,
    Broker,
    Destination,
    Device,
    Function,
    LinkSpec,
    LocalBroker,
    Overflow,
    QueueLimits,
    Rule,
    Schedule,
    StoreLimits,
    Uplink,
)
from edge_runtime.devices import OpenDevice
from edge_runtime.errors import ConfigError
from edge_runtime.loaders import _edge_broker as broker_checks
from edge_runtime.loaders import _edge_checks as checks
from edge_runtime.loaders import _edge_connectors as connector_checks
from edge_runtime.loaders import _edge_devices as device_checks
from edge_runtime.loaders import _edge_functions as function_checks
from edge_runtime.loaders import _edge_jobs as job_checks
from edge_runtime.loaders import _edge_link as link_checks
from edge_runtime.loaders import _edge_outcomes as outcomes
from edge_runtime.loaders import _edge_schema as schema
from edge_runtime.loaders import _edge_shadows as shadow_checks
from edge_runtime.loaders import _edge_wiring as wiring_checks
from edge_runtime.loaders import _greengrass as greengrass
from edge_runtime.loaders._overlay import NOTHING, lay_over
from edge_runtime.loaders._validate import check
from edge_runtime.loaders._yaml import Document, Where, read, shown
from edge_runtime.pure import mosquitto

P = TypeVar("P", bound=schema.Part)


def accepts(path: Path) -> bool:
    """Tell whether this loader reads a file of that name."""
    return path.suffix in {".yaml", ".yml"}


def load(path: Path, overlay: Mapping[str, Any] = NOTHING) -> App:
    """Return the app that the file declares, checked and with all defaults filled in; `overlay` is merged into it.

    Raises: ConfigError with all mistakes in the order of the file, each as `file:line: key.path: what is wrong`.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint="make a new one: edge init") from error
    document = read(text, path.name)
    lay_over(document, overlay)
    app = build(document, path.absolute().parent)
    document.check()
    return app


def build(document: Document, base: Path) -> App:
    """Return the app that a document declares whose relative paths begin at `base`.

    It is only to be used when the document then holds no problem.
    """
    return _Builder(document, base).app()


class _Builder:
    """Makes an App of a document; whatever is wrong is noted there, and the rest is built all the same."""

    def __init__(self, document: Document, base: Path) -> None:
        self._document = document
        self._base = base
        data = {} if document.data is None else document.data
        top = check(schema.Top, data, (), document)
        self._data: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
        self._thing = top.thing if top else "thing"
        self._strict = bool(top and top.strict)
        self._board = (top.board if top else None) or ""
        self._rules: list[Rule] = []
        self._schedules: list[Schedule] = []
        self._queues: dict[str, QueueLimits] = {}
        self._kinds: dict[str, OpenDevice] = {}
        self._files: list[Path] = []
        self._notes: list[str] = []
        self._down: list[str] = []
        """What functions need from the cloud beside what the link says."""

    def app(self) -> App:
        """Return the app; it is only to be used when the document then holds no problem."""
        store = self._part(schema.Store, "queue") or schema.Store()
        common = QueueLimits(0, store.ttl or 0.0, Overflow(store.when_full or "drop_oldest"))
        self._queues[""] = common
        devices = tuple(self._device(name, part) for name, part in self._parts(schema.Device, "devices"))
        connectors = connector_checks.connectors(self._data.get("connectors"), self._document)
        connector_checks.ports(connectors, devices, self._document)
        devices += connector_checks.devices(connectors, self._names("devices"), self._document)
        self._rules += connector_checks.rules(connectors, self._thing)
        self._notes += wiring_checks.check(self._board, devices, self._base, self._document)
        functions = tuple(self._function(name, part) for name, part in self._parts(schema.Function, "functions"))
        link = self._part(schema.Link, "link")
        spec = self._link(link) if link else None
        app = App(
            thing=self._thing,
            base=self._base,
            board=self._board,
            devices=devices,
            functions=functions,
            schedules=tuple(self._schedules),
            brokers=tuple(self._broker(name, part) for name, part in self._parts(schema.Broker, "brokers")),
            broker=self._local_broker(),
            connectors=connectors,
            rules=tuple(self._rules),
            link=spec,
            limits=StoreLimits(store.limit, store.keep_free),
            queues=self._queues,
            files=tuple(self._files),
            notes=tuple(self._notes),
        )
        outcomes.loops(app, self._document)
        shadow_checks.places(app.devices, self._document)
        link_checks.quotas_hold(app, self._document)
        return app

    # -- sections --------------------------------------------------------------------------------------------------

    def _part(self, model: type[P], key: str) -> P | None:
        data = self._data.get(key)
        return None if data is None else check(model, data, (key,), self._document)

    def _parts(self, model: type[P], key: str) -> list[tuple[str, P]]:
        """Return the parts of a section that are right, with their names."""
        found: list[tuple[str, P]] = []
        section = self._data.get(key)
        for name, data in section.items() if isinstance(section, Mapping) else ():
            try:
                schema.name(name)
            except ValueError as error:
                self._document.add((key, name), str(error))
            whole = self._with_greengrass(name, data) if model is schema.Function else data
            part = check(model, whole, (key, name), self._document)
            if part is not None:
                found.append((name, part))
        return found

    def _items(self, model: type[P], items: list[object], where: Where) -> list[tuple[Where, P]]:
        """Return the items of a list that are right, with their places."""
        checked = [((*where, n), check(model, item, (*where, n), self._document)) for n, item in enumerate(items)]
        return [(here, item) for here, item in checked if item is not None]

    def _limits(self, target: str, queue: schema.Queue) -> None:
        if queue.model_fields_set:
            common = self._queues[""]
            self._queues[target] = QueueLimits(
                limit_bytes=queue.limit,
                ttl_s=common.ttl_s if queue.ttl is None else queue.ttl,
                when_full=Overflow(queue.when_full or common.when_full),
            )

    # -- devices ---------------------------------------------------------------------------------------------------

    def _device(self, name: str, part: schema.Device) -> Device:
        where: Where = ("devices", name)
        default = Device(name, part.driver)
        device = replace(
            default,
            options=dict(part.model_extra or {}),
            every_s=part.every or 0.0,
            on_change=part.on_change,
            heartbeat_s=part.heartbeat,
            debounce_s=default.debounce_s if part.debounce is None else part.debounce,
            measures=device_checks.measures(part, where, self._document),
            thresholds=device_checks.thresholds(part, where, self._document),
            volts=part.volts or 0.0,
            guard=device_checks.guard(part.guard, (*where, "guard"), self._document, self._names("devices")),
            shadow=shadow_checks.place(part.shadow, where, self._document),
        )
        written = self._data["devices"][name]
        before = len(self._document.problems)
        kind = device_checks.driver(device, where, self._document, self._base)
        if len(self._document.problems) == before:  # else a misspelt key would look like one that is left out
            device_checks.settings(written, kind, where, self._document)
        if kind is not None:
            self._kinds[name] = kind
            if kind.is_output:
                self._rules.append(Rule(f"device/{name}/set", (f"device/{name}",)))
        return device

    # -- functions -------------------------------------------------------------------------------------------------

    def _function(self, name: str, part: schema.Function) -> Function:
        where: Where = ("functions", name)
        self._limits(f"function/{name}", part.queue)
        self._events(name, part.events, where)
        code = (self._base / part.code).absolute()
        layers = tuple((self._base / layer).absolute() for layer in part.layers)
        function_checks.code(code, part, where, self._document)
        function_checks.layers(layers, part.layers, (*where, "layers"), self._document)
        function = Function(
            name=name,
            code=code,
            handler=part.handler,
            runtime=part.runtime,
            layers=layers,
            read=tuple((self._base / folder).absolute() for folder in part.read),
            timeout_s=part.timeout,
            memory_mb=part.memory,
            environment=self._environment(part.environment, (*where, "environment")),
            concurrency=part.concurrency,
            retries=part.retries,
            retry_wait_s=part.retry_wait,
            max_age_s=part.max_age,
            idle_s=part.idle,
            on_success=self._destination(part.on_success, (*where, "on_success"), record=False),
            on_failure=self._destination(part.on_failure, (*where, "on_failure"), record=True),
            batch=Batch(part.batch.size, part.batch.window, part.batch.report_failures) if part.batch else None,
            payload_bytes=part.payload,
            binary=part.binary,
            pinned=part.pinned,
            status_timeout_s=part.status_timeout,
            log_format=part.log.format,
            log_level=part.log.level,
            allow=outcomes.permissions(
                part.allow,
                (*where, "allow"),
                self._document,
                strict=self._strict,
                filter_=self._filter,
                known={"invoke": self._names("functions"), "devices": self._names("devices")},
            ),
        )
        outcomes.fits_together(function, where, self._document)
        return function

    def _with_greengrass(self, name: str, data: object) -> object:
        """Return the keys of a function with those of the Greengrass parameter file that it names, if it does."""
        file = data.get("greengrass") if isinstance(data, Mapping) else None
        if not isinstance(data, Mapping) or not isinstance(file, str) or not file:
            return data
        path = (self._base / file).absolute()
        self._files.append(path)
        try:
            found = greengrass.parameters(path, self._base)
        except ConfigError as error:
            for line in str(error).splitlines():
                self._document.add(("functions", name, "greengrass"), line)
            return {"code": ".", **data}
        self._notes += [f"{file}: {note}" for note in found.notes]
        self._down += found.down
        if found.down and self._data.get("link") is None:
            self._document.add(
                ("functions", name, "greengrass"), f"{found.down[0]!r} is to come from the cloud, and there is no link"
            )
        return {**found.keys, **{key: value for key, value in data.items() if value is not None}}

    def _names(self, key: str) -> list[str]:
        """Return the names in a section, right or wrong."""
        section = self._data.get(key)
        return list(section) if isinstance(section, Mapping) else []

    def _environment(self, values: Mapping[str, Any], where: Where) -> dict[str, str]:
        function_checks.environment(values, where, self._document)
        return {key: self._document.text((*where, key), value) for key, value in values.items()}

    def _events(self, function: str, items: list[object], where: Where) -> None:
        target = f"function/{function}"
        events = self._items(schema.Event, items, (*where, "events"))
        timed = sum(event.schedule is not None for _, event in events)
        numbers = itertools.count(1)
        for here, event in events:
            if event.schedule is not None:
                topic = self._schedule(function if timed == 1 else f"{function}-{next(numbers)}", event, here)
            elif event.device is not None:
                topic = self._reading(event.device, event.on, here)
            else:
                topic = self._filter(event.topic or "", (*here, "topic"))
            self._rules.append(Rule(topic, (target,), event.priority))

    def _schedule(self, name: str, event: schema.Event, where: Where) -> str:
        schedule = Schedule(name, event.schedule or "", event.timezone, event.misfire)
        checks.schedule(schedule, [s.name for s in self._schedules], where, self._document)
        self._schedules.append(schedule)
        return f"schedule/{name}"

    def _reading(self, device: str, kind: str | None, where: Where) -> str:
        """Return the filter for what a device emits. Looks at the file, so that a wrong device is not also unknown."""
        section = self._data.get("devices")
        devices = section if isinstance(section, Mapping) else {}
        device_checks.known(device, devices, (*where, "device"), self._document)
        declared = devices.get(device)
        every = declared.get("every") if isinstance(declared, Mapping) else None
        if kind is not None:
            if device in self._kinds:
                device_checks.event(kind, self._kinds[device], (*where, "on"), self._document)
            return f"device/{device}/{kind}"
        tells = device not in self._kinds or self._kinds[device].has_events
        return f"device/{device}/+" if tells and every is None else f"device/{device}"

    # -- the link and the brokers ----------------------------------------------------------------------------------

    def _link(self, part: schema.Link) -> LinkSpec:
        self._limits("uplink", part.queue)
        options = link_checks.options(part, self._thing, self._base, self._document)
        aws = part.aws_quotas if part.aws_quotas is not None else link_checks.is_aws(part.driver, options)
        default = Uplink()
        down = [self._filter(text, ("link", "down", index)) for index, text in enumerate(part.down)]
        uplink = Uplink(
            up=tuple(
                Rule(self._filter(up.topic, where), ("uplink",), up.priority)
                for where, up in self._items(schema.Up, part.up, ("link", "up"))
            ),
            down=tuple(dict.fromkeys((*down, *self._down))),
            window=part.window or default.window,
            publishes_per_s=_given(part.publishes_per_s, default.publishes_per_s if aws else 0.0),
            bytes_per_s=_given(part.bytes_per_s, default.bytes_per_s if aws else 0.0),
            pack=part.pack.messages,
            gzip=part.pack.gzip,
            live_share=part.live_share,
            budget=link_checks.budget(part, self._document),
            aws_quotas=aws,
        )
        role = link_checks.role(part, options, self._document)
        shadows = shadow_checks.synced(part, uplink.down, self._thing, self._document)
        jobs, files = job_checks.jobs(part, self._names("functions"), self._base, self._document)
        self._files += files
        return LinkSpec(part.driver, options, uplink, role, shadows, jobs)

    def _broker(self, name: str, part: schema.Broker) -> Broker:
        where: Where = ("brokers", name)
        topics = tuple(self._filter(t, (*where, "topics", i)) for i, t in enumerate(part.topics))
        prefix = self._topic(part.prefix, (*where, "prefix"))
        options = link_checks.broker_options(part, self._base, where, self._document)
        return Broker(name, part.host, part.port, topics, prefix, options)

    def _local_broker(self) -> LocalBroker | None:
        part = self._part(schema.LocalBroker, "broker")
        if part is None:
            return None
        self._limits(mosquitto.TARGET, part.queue)
        prefix = self._topic(part.prefix, ("broker", "prefix"))
        spec = broker_checks.broker(part, prefix, self._filter, self._document, self._names("brokers"))
        self._rules += [Rule(prefix + one, (mosquitto.TARGET,)) for one in spec.publish]
        return spec

    # -- topics ----------------------------------------------------------------------------------------------------

    def _topic(self, text: str, where: Where) -> str:
        return checks.topic(self._expand(text, where), where, self._document) if text else ""

    def _destination(self, data: object, where: Where, *, record: bool) -> Destination | None:
        return outcomes.destination(
            data, where, self._document, topic=self._topic, functions=self._names("functions"), record=record
        )

    def _filter(self, text: str, where: Where) -> str:
        return checks.filter_(self._expand(text, where), where, self._document)

    def _expand(self, text: str, where: Where) -> str:
        expanded = text.replace("{thing}", self._thing)
        if "{" in expanded or "}" in expanded:
            self._document.add(where, f"{shown(text)}: the only placeholder is {{thing}}")
        return expanded


def _given(value: float | None, default: float) -> float:
    return default if value is None else float(value)
