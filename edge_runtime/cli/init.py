"""`edge init`: a small app that runs on any machine."""

from __future__ import annotations

import re
from pathlib import Path

import click

from edge_runtime.cli._common import APP_FILE, say
from edge_runtime.errors import ConfigError

_APP = """\
# What this device does. Start it with: edge run
thing: @THING@

devices:
  # How busy this machine is: needs no wiring. Every class of gpiozero is a driver.
  load: {driver: LoadAverage, every: 5s, min_load_average: 0, max_load_average: 4}
  # button: {driver: Button, pin: 17}
  # lamp: {driver: LED, pin: 27}

functions:
  watch:
    code: ./watch                 # a folder or a zip, as for AWS Lambda
    handler: app.handler
    environment: {BUSY: 0.5}
    events:
      - {device: load}            # each reading
      - {topic: "cmd/watch/#"}    # try it: edge publish cmd/watch '{"detail": {"value": 0.9}}'
    on_success: dt/{thing}/watch  # the reply is emitted here

# What matches `up` waits on disk until AWS IoT Core has acknowledged it.
# link:
#   driver: awscrt
#   endpoint: xxxx-ats.iot.eu-central-1.amazonaws.com
#   certificate: certs/device.pem.crt
#   key: certs/private.pem.key
#   ca: certs/AmazonRootCA1.pem
#   up: ["dt/{thing}/#"]
#   down: ["cmd/{thing}/#"]
# queue: {limit: 256MB, when_full: drop_oldest, ttl: 30d}
"""

_HANDLER = '''\
"""Says when the machine is busy. The same file runs in AWS Lambda."""

import os

BUSY = float(os.environ.get("BUSY", "0.5"))


def handler(event, context):
    """Take a reading and return what to publish; None publishes nothing."""
    load = event["detail"]["value"]
    print(f"load is {load:.2f}")
    if load < BUSY:
        return None
    return {"busy": True, "load": load}
'''

_README = """\
# @THING@

    edge run                # start; Ctrl-C ends it, and nothing that was accepted is lost
    edge tail               # in another terminal: see the events
    edge invoke watch --event watch/event.json
    edge publish cmd/watch '{"detail": {"value": 0.9}}'
    edge status
    edge ledger             # what became of every message

`edge.yaml` says what there is; `watch/app.py` is the handler. State is kept in `.edge`.
"""

_EVENT = """\
{"detail": {"device": "load", "value": 0.9}}
"""


@click.command()
@click.argument("folder", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path), default=Path())
def init(folder: Path) -> None:
    """Write a small app to begin with, in the folder DIR or in this one.

    It runs on any Linux machine, without hardware and without a cloud. No file that exists is touched.
    """
    thing = re.sub(r"[^a-zA-Z0-9:_-]+", "-", folder.absolute().name).strip("-")[:128] or "my-thing"
    files = {
        APP_FILE: _APP,
        "watch/app.py": _HANDLER,
        "watch/event.json": _EVENT,
        "README.md": _README,
    }
    for name in files:
        if (folder / name).exists():
            raise ConfigError(
                f"{folder / name} is there already; nothing was written", hint="name another folder: edge init DIR"
            )
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text.replace("@THING@", thing))
            say(f"wrote {path}")
    except OSError as error:
        raise ConfigError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    say(f"now: {'' if folder == Path() else f'cd {folder} && '}edge run")
