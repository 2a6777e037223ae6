"""`edge standin`."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, get_args

import click

from edge_runtime.cli._common import clean, say
from edge_runtime.errors import ConfigError, HostError
from edge_runtime.standin import MOST_LINE, certs
from edge_runtime.standin.access import OnDenied
from edge_runtime.standin.quotas import Mode

SOCKET: Final = "standin.sock"
_PORT: Final = click.IntRange(0, 65_535)
_FILE: Final = click.Path(dir_okay=False, path_type=Path)


def _aliases(ctx: click.Context, param: click.Parameter, given: Sequence[str]) -> dict[str, int]:
    """Read `NAME` and `NAME=SECONDS`."""
    from edge_runtime.standin.credentials import DURATIONS_S  # noqa: PLC0415 - `tell` does not need the stand-in itself

    found: dict[str, int] = {}
    for one in given:
        name, equals, seconds = one.partition("=")
        if not name or (equals and (not seconds.isdecimal() or int(seconds) not in DURATIONS_S)):
            words = f"{one!r} must be a name, or a name = {DURATIONS_S[0]} to {DURATIONS_S[-1]} seconds"
            raise click.BadParameter(words, ctx, param)
        found[name] = int(seconds) if equals else 3600
    return found


@click.group(invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=_PORT, default=1883, show_default=True, help="For MQTT; 0 takes a free one.")
@click.option(
    "--tls",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Ask for client certificates, as AWS does. A set of them is made in DIR when it has none.",
)
@click.option("--web", type=_PORT, help="Also MQTT over WebSocket (path /mqtt) and HTTP, as AWS has it on port 443.")
@click.option("--credentials", type=_PORT, help="Also the endpoint for credentials by role alias. Needs --tls.")
@click.option(
    "--role-alias",
    "aliases",
    multiple=True,
    callback=_aliases,
    metavar="NAME[=SECONDS]",
    help="A role alias to give credentials for, 3600 seconds if nothing is said.",
)
@click.option("--registry", type=_FILE, help="Things, certificates, policies, shadows and jobs: read, and kept there.")
@click.option("--policies", is_flag=True, help="Hold clients to the policies of their certificates. Needs --tls.")
@click.option(
    "--on-denied",
    type=click.Choice(get_args(OnDenied)),
    default="disconnect",
    show_default=True,
    help="What follows a publish or subscribe that no policy allows; AWS may do either.",
)
@click.option("--quotas", type=click.Choice(get_args(Mode)), default="aws", show_default=True)
@click.option("--record", type=_FILE, help="Append what is accepted to this file.")
@click.option("--control", default="", metavar="stdin|PATH", help="Where commands come from: `edge standin tell`.")
@click.pass_context
def standin(  # noqa: PLR0913 - one for each option
    ctx: click.Context,
    *,
    host: str,
    port: int,
    tls: Path | None,
    web: int | None,
    credentials: int | None,
    aliases: dict[str, int],
    registry: Path | None,
    policies: bool,
    on_denied: OnDenied,
    quotas: Mode,
    record: Path | None,
    control: str,
) -> None:
    """Run a stand-in for AWS IoT Core until SIGTERM or Ctrl-C: MQTT 3.1.1 and 5 with the quotas of AWS, shadows, jobs,
    fleet provisioning, policies, lifecycle events and credentials.

    Prints {"ready":true,"port":N} when it listens.

    \b
    What differs from AWS IoT Core:
    - without --policies any client with a certificate of its CA, or none without --tls, may use every topic
    - policies: region and account of ARNs are not compared; a change counts at once, at AWS after 6 to 8 minutes;
      a certificate that is unknown or inactive is refused by CONNACK, at AWS the connection just ends
    - WebSocket and HTTP: SigV4 signatures and custom authorizers are not verified, and whoever names some may do
      everything; a WebSocket is not ended after 24 hours
    - credentials are made up and open nothing; there is no IAM behind them
    - rules take what is published to them and do nothing
    - no Device Defender, tunnels, file streams or fleet indexing; jobs have no rollout, abort or schedule
    - sessions and retained messages are gone when it ends; shadows, jobs and certificates too without --registry
    - QoS 1 to a client counts against its 100 publishes a second, but is never discarded; no second region or CA
    - where AWS does not say how it reacts, it answers with the reason code of MQTT 5 that fits
    """  # noqa: D205, D301 - click joins the lines; a backspace is its mark for lines that are not to be joined
    if ctx.invoked_subcommand is not None:
        return
    if tls is None and (policies or credentials is not None):
        raise click.UsageError("--policies and --credentials go by client certificates: add --tls DIR")
    files = _certificates(tls) if tls else None
    if files is not None:
        click.echo(_for_clients(files.client, policies=policies), err=True)
    server = files.server if files else None
    from edge_runtime.standin.process import Options, run  # noqa: PLC0415 - as above

    run(
        Options(
            host,
            port,
            server,
            quotas,
            record,
            control=control,
            registry=registry,
            policies=policies,
            on_denied=on_denied,
            web=web,
            credentials=credentials,
            role_aliases=aliases,
        )
    )


def _for_clients(files: certs.TlsFiles, *, policies: bool) -> str:
    """Return what a client needs to connect."""
    if policies:
        return f"a client needs: ca {clean(files.ca)}, and a certificate of its own, from: edge provision"
    return f"a client's files: certificate {clean(files.cert)}, key {clean(files.key)}, ca {clean(files.ca)}"


def _certificates(folder: Path) -> certs.Certificates:
    """Return the set in a folder, made when it is not whole."""
    ca = folder / "ca.pem"
    sides = [certs.TlsFiles(ca, folder / f"{side}.pem", folder / f"{side}.key") for side in ("server", "client")]
    if all(file.is_file() for side in sides for file in (side.ca, side.cert, side.key)):
        return certs.Certificates(*sides)
    return certs.make(folder)


@standin.command()
@click.option("--control", type=_FILE, default=Path(SOCKET), show_default=True, help="The socket of a running one.")
@click.argument("words", nargs=-1, required=True, metavar="NOUN VERB [KEY=VALUE]...")
def tell(control: Path, words: tuple[str, ...]) -> None:
    """Tell a running stand-in what to do and print its answer.

    \b
    A VALUE is a text, or JSON where it looks like it (id='"7"' is the text 7); @FILE is what is in a file. For example:
      edge standin tell thing put name=edge-1 groups='["edge"]'
      edge standin tell policy put name=device document=@policy.json
      edge standin tell template put name=fleet body=@template.json
      edge standin tell claim create template=fleet > claim.json       # for edge provision --claim claim.json
      edge standin tell shadow update thing=edge-1 state='{"desired": {"pump": "on"}}'
      edge standin tell shadow get thing=edge-1
      edge standin tell job create targets='["edge-1"]' document=@job.json id=job-1
      edge standin tell job get id=job-1
      edge standin tell cert status id=ID status=REVOKED
      edge standin tell message list topic='$aws/events/#'             # the last that passed, as AWS's test client
      edge standin tell message publish topic=edge/edge-1/down/pump payload='{"on": true}'
      edge standin tell fault freeze
      edge standin tell fault late_acks seconds=2 count=10
      edge standin tell fault clear
      edge standin tell counts
    """  # noqa: D301 - a backspace is click's mark for lines that are not to be joined
    answer = _ask(control, json.dumps(_command(words)).encode() + b"\n")
    if not answer.pop("ok", False):
        raise ConfigError(str(answer.get("error", "the stand-in gave no reason")))
    shown = next(iter(answer.values())) if len(answer) == 1 else answer or "done"
    say(shown if isinstance(shown, str) else json.dumps(shown, indent=2, ensure_ascii=False))


def _command(words: Sequence[str]) -> dict[str, object]:
    if words[0] in ("counts", "stop"):
        return {words[0]: True}
    if len(words) < 2:  # noqa: PLR2004 - a noun and a verb
        raise ConfigError(f"{words[0]!r} needs a verb", hint="edge standin tell --help")
    command: dict[str, object] = {words[0]: words[1]}
    for word in words[2:]:
        key, equals, value = word.partition("=")
        if not equals or key == words[0]:
            raise ConfigError(f"{word!r} must be KEY=VALUE", hint="edge standin tell --help")
        command[key] = _value(value)
    return command


def _value(text: str) -> object:
    """Return what a value means: JSON where it is some, else the text."""
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"{text[1:]} cannot be read: {error}") from error
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value


def _ask(path: Path, line: bytes) -> dict[str, object]:
    """Send one command and return the reply."""
    if len(line) > MOST_LINE:
        raise ConfigError(f"a command of {len(line)} bytes; a stand-in takes {MOST_LINE}")
    with socket.socket(socket.AF_UNIX) as plain:
        try:
            plain.connect(str(path))
            plain.sendall(line)
            answer = b""
            while not answer.endswith(b"\n") and (more := plain.recv(65_536)):
                answer += more
        except OSError as error:
            raise HostError(
                f"no stand-in listens on {path}: {error.strerror or error}",
                hint=f"start one with: edge standin --control {path}",
            ) from error
    found: object = json.loads(answer or b"{}")
    return dict(found) if isinstance(found, Mapping) else {}
