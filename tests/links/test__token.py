"""A private key in a token (PKCS#11): a real connection through SoftHSM, and what is said when it cannot be used."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError, LinkError
from edge_runtime.links._token import Pkcs11, as_token
from edge_runtime.links.awscrt import AwscrtLink
from edge_runtime.links.paho import PahoLink
from tests.brokers import start_mosquitto
from tests.identities import Authority, put, replace
from tests.tokens import PIN, softhsm


async def refusing(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
    raise AssertionError("nothing was to come down")


def link_to(port: int, authority: Authority, certificate: Path, pkcs11: object) -> AwscrtLink:
    return AwscrtLink(
        endpoint="localhost",
        port=port,
        client_id="device",
        certificate=certificate,
        ca=authority.tls.server.ca,
        pkcs11=pkcs11,  # type: ignore[arg-type]  # as an app file gives it
        connect_timeout_s=20.0,
    )


async def test_a_key_that_never_leaves_its_token_connects(authority: Authority, tmp_path: Path) -> None:
    token, pair = softhsm(), authority.issue("in-a-token")
    token.keep("connects", pair.key)
    certificate, key = put(tmp_path / "device", pair)
    key.unlink()
    extra = "use_identity_as_username true"
    async with start_mosquitto(tmp_path, tls=authority.tls.server, extra=extra) as broker:
        link = link_to(broker.port, authority, certificate, token.settings("connects"))
        await link.connect(down=[], received=refusing)
        await link.publish("up/soil", b"41", {})
        # A second certificate for the same key: a renewal leaves the key where it is.
        again = authority.sign(_request(pair.key, tmp_path, "again"))
        replace(certificate, again)
        assert await link.renew() is True
        await link.publish("up/soil", b"42", {})
        assert [line.rpartition("u'")[2].split("'")[0] for line in broker.log if "New client" in line] == [
            "in-a-token",
            "again",
        ]
        await link.close()


def _request(key: bytes, folder: Path, name: str) -> bytes:
    from edge_runtime.cloud import _openssl  # noqa: PLC0415 - here only

    path = folder / "request.key"
    path.write_bytes(key)
    return _openssl.make_request(path, name).encode()


@pytest.mark.parametrize("wrong", ["token", "key", "module"])
async def test_what_cannot_be_used_is_said_and_no_pin_is_shown(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    caplog.set_level(logging.DEBUG)
    token, pair = softhsm(), authority.issue("in-a-token")
    token.keep(f"wrong-{wrong}", pair.key)
    certificate, _ = put(tmp_path / "device", pair)
    settings = {**token.settings(f"wrong-{wrong}"), wrong: str(certificate) if wrong == "module" else "none"}
    async with start_mosquitto(tmp_path, tls=authority.tls.server) as broker:
        link = link_to(broker.port, authority, certificate, settings)
        with pytest.raises(LinkError) as caught:
            await link.connect(down=[], received=refusing)
        await link.close()
    said = f"{caught.value} {caught.value.hint} {link!r} {caplog.text}"
    assert f"the key in the token cannot be used for localhost:{broker.port}" in said
    assert "pkcs11" in caught.value.hint
    assert PIN not in said


SCRIPT = """
import asyncio, json, sys
from edge_runtime.errors import LinkError
from edge_runtime.links.awscrt import AwscrtLink

async def main():
    link = AwscrtLink(**json.loads(sys.argv[1]))
    try:
        await link.connect(down=[], received=None)
    except LinkError as error:
        print(error, error.hint)
    await link.close()

asyncio.run(main())
"""


def test_a_wrong_pin(authority: Authority, tmp_path: Path) -> None:
    # In a process of its own: one that has logged in once stays so, whatever it says later.
    token, pair = softhsm(), authority.issue("in-a-token")
    token.keep("wrong-pin", pair.key)
    certificate, _ = put(tmp_path / "device", pair)
    pin_file = tmp_path / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text("99887766")
    settings = {
        "endpoint": "localhost",
        "client_id": "device",
        "certificate": str(certificate),
        "pkcs11": token.settings("wrong-pin", pin_file=str(pin_file)),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(settings)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("the key in the token cannot be used for localhost:8883: ")
    assert "PIN" in done.stdout
    assert "99887766" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("x", "link: pkcs11 is no mapping"),
        ({"token": "t"}, "link: pkcs11 has no module"),
        ({"module": "m.so"}, "link: pkcs11 has no token"),
        ({"module": "m.so", "token": "t", "pn": "1234"}, "link: pkcs11 has an unknown key 'pn'; did you mean 'pin'?"),
        ({"module": "m.so", "token": "t", "pin": 1234}, "link: pin of pkcs11 is no text"),
        ({"module": "m.so", "token": "t", "pin": "1234", "pin_file": "p"}, "link: pkcs11 has a pin and a pin_file"),
    ],
)
def test_mistakes(written: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        as_token(written)
    assert str(caught.value) == message
    assert "1234" not in caught.value.hint


def test_the_pin_is_not_shown() -> None:
    assert "1234" not in repr(Pkcs11(module="m.so", token="t", pin="1234"))  # noqa: S106 - a label, and a test's PIN


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (b"1234\n", 0o644, "is open to other users (644)"),
        (b"1234\n", 0o640, "is open to other users (640)"),
        (b" \n", 0o600, "holds no PIN"),
        (b"x" * 300, 0o600, "holds no PIN"),
        (b"12\x0034", 0o600, "holds no PIN"),
    ],
)
def test_a_file_that_is_no_secret_or_no_pin(tmp_path: Path, content: bytes, mode: int, message: str) -> None:
    path = tmp_path / "pin"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        Pkcs11(module="m.so", token="t", pin_file=path).read_pin()  # noqa: S106 - a label
    assert str(caught.value) == f"link: pkcs11 pin_file {path} {message}"


def test_pins(tmp_path: Path) -> None:
    path = tmp_path / "pin"
    path.touch(mode=0o600)
    path.write_text("0012\n")
    assert Pkcs11(module="m.so", token="t", pin_file=path).read_pin() == "0012"  # noqa: S106 - a label
    assert Pkcs11(module="m.so", token="t", pin="77").read_pin() == "77"  # noqa: S106 - a label, and a test's PIN
    assert Pkcs11(module="m.so", token="t").read_pin() is None  # noqa: S106 - a label
    with pytest.raises(ConfigError, match="No such file"):
        Pkcs11(module="m.so", token="t", pin_file=tmp_path / "none").read_pin()  # noqa: S106 - a label


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "link: pkcs11 is given without certificate"),
        ({"certificate": __file__, "key": __file__}, "link: key and pkcs11 are given"),
        (
            {"certificate": __file__, "pkcs11": {"module": "/no/x.so", "token": "t"}},
            "link: pkcs11 module '/no/x.so' does not exist",
        ),
    ],
)
def test_mistakes_of_the_link(more: dict[str, object], message: str) -> None:
    options = {"pkcs11": {"module": "x.so", "token": "t"}, **more}
    with pytest.raises(ConfigError) as caught:
        AwscrtLink(endpoint="e.example", client_id="garden", **options)  # type: ignore[arg-type]  # a table of options
    assert str(caught.value) == message


def test_paho_says_who_can() -> None:
    with pytest.raises(ConfigError, match="paho cannot use a key that lies in a token") as caught:
        PahoLink(
            endpoint="e.example",
            client_id="garden",
            certificate=__file__,
            pkcs11={"module": "x.so", "token": "t"},  # type: ignore[arg-type]  # as an app file gives it
        )
    assert "driver: awscrt" in caught.value.hint
