"""Whom the pre-provisioning hook lets in."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HOOK = Path(__file__).parent.parent.parent.parent / "deploy" / "iot" / "hook.py"
ARN = "arn:aws:iot:eu-west-1:123456789012"
SERIALS = {"1234": False, "1235": True}


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hook_of_iot", HOOK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Iot:
    """What AWS IoT knows: things by certificate, certificates by thing."""

    def __init__(self, things: Mapping[str, Sequence[str]]) -> None:
        self._things = things

    def things_of(self, principal: str) -> Sequence[str]:
        """Return the things of a certificate."""
        return self._things.get(principal, [])

    def principals_of(self, thing: str) -> Sequence[str]:
        """Return the certificates of a thing."""
        return [principal for principal, things in self._things.items() if thing in things]


def event(serial: object, claim: str = "claim") -> dict[str, Any]:
    return {
        "claimCertificateId": claim,
        "certificateId": "new",
        "certificatePem": "-----BEGIN CERTIFICATE-----",
        "templateArn": f"{ARN}:provisioningtemplate/edge-runtime",
        "clientId": f"claim-{serial}",
        "parameters": {"SerialNumber": serial},
    }


@pytest.mark.parametrize(
    ("asked", "things", "reason"),
    [
        (event("1234"), {}, ""),
        (event("1236"), {}, "serial number 1236 is not on the list"),
        (event("12/34"), {}, "no serial number"),
        (event(None), {}, "no serial number"),
        (event(""), {}, "no serial number"),
        ({**event("1234"), "parameters": {}}, {}, "no serial number"),
        (event("1234", claim=""), {}, "the event names no claim"),
        ({**event("1234"), "templateArn": ""}, {}, "the event names no claim"),
        # A claim was stolen, and a serial number that is on the list is known.
        (event("1234"), {f"{ARN}:cert/old": ["edge-1234"]}, "edge-1234 has a certificate already"),
        (event("1235"), {f"{ARN}:cert/old": ["edge-1235"]}, ""),
        # A device replaces its own certificate, and tries to become another one.
        (event("1234", claim="old"), {f"{ARN}:cert/old": ["edge-1234"]}, ""),
        (event("1234", claim="old"), {f"{ARN}:cert/old": ["edge-1235"]}, "a device asks for the identity of edge-1234"),
        (
            event("1234", claim="old"),
            {f"{ARN}:cert/old": ["edge-1234", "edge-1235"]},
            "a device asks for the identity of edge-1234",
        ),
    ],
)
def test_who_is_let_in(
    hook: ModuleType, asked: Mapping[str, Any], things: Mapping[str, Sequence[str]], reason: str
) -> None:
    iot = Iot(things)
    assert hook.refusal(asked, SERIALS, iot.things_of, iot.principals_of) == reason


def test_the_list(hook: ModuleType) -> None:
    text = "# all of them\n1234\n\n 1235 again # its card was lost\n1236# new\r\n"
    assert hook.read_serials(text) == {"1234": False, "1235": True, "1236": False}
    assert hook.read_serials(HOOK.with_name("serials.txt").read_text(encoding="utf-8")) == {}
