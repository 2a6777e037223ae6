"""What can be written under `link:` for every link over a network, and what is said of mistakes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from edge_runtime import plugin
from edge_runtime.errors import ConfigError
from edge_runtime.links._settings import Settings
from edge_runtime.links.awscrt import AwscrtLink
from edge_runtime.links.memory import MemoryLink
from edge_runtime.links.paho import PahoLink
from edge_runtime.model import Link

PROMISED: tuple[type[Link], ...] = (AwscrtLink, MemoryLink, PahoLink)
"""For the type checker: these keep the Protocol."""

NETWORK = [name for name in plugin.names("links") if issubclass(plugin.load("links", name).LINK, Settings)]


@pytest.fixture(params=NETWORK)
def link(request: pytest.FixtureRequest) -> type[Settings]:
    found: type[Settings] = plugin.load("links", request.param).LINK
    return found


def test_the_host_finds_every_link_by_name() -> None:
    assert {plugin.load("links", name).LINK for name in plugin.names("links")} >= set(PROMISED)


def test_what_is_left_out(link: type[Settings]) -> None:
    made = link(endpoint="broker.lan", client_id="garden")
    assert {f.name: getattr(made, f.name) for f in fields(Settings)} == {
        "endpoint": "broker.lan",
        "client_id": "garden",
        "port": 0,
        "tls": None,
        "certificate": "",
        "key": "",
        "pkcs11": None,
        "ca": "",
        "username": "",
        "password": "",
        "keep_alive_s": 60,
        "session_expiry_s": 604_800,
        "connect_timeout_s": 30.0,
    }


@pytest.mark.parametrize(
    ("options", "tls", "port", "alpn"),
    [
        ({}, False, 1883, []),
        ({"port": 1884}, False, 1884, []),
        ({"port": 8883}, True, 8883, []),
        ({"port": 443}, True, 443, ["x-amzn-mqtt-ca"]),
        ({"tls": True}, True, 8883, []),
        ({"tls": True, "port": 1883}, True, 1883, []),
        ({"tls": False, "port": 8883}, False, 8883, []),
        ({"tls": False, "port": 443}, False, 443, []),
        ({"ca": __file__}, True, 8883, []),
        ({"certificate": __file__, "key": Path(__file__)}, True, 8883, []),
    ],
)
def test_port_and_tls_follow_from_each_other(
    link: type[Settings],
    options: dict[str, object],
    tls: bool,  # noqa: FBT001 - what is expected
    port: int,
    alpn: list[str],
) -> None:
    made = link(endpoint="broker.lan", client_id="garden", **options)  # type: ignore[arg-type]  # a table of options
    assert (made.use_tls, made.use_port, made.alpn) == (tls, port, alpn)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": ""}, "link: endpoint is empty"),
        ({"endpoint": "mqtts://broker.lan"}, "link: endpoint 'mqtts://broker.lan' is not a host name"),
        ({"endpoint": "broker.lan:1883"}, "link: endpoint 'broker.lan:1883' is not a host name"),
        ({"endpoint": "my broker"}, "link: endpoint 'my broker' is not a host name"),
        ({"client_id": ""}, "link: client_id is empty"),
        ({"client_id": "$aws"}, "link: client_id '$aws' begins with '$', which AWS IoT Core does not allow"),
        ({"client_id": "a\nb"}, "link: client_id 'a\\nb' holds characters that cannot be printed"),
        ({"client_id": "ä" * 65}, "link: client_id has 130 bytes; AWS IoT Core allows 128"),
        ({"port": 65536}, "link: port is 65536; it must be a number from 0 to 65535"),
        ({"port": "1883"}, "link: port is '1883'; it must be a number from 0 to 65535"),
        ({"port": 1883.5}, "link: port is 1883.5; it must be a whole number"),
        ({"port": True}, "link: port is True; it must be a number from 0 to 65535"),
        ({"keep_alive_s": 0}, "link: keep_alive_s is 0; it must be a number from 1 to 1200"),
        ({"keep_alive_s": 1201}, "link: keep_alive_s is 1201; it must be a number from 1 to 1200"),
        ({"session_expiry_s": -1}, "link: session_expiry_s is -1; it must be a number from 0 to 4294967295"),
        ({"connect_timeout_s": 0}, "link: connect_timeout_s is 0; it must be a number from 0.1 to 600"),
        ({"password": "x"}, "link: password is given without username"),
        ({"certificate": __file__}, "link: certificate is given without key"),
        ({"key": __file__}, "link: key is given without certificate"),
        ({"ca": "/no/such.pem"}, "link: ca '/no/such.pem' does not exist"),
        ({"certificate": "/no/c.pem", "key": __file__}, "link: certificate '/no/c.pem' does not exist"),
        ({"certificate": __file__, "key": "/no/k.pem"}, "link: key '/no/k.pem' does not exist"),
        ({"tls": False, "ca": __file__}, "link: tls is false, but a certificate or a CA is given"),
    ],
)
def test_mistakes(link: type[Settings], options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        link(**{"endpoint": "broker.lan", "client_id": "garden", **options})  # type: ignore[arg-type]  # as above
    assert str(caught.value) == message


def test_an_address_of_version_six_is_no_mistake(link: type[Settings]) -> None:
    assert link(endpoint="::1", client_id="garden").where == "::1:1883"


def test_a_file_that_may_not_be_read(link: type[Settings], tmp_path: Path) -> None:
    secret = tmp_path / "ca.pem"
    secret.touch(mode=0o000)
    try:
        secret.read_bytes()
    except PermissionError:
        with pytest.raises(ConfigError, match="may not be read by this user") as caught:
            link(endpoint="broker.lan", client_id="garden", ca=secret)
        assert str(secret) in caught.value.hint
    else:
        pytest.skip("this user may read every file")


def test_the_password_is_not_shown(link: type[Settings]) -> None:
    made = link(endpoint="broker.lan", client_id="garden", username="u", password="hunter2")  # noqa: S106 - a test's
    assert "hunter2" not in repr(made)


@pytest.mark.parametrize("name", plugin.names("links"))
def test_nothing_heavy_is_imported_before_connect(name: str) -> None:
    code = (
        "import sys; from edge_runtime import plugin; plugin.load('links', sys.argv[1]);"
        "print(sorted({'awscrt', '_awscrt', 'paho', 'pydantic', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
