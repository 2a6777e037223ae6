"""What TLS says of clocks."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest

from edge_runtime.links._tls import explain
from edge_runtime.links.paho import PahoLink
from edge_runtime.standin import certs


@pytest.mark.parametrize(
    ("code", "said"), [(9, "certificate is not yet valid"), (10, "certificate has expired"), (19, "self-signed")]
)
def test_a_certificate_that_does_not_hold_today_makes_one_ask_for_the_clock(code: int, said: str) -> None:
    error = ssl.SSLCertVerificationError(1, "it failed")
    error.verify_code, error.verify_message = code, said
    lost = explain("broker:8883", error)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    about_today = f", as the clock of this machine says {today}" if code < 19 else ""
    assert str(lost) == f"the certificate of broker:8883 is not trusted: {said}{about_today}"
    assert "clock" in lost.hint
    assert lost.__cause__ is error


async def test_a_link_knows_from_when_on_its_certificate_holds(tmp_path: Path) -> None:
    files = certs.make(tmp_path).client
    began_s = time.time()
    link = PahoLink(endpoint="broker", client_id="d", certificate=files.cert, key=files.key)
    begin_s = await link.valid_from_s()
    assert begin_s is not None
    assert abs(begin_s - began_s) < 600
    files.cert.write_text("nothing", encoding="ascii")
    assert await link.valid_from_s() == 0.0  # the attempt to connect says what is wrong
    assert await PahoLink(endpoint="broker", client_id="d", ca=files.ca).valid_from_s() == 0.0
    assert await PahoLink(endpoint="broker", client_id="d").valid_from_s() is None
