"""The pre-provisioning hook: AWS IoT asks it before a template makes a thing.

It lets those in that stand in `serials.txt`, beside it in the zip. A claim lies on many devices and can be stolen: so
by a claim a serial number gets one certificate, unless its line says `again`. A device that has an identity may have
another one (`edge provision --rotate`), but never that of another device.

Event and answer: AWS IoT Core developer guide, "Pre-provisioning hooks".
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PREFIX = os.environ.get("THING_PREFIX", "edge-")
"""What the template puts before the serial number to make the name of the thing."""
_SERIAL = re.compile(r"[a-zA-Z0-9:_-]{1,100}")


def read_serials(text: str) -> dict[str, bool]:
    """Return the serial numbers in a list, each with whether it may get a certificate again."""
    found = {}
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if words:
            found[words[0]] = "again" in words[1:]
    return found


def refusal(
    event: Mapping[str, Any],
    serials: Mapping[str, bool],
    things_of: Callable[[str], Sequence[str]],
    principals_of: Callable[[str], Sequence[str]],
) -> str:
    """Return why a device may not be provisioned, or an empty text.

    `things_of` takes the ARN of a certificate, `principals_of` the name of a thing; both ask AWS IoT.
    """
    serial = event.get("parameters", {}).get("SerialNumber", "")
    if not isinstance(serial, str) or not _SERIAL.fullmatch(serial):
        return "no serial number"
    if serial not in serials:
        return f"serial number {serial} is not on the list"
    claim, template = event.get("claimCertificateId", ""), event.get("templateArn", "")
    if not claim or not template.startswith("arn:"):
        return "the event names no claim"
    account = ":".join(template.split(":")[:5])
    things = things_of(f"{account}:cert/{claim}")
    thing = PREFIX + serial
    if things:  # a device, and no claim
        return "" if things == [thing] else f"a device asks for the identity of {thing}"
    if principals_of(thing) and not serials[serial]:
        return f"{thing} has a certificate already"
    return ""


def handler(event: Mapping[str, Any], _context: object) -> dict[str, bool]:
    """Allow or refuse one device."""
    import boto3  # noqa: PLC0415 - only AWS has it for sure
    from botocore.exceptions import ClientError  # noqa: PLC0415 - same

    iot = boto3.client("iot")

    def things_of(principal: str) -> list[str]:
        return list(iot.list_principal_things(principal=principal)["things"])

    def principals_of(thing: str) -> list[str]:
        try:
            return list(iot.list_thing_principals(thingName=thing)["principals"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return []
            raise

    serials = read_serials(Path(__file__).with_name("serials.txt").read_text(encoding="utf-8"))
    reason = refusal(event, serials, things_of, principals_of)
    print(reason or "allowed", event.get("parameters"))  # noqa: T201 - the log of a Lambda function
    return {"allowProvisioning": not reason}
