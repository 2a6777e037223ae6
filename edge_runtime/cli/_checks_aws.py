"""What else the app asks of AWS: the endpoint of the role alias; and of a Greengrass nucleus, its socket."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_runtime.app import App
from edge_runtime.cli._common import duration
from edge_runtime.cli._finding import Finding
from edge_runtime.cli._rights import Right, statement
from edge_runtime.errors import ConfigError, EdgeError, LinkError, RefusedError

_SOCKET, _TOKEN = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT", "SVCUID"
_CORE_CONFIG = (Path("/etc/greengrass/config.yaml"), Path("/greengrass/v2/config/effectiveConfig.yaml"))


def credentials(app: App, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Ask for the credentials that functions get, once. They are not shown, and not kept."""
    if app.link is None or app.link.credentials is None:
        return
    from edge_runtime.cloud import credentials as lending  # noqa: PLC0415 - most apps lend none

    role, options = app.link.credentials, app.link.options
    if not role.endpoint:
        if "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in environment:
            text = "the nucleus gives them to its component alone, and this command is none"
            yield Finding("credentials", "skip", text, "edge status tells how the host does with them")
            return
        fetch = lending.token_exchange(environment)
    else:
        files = (str(options.get(name) or "") for name in ("certificate", "key", "ca"))
        fetch = lending.role_alias(role.endpoint, role.name, lending.Identity(app.thing, *files), role.port)
    try:
        loan = fetch()
    except RefusedError as error:
        right = Right("iot:AssumeRoleWithCertificate", f"rolealias/{role.name}", "credentials")
        fix = f"{error.hint}; add to the policy: {statement(right, app)}" if role.name else error.hint
        yield Finding("credentials", "fail", str(error), fix)
    except LinkError as error:
        fix = "aws iot describe-endpoint --endpoint-type iot:CredentialProvider; check the network, the clock and `ca`"
        yield Finding("credentials", "fail", str(error), fix)
    except ConfigError as error:
        yield Finding("credentials", "fail", str(error), error.hint or "see what is found about the files")
    else:
        yield Finding(
            "credentials", "ok", f"the role {role.name or 'of the core'} is lent for {duration(round(loan.life_s, -1))}"
        )


def nucleus(app: App, within_s: float, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Check the way to the nucleus: the socket is there, answers, and knows who we are."""
    if app.link is None or app.link.driver != "greengrass":
        return
    options = app.link.options
    path, component = str(options.get("socket") or environment.get(_SOCKET, "")), str(options.get("component") or "")
    if not path:
        text = "this command was not started by a nucleus, so it does not know the socket"
        fix = (
            "edge status tells how the host does; or give it the environment of the component, `socket` and `component`"
        )
        yield Finding("nucleus", "skip", text, fix)
        return
    if (wrong := _socket(Path(path))) is not None:
        yield wrong
        return
    from edge_runtime.links.greengrass import dial_nucleus  # noqa: PLC0415 - as above

    async def dial() -> None:
        async with asyncio.timeout(within_s):
            (await dial_nucleus(path, component)).close()

    who = f"as {component}" if component else "by the token of this process"
    try:
        asyncio.run(dial())
    except TimeoutError:
        text = f"the nucleus at {path} does not answer within {within_s:g} s"
        yield Finding("nucleus", "fail", text, "sudo systemctl restart greengrass (lite: greengrass-lite.target)")
    except EdgeError as error:
        yield Finding("nucleus", "fail", str(error), error.hint)
    else:
        yield Finding("nucleus", "ok", f"it answers at {path}, and knows this component {who}")


def rival(
    app: App, environment: Mapping[str, str] = os.environ, configs: tuple[Path, ...] = _CORE_CONFIG
) -> Iterator[Finding]:
    """Note a client id that something else on this machine connects with: a nucleus, or another broker of the app."""
    link = app.link
    if link is None or link.driver == "greengrass" or not link.options.get("client_id"):
        return
    client_id = str(link.options["client_id"])
    if client_id in {environment.get("AWS_IOT_THING_NAME") if _TOKEN in environment else "", *_cores(configs)}:
        text = (
            f"the nucleus of Greengrass on this machine connects as {client_id}, too: they end each other's connection"
        )
        yield Finding("client id", "fail", text, f"client_id: {client_id}-edge, or driver: greengrass")
    for broker in app.brokers:
        if broker.options.get("client_id") == client_id and broker.host == link.options.get("endpoint"):
            text = f"broker {broker.name} and the link both connect to {broker.host} as {client_id}"
            yield Finding("client id", "fail", text, f"leave client_id out at brokers.{broker.name}")


def _cores(configs: tuple[Path, ...]) -> Iterator[str]:
    """Yield the names of the cores that are configured on this machine, as far as this user may know."""
    for path in configs:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeError):
            continue  # no core, or one that keeps its configuration to itself
        yield from (
            line.partition(":")[2].strip().strip("\"'") for line in lines if line.strip().startswith("thingName:")
        )


def _socket(path: Path) -> Finding | None:
    try:
        is_socket = stat.S_ISSOCK(path.stat().st_mode)
    except FileNotFoundError:
        return Finding(
            "nucleus", "fail", f"there is no {path}: the nucleus does not run", "systemctl status 'greengrass*'"
        )
    except OSError as error:
        return Finding("nucleus", "fail", f"{path}: {error.strerror}", "run the command as the user of the component")
    if not is_socket:
        return Finding("nucleus", "fail", f"{path} is no socket", "correct `socket` under link:")
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(1)
        try:
            line.connect(str(path))
        except PermissionError:
            fix = "run the command as the user of the component"
            return Finding("nucleus", "fail", f"this user may not use {path}", fix)
        except OSError as error:
            text = f"nobody listens at {path}: {error.strerror or error}"
            return Finding("nucleus", "fail", text, "systemctl status 'greengrass*'")
    return None
