"""`edge provision` against a stand-in with the policies and the template of deploy/iot."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_runtime import plugin
from edge_runtime.cli import cli
from edge_runtime.errors import LinkError
from edge_runtime.links.paho import PahoLink
from edge_runtime.standin.registry import Status
from tests.fleet import Fleet, start_fleet
from tests.tokens import softhsm


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with start_fleet(tmp_path) as started:
        yield started


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "certs"


async def edge(*arguments: object, stdin: str = "") -> Result:
    """Run `edge provision` beside the stand-in."""
    words = ["provision", *map(str, arguments)]
    return await asyncio.to_thread(CliRunner().invoke, cli, words, stdin)


async def first(fleet: Fleet, out: Path, *more: object) -> Result:
    """Provision by a claim that comes through a pipe."""
    claim = await asyncio.to_thread(fleet.claim)
    return await edge(*fleet.arguments, "--out", out, "--claim", "-", *more, stdin=claim)


def device(fleet: Fleet, out: Path, name: str = "edge-1234") -> PahoLink:
    """Return a link with the identity that was made, as edge.yaml would have it."""
    link: PahoLink = plugin.load("links", "paho").LINK(
        endpoint="localhost",
        port=fleet.port,
        ca=fleet.ca,
        client_id=name,
        certificate=out / "current" / "device.pem.crt",
        key=out / "current" / "private.pem.key",
    )
    return link


async def nothing(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
    """Store nothing."""


async def test_a_device_gets_an_identity_with_which_it_may_do_its_work(fleet: Fleet, out: Path) -> None:
    done = await first(fleet, out, "--param", "Unused=1")
    assert done.exit_code == 0, done.output
    assert "thing        edge-1234\n" in done.stdout
    lines = done.stdout.splitlines()
    assert lines[lines.index("thing: edge-1234") :] == [
        "thing: edge-1234",
        "link:",
        "  driver: awscrt",
        "  endpoint: localhost",
        f"  port: {fleet.port}",
        f"  certificate: {out / 'current' / 'device.pem.crt'}",
        f"  key: {out / 'current' / 'private.pem.key'}",
        f"  ca: {fleet.ca}",
        '  up: ["edge/{thing}/up/#"]',
        '  down: ["edge/{thing}/down/#"]',
    ]
    link = device(fleet, out)
    down = ["edge/edge-1234/down/#", "$aws/things/edge-1234/shadow/name/edge/+/accepted"]
    await link.connect(down=down, received=nothing)
    await link.publish("edge/edge-1234/up/soil", b"41", {})
    await link.close()
    assert [one.topic for one in fleet.standin.record][-1] == "edge/edge-1234/up/soil"
    thing = fleet.standin.registry.things["edge-1234"]
    assert (thing.attributes, thing.groups) == ({"serial": "1234"}, ("edge-runtime",))

    with pytest.raises(LinkError):
        await device(fleet, out, "edge-1235").connect(down=[], received=nothing)

    again = await edge("--out", out)
    assert again.exit_code == 0, again.output
    assert again.stdout.startswith("all is there already, nothing was changed")
    assert len(fleet.standin.registry.things) == 1


async def test_a_host_that_is_started_at_once_is_not_refused(tmp_path: Path, out: Path) -> None:
    async with start_fleet(tmp_path, quotas="aws") as fleet:  # one connection a second for a client id
        done = await first(fleet, out)
        assert done.exit_code == 0, done.output
        link = device(fleet, out)
        await link.connect(down=[], received=nothing)
        await link.close()


async def test_a_claim_that_lives_longer(fleet: Fleet, out: Path, tmp_path: Path) -> None:
    claim = await asyncio.to_thread(fleet.long_claim, tmp_path)
    done = await edge(*fleet.arguments, "--out", out, *claim, "--json", "--key", "rsa")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["thing"], said["made"], said["before"]) == ("edge-1234", True, "")
    assert said["configuration"] == {"role_alias": "edge-runtime"}
    assert fleet.standin.registry.certificates[said["certificate_id"]].status is Status.ACTIVE
    assert (tmp_path / "claim.pem.key").exists(), "it is the user's own"
    left = await asyncio.to_thread(lambda: [path.name for path in out.glob("*/claim*")])
    assert left == [], "of ours nothing is left"


async def test_rotation_by_the_identity_in_use(fleet: Fleet, out: Path) -> None:
    assert (await first(fleet, out)).exit_code == 0
    (old,) = [one.id for one in fleet.standin.registry.certificates.values() if one.things]
    where = ["--port", fleet.port, "--ca", fleet.ca]
    done = await edge("--out", out, "--rotate", *where)
    assert done.exit_code == 0, done.output
    assert f"aws iot update-certificate --certificate-id {old} --new-status INACTIVE" in done.stdout
    fleet.standin.registry.set_status(old, Status.INACTIVE)
    link = device(fleet, out)
    await link.connect(down=["edge/edge-1234/down/#"], received=nothing)
    await link.publish("edge/edge-1234/up/soil", b"41", {})
    await link.close()


async def test_a_link_that_stands_goes_over_to_what_was_rotated(fleet: Fleet, out: Path) -> None:
    assert (await first(fleet, out)).exit_code == 0
    link = device(fleet, out)
    await link.connect(down=["edge/edge-1234/down/#"], received=nothing)
    lost = asyncio.create_task(link.lost())
    # The proof is made as the thing itself here, for no host says that it runs: the broker lets this link go.
    assert (await edge("--out", out, "--rotate", "--port", fleet.port, "--ca", fleet.ca)).exit_code == 0
    await lost
    await link.connect(down=["edge/edge-1234/down/#"], received=nothing)
    (old, new) = [one.id for one in fleet.standin.registry.certificates.values() if one.things]
    assert link._shown is not None
    assert link._shown.id == new != old
    await link.close()


async def test_the_hook_says_no(fleet: Fleet, out: Path) -> None:
    fleet.standin.provisioning.hooks["edge-runtime"] = lambda _: {"allowProvisioning": False}
    done = await first(fleet, out)
    assert done.exit_code == 1
    assert "AccessDenied (403)" in done.stderr
    assert "is the serial number on its list?" in done.stderr
    del fleet.standin.provisioning.hooks["edge-runtime"]
    done = await edge(*fleet.arguments, "--out", out)
    assert done.exit_code == 0, "the claim is still good, and kept: " + done.output


async def test_a_template_that_is_not_there(fleet: Fleet, out: Path, tmp_path: Path) -> None:
    claim = await asyncio.to_thread(fleet.long_claim, tmp_path)
    arguments = [word if word != "edge-runtime" else "edge-runtme" for word in fleet.arguments]
    done = await edge(*arguments, "--out", out, *claim)
    assert done.exit_code == 1
    assert "edge-runtme" in done.stderr, "the claim's policy is for one template only"
    assert "hint:" in done.stderr


async def test_a_claim_that_is_over(fleet: Fleet, out: Path) -> None:
    claim = await asyncio.to_thread(fleet.claim)
    fleet.standin.registry.set_status(json.loads(claim)["certificateId"], Status.INACTIVE)
    done = await edge(*fleet.arguments, "--out", out, "--claim", "-", "--timeout", "10", stdin=claim)
    assert done.exit_code == 1
    assert "lives for five minutes" in done.stderr


async def test_no_network(out: Path, tmp_path: Path) -> None:
    (tmp_path / "claim.json").write_text("{}")
    arguments = ["--template", "t", "--serial", "1", "--endpoint", "no-such-endpoint.invalid", "--out", out]
    done = await edge(*arguments, "--claim", tmp_path / "claim.json")
    assert done.exit_code == 1
    assert "the claim is not what AWS prints" in done.stderr


async def test_a_name_that_cannot_be_resolved(fleet: Fleet, out: Path) -> None:
    claim = await asyncio.to_thread(fleet.claim)
    arguments = [word if word != "localhost" else "no-such-endpoint.invalid" for word in fleet.arguments]
    done = await edge(*arguments, "--out", out, "--claim", "-", stdin=claim)
    assert done.exit_code == 1
    assert "the name 'no-such-endpoint.invalid' cannot be resolved" in done.stderr
    assert (out / "1" / "private.pem.key").exists(), "what was made is kept"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--template, --serial, --endpoint must be given"),
        (["--template", "t", "--endpoint", "e"], "--serial must be given"),
        (["--template", "t", "--serial", "1", "--endpoint", "e"], "no claim is given"),
        (["--template", "t", "--serial", "1", "--endpoint", "e", "--param", "x"], "--param 'x' is not K=V"),
        (
            ["--template", "t", "--serial", "1", "--endpoint", "e", "--claim-key", "x"],
            "--claim-certificate and --claim-key belong together",
        ),
        (
            ["--template", "t", "--serial", "1", "--endpoint", "e", "--claim", "-", "--claim-key", "x"],
            "--claim-certificate and --claim-key belong together",
        ),
        (
            ["--template", "t", "--serial", "1", "--endpoint", "e", "--pkcs11", "pin=1234"],
            "a PIN on the command line is seen by every user",
        ),
        (
            ["--template", "t", "--serial", "1", "--endpoint", "e", "--pkcs11", "module=x", "--pkcs11", "token=t"],
            "--pkcs11 key=LABEL is missing",
        ),
        (["--template", "t", "--serial", "1", "--endpoint", "e", "--rotate"], "there is no identity in"),
    ],
)
async def test_mistakes(out: Path, arguments: list[str], message: str) -> None:
    done = await edge(*arguments, "--out", out)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {message}")
    assert "hint: " in done.stderr


async def test_what_the_app_file_has_otherwise(fleet: Fleet, out: Path, tmp_path: Path) -> None:
    app = tmp_path / "edge.yaml"
    link = f"driver: paho, endpoint: localhost, certificate: {out}/current/device.pem.crt, key: certs/old.key"
    app.write_text(f"thing: garden\nlink: {{{link}}}\n")
    done = await first(fleet, out, "--app", app)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-2:] == [
        f"{app}: thing is garden, not edge-1234",
        f"{app}: link.key is {out}/old.key, not {out}/current/private.pem.key",
    ]
    app.write_text(app.read_text().replace("garden", "edge-1234").replace("certs/old", "certs/current/private.pem"))
    done = await edge("--out", out, "--app", app)
    assert done.stdout.splitlines()[-1] == f"{app} fits"


async def test_a_key_in_a_token(fleet: Fleet, out: Path) -> None:
    token = softhsm()
    if not list(Path("/usr/lib").glob("*/engines-3/pkcs11.so")):  # noqa: ASYNC240 - a moment
        pytest.skip("OpenSSL has no PKCS#11 engine (apt-get install libengine-pkcs11-openssl)")
    from edge_runtime.cloud import _openssl  # noqa: PLC0415 - here only

    token.keep("of the fleet", _openssl.make_key("ec"))
    settings = [
        word for pair in token.settings("of the fleet").items() for word in ("--pkcs11", "=".join(map(str, pair)))
    ]
    done = await first(fleet, out, *settings)
    assert done.exit_code == 0, done.output
    assert "  pkcs11: {module: " in done.stdout
    assert "  key:" not in done.stdout
    assert not (out / "current" / "private.pem.key").exists()
