"""`edge standin`."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from edge_runtime.cli._common import clean
from edge_runtime.standin import certs
from edge_runtime.standin.process import Options, run
from edge_runtime.standin.quotas import Mode


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=1883, show_default=True, help="0 takes a free one.")
@click.option(
    "--tls",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Ask for client certificates, as AWS does. A set of them is made in DIR when it has none.",
)
@click.option("--quotas", type=click.Choice(get_args(Mode)), default="aws", show_default=True)
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), help="Append what is accepted to this file.")
@click.option("--control", default="", metavar="stdin|PATH", help="Where commands, such as faults, come from.")
def standin(*, host: str, port: int, tls: Path | None, quotas: Mode, record: Path | None, control: str) -> None:
    """Run a stand-in for AWS IoT Core until SIGTERM or Ctrl-C: MQTT 3.1.1 and 5 with the quotas of AWS.

    Prints {"ready":true,"port":N} when it listens.

    \b
    What differs from AWS IoT Core:
    - no policies: any client with a certificate of its CA, or none without --tls, may connect and use every topic
    - no shadows, jobs, rules, provisioning or presence events; no WebSocket
    - sessions and retained messages are gone when it ends
    - the quotas on rates count what comes in; AWS counts both directions
    - where AWS does not say how it reacts, it answers with the reason code of MQTT 5 that fits
    """  # noqa: D301 - a backspace is click's mark for lines that are not to be joined
    files = _certificates(tls) if tls else None
    if files is not None:
        client = files.client
        click.echo(
            f"a client's files: certificate {clean(client.cert)}, key {clean(client.key)}, ca {clean(client.ca)}",
            err=True,
        )
    run(Options(host, port, files.server if files else None, quotas, record, control))


def _certificates(folder: Path) -> certs.Certificates:
    """Return the set in a folder, made when it is not whole."""
    ca = folder / "ca.pem"
    sides = [certs.TlsFiles(ca, folder / f"{side}.pem", folder / f"{side}.key") for side in ("server", "client")]
    if all(file.is_file() for side in sides for file in (side.ca, side.cert, side.key)):
        return certs.Certificates(*sides)
    return certs.make(folder)
