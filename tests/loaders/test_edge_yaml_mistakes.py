"""`edge.yaml`: what is said about a wrong file."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError
from tests.loaders.appfile import load, wrong


def test_a_misspelt_key_gets_the_nearest_name(folder: Path) -> None:
    [problem] = wrong(folder, "thing: a\ndevices:\n  soil: {driver: LoadAverage, evry: 10s}\n")
    assert problem == (
        "edge.yaml:3: devices.soil.evry: unknown key; did you mean 'every'? allowed: scale, offset, round, unit, "
        "range, deadband, driver, every, on_change, heartbeat, debounce, parts, thresholds, volts, guard, shadow, "
        "load_average_file, min_load_average, max_load_average, threshold, minutes, event_delay"
    )


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(folder: Path) -> None:
    text = """\
thing: field station 1
devices:
  button: {driver: Buton, pin: 17}
  led: {driver: LED, pin: 4, active_high: no}
  pump: {pin: 27}
  pump: {driver: LED, pin: 27}
  temp: {driver: LoadAverage, every: 3x}
functions:
  irrigate:
    code: ./irigate
    handler: app
    timeout: 1000s
    memory: 128MB
    environment: {1A: x, B: [1], AWS_LAMBDA_RUNTIME_API: 1}
    events:
      - {device: butto}
      - {device: temp, on: changed}
      - {topic: "cmd/#/x"}
      - {schedule: rate(5 minute)}
      - {on: x}
      - {topic: a, misfire: once}
      - 3
      - {schedule: rate(1 day), misfire: twice, timezone: Europe/Berln}
    on_succes: a
    on_success: dt/{Thing}/irrigate
  loop: {code: irrigate, handler: foo.bar, runtime: java11, events: [{topic: dt/#}], on_success: dt/a, on_failure: a/+}
link: {driver: pahoo, up: ["x", {topic: y, prio: 1}], window: 0}
queue: {limit: 256XB, when_full: drop_oldst}
brokers: {x: {port: 70000}}
fuctions: {}
"""
    keys = [line.split(": ")[0].removeprefix("edge.yaml:") + " " + line.split(": ")[1] for line in wrong(folder, text)]
    assert keys == [
        "1 thing",
        "3 devices.button.driver",
        "4 devices.led.active_high",
        "5 devices.pump.driver",
        "6 devices.pump",
        "7 devices.temp.every",
        "10 functions.irrigate.code",
        "11 functions.irrigate.handler",
        "12 functions.irrigate.timeout",
        "13 functions.irrigate.memory",
        "14 functions.irrigate.environment.1A",
        "14 functions.irrigate.environment.B",
        "14 functions.irrigate.environment.AWS_LAMBDA_RUNTIME_API",
        "16 functions.irrigate.events[0].device",
        "17 functions.irrigate.events[1].on",
        "18 functions.irrigate.events[2].topic",
        "19 functions.irrigate.events[3].schedule",
        "20 functions.irrigate.events[4]",
        "21 functions.irrigate.events[5]",
        "22 functions.irrigate.events[6]",
        "23 functions.irrigate.events[7].misfire",
        "23 functions.irrigate.events[7].timezone",
        "24 functions.irrigate.on_succes",
        "25 functions.irrigate.on_success",
        "26 functions.loop.runtime",
        "26 functions.loop.handler",
        "26 functions.loop.on_failure",
        "26 functions.loop.on_success",
        "27 link.window",
        "27 link.driver",
        "27 link.up[1].prio",
        "28 queue.limit",
        "28 queue.when_full",
        "29 brokers.x.host",
        "29 brokers.x.port",
        "30 fuctions",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("3", "edge.yaml:1: 3 is no mapping; write {key: value}"),
        ("", "edge.yaml:1: thing: this key is missing"),
        ("thing: 12", "edge.yaml:1: thing: 12 is no text; put it in quotes"),
        ("thing: a/b", "edge.yaml:1: thing: 'a/b' is no name of a thing; allowed: 1 to 128 letters, digits, : - and _"),
        ("thing: a\ndevices: [x]", 'edge.yaml:2: devices: ["x"] is no mapping; write {key: value}'),
        ("thing: a\ndevices: {x: 3}", "edge.yaml:2: devices.x: 3 is no mapping; write {key: value}"),
        (
            "thing: a\ndevices: {a/b: {driver: LED, pin: 1}}",
            "edge.yaml:2: devices.\"a/b\": 'a/b' is no name; allowed: 1 to 64 letters, digits, - and _",
        ),
        (
            "thing: a\ndevices: {x: {driver: LED}}",
            "edge.yaml:2: devices.x: needs the argument 'pin'; it takes: pin, active_high, initial_value",
        ),
        (
            "thing: a\ndevices: {x: {driver: Buton, pin: 3}}",
            (
                "edge.yaml:2: devices.x.driver: there is no driver 'Buton'; did you mean 'Button'? "
                "a driver is a class of gpiozero such as Button, or a file in the folder hardware"
            ),
        ),
        (
            "thing: a\ndevices: {x: {driver: MCP3008, channel: 1}}",
            "edge.yaml:2: devices.x: MCP3008 has no events of its own; say how often to read it, as in every: 10s",
        ),
        (
            "thing: a\ndevices: {x: {driver: LED, pin: 1, deadband: 1}}",
            "edge.yaml:2: devices.x.deadband: says which readings count, so it needs 'every'",
        ),
        (
            "thing: a\ndevices: {x: {driver: LED, pin: 1, every: 1s, debounce: 1s}}",
            "edge.yaml:2: devices.x.debounce: is for devices with events of their own; one that is read has none",
        ),
        (
            "thing: a\ndevices: {x: {driver: LED, pin: 1, initial_value: off}}",
            "edge.yaml:2: devices.x.initial_value: write true or false, or 'off' in quotes when the text is meant",
        ),
        (
            "thing: a\nqueue: {when_full: drop_old}",
            (
                "edge.yaml:2: queue.when_full: 'drop_old' is not allowed; did you mean 'drop_oldest'? "
                "allowed: drop_oldest, reject_new, keep_latest, downsample"
            ),
        ),
        (
            "thing: a\nqueue: {keep_free: 100%}",
            "edge.yaml:2: queue.keep_free: '100%' is too big; it must be less than 1",
        ),
        (
            "thing: a\nbrokers: {b: {host: x, pasword: y}}",
            (
                "edge.yaml:2: brokers.b.pasword: unknown key; did you mean 'password'? allowed: host, port, topics, "
                "prefix, username, password, client_id, tls, ca, certificate, key, version, "
                "keep_alive_s, session_expiry_s"
            ),
        ),
        (
            "thing: a\nbrokers: {b: {host: x, version: 4}}",
            "edge.yaml:2: brokers.b.version: 4 is not allowed; allowed: 5, 3.1.1",
        ),
        (
            "thing: a\nlink: {driver: pahoo}",
            "edge.yaml:2: link.driver: there is no link 'pahoo'; did you mean 'paho'? known: ",
        ),
        ("thing: a\nlink: {driver: paho}", "edge.yaml:2: link.endpoint: this key is missing; the link paho needs it"),
        (
            "thing: a\nlink: {driver: paho, endpoint: x, certficate: y}",
            (
                "edge.yaml:2: link.certficate: unknown key; did you mean 'certificate'? "
                "allowed: driver, up, down, window, "
            ),
        ),
        (
            "thing: a\nlink: {driver: paho, endpoint: x, credentials: greengrass}",
            "edge.yaml:2: link.credentials: 'greengrass' goes with driver greengrass; write endpoint and role_alias",
        ),
        (
            "thing: a\nlink: {driver: paho, endpoint: x, credentials: {endpoint: c.example, role_alias: a}}",
            "edge.yaml:2: link.credentials: they are asked for with the device's certificate: give the link",
        ),
        (
            "thing: a\nlink: {driver: paho, endpoint: x, credentials: {endpoint: 'https://c.example', role_alias: a}}",
            "edge.yaml:2: link.credentials.endpoint: 'https://c.example' is no host name",
        ),
        (
            "thing: a\nlink: {driver: paho, endpoint: x, credentials: {endpoint: c.example}}",
            "edge.yaml:2: link.credentials: endpoint and role_alias are both needed",
        ),
        (
            "thing: a\nlink: {driver: awscrt, endpoint: x, pkcs11: {module: m.so, token: t, pni: 1234}}",
            "edge.yaml:2: link.pkcs11.pni: unknown key; did you mean 'pin'? allowed: module, token, key, pin, pin_file",
        ),
        (
            "thing: a\nlink: {driver: awscrt, endpoint: x, pkcs11: {module: m.so}}",
            "edge.yaml:2: link.pkcs11.token: this key is missing",
        ),
        (
            "thing: a\nlink: {driver: awscrt, endpoint: x, pkcs11: {module: m.so, token: t, pin: 1234, pin_file: p}}",
            "edge.yaml:2: link.pkcs11: link: pkcs11 has a pin and a pin_file; keep pin_file",
        ),
        (
            (
                "thing: a\nlink: {driver: awscrt, endpoint: x, certificate: c, pkcs11: {module: m.so, token: t}, "
                "credentials: {endpoint: c.example, role_alias: a}}"
            ),
            "edge.yaml:2: link.credentials: they are asked for with a key from a file; one in a token cannot be used",
        ),
        (
            "thing: a\nlink: {driver: paho, endpoint: x, keep_alive_s: '60'}",
            "edge.yaml:2: link.keep_alive_s: '60' is no whole number",
        ),
        (
            "thing: a\nlink: {driver: paho, endpoint: x, certificate: ~/x.pem}",
            "edge.yaml:2: link.certificate: what ~ means depends on who runs the host; write the path in full",
        ),
        (
            "thing: a\nlink: {driver: paho, endpoint: x, aws_quotas: true, window: 101}",
            "edge.yaml:2: link.window: AWS IoT Core allows 100 unacknowledged publishes, not 101",
        ),
        (
            "thing: a\nlink: {driver: paho, endpoint: x.amazonaws.com, down: [a/b/c/d/e/f/g/h/#]}",
            "edge.yaml:2: link.down[0]: topic filter 'a/b/c/d/e/f/g/h/#' has 8 slashes; AWS IoT Core allows 7",
        ),
        (
            "thing: a\nlink: {driver: paho, endpoint: x.amazonaws.com, up: [a/b/c/d/e/f/g/h/+]}",
            "edge.yaml:2: link.up[0]: topic 'a/b/c/d/e/f/g/h/x' has 8 slashes; AWS IoT Core allows 7",
        ),
        (
            "thing: a\nlink: {driver: paho, endpoint: x.amazonaws.com, client_id: $a}",
            (
                "edge.yaml:2: link.client_id: the MQTT client id '$a' begins with '$', "
                "which AWS IoT Core keeps for itself"
            ),
        ),
    ],
)
def test_one_mistake_gets_one_line(folder: Path, text: str, problem: str) -> None:
    [line] = wrong(folder, text)
    assert line.startswith(problem)


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("code: missing, handler: a.b", "f.code: 'missing' is not there; it is looked for beside this file"),
        ("code: edge.yaml, handler: a.b", "f.code: 'edge.yaml' is neither a folder nor a .zip"),
        ("code: bad.zip, handler: a.b", "f.code: 'bad.zip' is no zip: File is not a zip file"),
        ("code: irrigate, handler: b.c", "f.handler: 'b.c' needs b.py in irrigate; files there: app.py"),
        ("code: irrigate", "f.handler: '' names no function in a file; write file.function, as in app.handler"),
        ("handler: a.b", "f.code: this key is missing"),
        (
            "code: irrigate, handler: app.x, events: [{device: d}]",
            "f.events[0].device: there is no device 'd'; known: none",
        ),
        (
            "code: irrigate, handler: app.x, events: [{topic: dt/+}], on_success: dt/x",
            "f.on_success: 'dt/x' would set the function off again, for ever: one of its events is 'dt/+'",
        ),
        (
            "code: irrigate, handler: app.x, events: [{topic: a, device: b}]",
            (
                "f.events[0]: exactly one of device, topic and schedule says what sets the function off; "
                "found device and topic"
            ),
        ),
        (
            "code: irrigate, handler: app.x, events: [{topic: a, on: b}]",
            "f.events[0]: 'on' belongs to an event of a device, not of a topic",
        ),
        (
            "code: irrigate, handler: app.x, on_success: a/#",
            "f.on_success: topic 'a/#' holds '#': wildcards belong in filters, not in the topic of a message",
        ),
        ("code: irrigate, handler: ../app.x", "f.handler: '../app.x' leads out of 'irrigate'"),
        ("code: irrigate, handler: /app.x", "f.handler: '/app.x' leads out of 'irrigate'"),
        (
            "code: irrigate, handler: app.x, retry_wait: 200000w",
            "f.retry_wait: '200000w' is too big; at most 3155760000",
        ),
        ("code: irrigate, handler: app.x, retries: true", "f.retries: true is no whole number"),
    ],
)
def test_one_mistake_in_a_function_gets_one_line(folder: Path, function: str, problem: str) -> None:
    (folder / "bad.zip").write_text("no zip")
    [line] = wrong(folder, f"thing: a\nfunctions:\n  f: {{{function}}}\n")
    assert line == f"edge.yaml:3: functions.{problem}"


@pytest.mark.parametrize(
    ("device", "on", "words"),
    [
        (
            "driver: Button, pin: 1",
            "presed",
            "a Button has no event 'presed'; did you mean 'pressed'? known: pressed, released, held",
        ),
        ("driver: MotionSensor, pin: 1", "moved", "a MotionSensor has no event 'moved'; known: motion, no_motion"),
        (
            "driver: RotaryEncoder, a: 1, b: 2",
            "turned",
            "a RotaryEncoder has no event 'turned'; known: active, inactive, rotated",
        ),
        ("driver: LED, pin: 1", "on", "a LED has no event 'on'; known: none"),
    ],
)
def test_an_event_that_a_device_never_emits(folder: Path, device: str, on: str, words: str) -> None:
    [line] = wrong(
        folder,
        f"thing: a\ndevices: {{d: {{{device}}}}}\nfunctions:\n"
        f"  f: {{code: irrigate, handler: app.x, events: [{{device: d, on: {on}}}]}}",
    )
    assert line == f"edge.yaml:4: functions.f.events[0].on: {words}"


def test_two_schedules_cannot_have_one_name(folder: Path) -> None:
    text = """\
thing: a
functions:
  a: {code: irrigate, handler: app.x, events: [{schedule: rate(1 day)}, {schedule: rate(2 days)}]}
  a-2: {code: irrigate, handler: app.x, events: [{schedule: rate(1 day)}]}
"""
    assert wrong(folder, text) == [
        "edge.yaml:4: functions.a-2.events[0]: two schedules would have the name 'a-2'; rename one of their functions"
    ]


def test_too_many_subscriptions_for_aws(folder: Path) -> None:
    filters = ", ".join(f"t/{n}" for n in range(51))
    assert wrong(folder, f"thing: a\nlink: {{driver: paho, endpoint: x.amazonaws.com, down: [{filters}]}}") == [
        (
            "edge.yaml:2: link.down: 51 topic filters; AWS IoT Core allows 50 subscriptions on a connection; "
            "join filters with the wildcards + and #"
        )
    ]


def test_what_a_function_emits_upwards_must_please_aws(folder: Path) -> None:
    text = """\
thing: a
functions: {f: {code: irrigate, handler: app.x, on_success: dt/1/2/3/4/5/6/7/8}}
link: {driver: paho, endpoint: x.amazonaws.com, up: [dt/#]}
"""
    assert wrong(folder, text) == [
        "edge.yaml:2: functions.f.on_success: topic 'dt/1/2/3/4/5/6/7/8' has 8 slashes; AWS IoT Core allows 7"
    ]


def test_braces_inside_braces_get_a_hint(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"^edge.yaml:2: not valid YAML: .* but got '{'$") as caught:
        load(folder, "thing: a\nlink: {driver: paho, up: [dt/{thing}/x]}")
    assert caught.value.hint == "inside { } or [ ] put quotes around a text with {thing}"
