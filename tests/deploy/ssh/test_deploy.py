"""`edge deploy` to a Debian with a real sshd, and without any network."""

from __future__ import annotations

import pytest

from tests.deploy.ssh.site import Site

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_the_first_deployment_installs_runtime_and_app(site: Site) -> None:
    report = site.deploy()
    assert (report["release"], report["was"], report["verdict"]) == ("1.0.0", "", "staged")
    assert report["runtime"] == "0.1.0"
    assert report["runtime_bytes"] > 1_000_000
    assert any("no service manager of pi's runs there, so start it yourself" in note for note in report["notes"])
    site.machine.start_host()
    assert site.await_host()["highest"] == "1.0.0"
    assert site.said() == '"first"'
