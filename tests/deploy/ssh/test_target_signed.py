"""A device that knows keys: what one of them has signed goes in, all else is refused, and the keys are exchanged."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.ssh.site import BASE, EDGE, WHERE, Site
from tests.host.bundles import Signer

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

APP = "functions: {say: {code: ./say, handler: app.handler}}\n"
REFUSED = "is signed by none of the keys in link.jobs.keys of the app that runs"
HINT = "sign it with the right key: --key FILE of edge deploy and edge build bundle"


class Keys:
    """Who may sign, each with a key of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signers = {name: Signer(folder / name) for name in ("ann", "bob", "eve")}

    def text(self, *names: str) -> str:
        """Return an app that takes what these have signed."""
        keys = json.dumps([base64.b64encode(self._signers[name].key).decode() for name in names])
        link = f"link: {{driver: paho, endpoint: 127.0.0.1, port: 1, jobs: {{keys: {keys}}}}}\n"
        return f"thing: station\n{APP}{link if names else ''}"

    def file(self, name: str) -> Path:
        """Return a private key."""
        return self._folder / name / "key.pem"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    (folder := Path(tmp_path_factory.mktemp("keys")) / "all").mkdir()
    return Keys(folder)


def deploy(site: Site, word: str, text: str, *words: object, status: int = 0) -> dict[str, Any]:
    """Deploy an app that says a word, and return what is reported."""
    site.text = text
    site.say(word)
    return site.deploy("--health", "0", *words, status=status)


def refused(site: Site, text: str, *words: object) -> None:
    """See that it is refused in so many words, and that what runs runs on."""
    before, said = site.releases(), site.said()
    report = deploy(site, "never", text, *words, status=1)
    assert report["verdict"] == "failed"
    assert report["text"] == f"device: release.edge {REFUSED}"
    assert report["hint"] == HINT
    assert (site.releases(), site.said()) == (before, said)
    assert site.machine.run(f"ls {BASE}/spool").split() == ["lock"]


def test_a_device_without_keys_takes_the_first_and_its_keys(site: Site, keys: Keys) -> None:
    report = deploy(site, "first", keys.text("ann"))
    assert report["verdict"] == "staged"
    refused_offline = deploy(site, "never", keys.text("ann"), status=1)  # no host runs yet: the keys count already
    assert refused_offline["text"] == f"device: release.edge {REFUSED}"
    site.machine.start_host()
    assert site.await_host()["highest"] == "1.0.0"
    assert site.said() == '"first"'


def test_what_is_not_signed_is_refused(site: Site, keys: Keys) -> None:
    refused(site, keys.text("ann"))


def test_what_another_has_signed_is_refused(site: Site, keys: Keys) -> None:
    refused(site, keys.text("ann"), "--key", keys.file("eve"))
    refused(site, keys.text("eve"), "--key", keys.file("eve"))  # it does not help to bring one's own key along


def test_what_the_right_one_has_signed_goes_in(site: Site, keys: Keys) -> None:
    report = deploy(site, "second", keys.text("ann"), "--key", keys.file("ann"))
    assert (report["verdict"], report["was"], report["files_sent"]) == ("runs", "1.0.0", 1)
    assert site.said() == '"second"'


def test_a_release_exchanges_the_keys(site: Site, keys: Keys) -> None:
    report = deploy(site, "third", keys.text("bob"), "--key", keys.file("ann"))
    assert report["verdict"] == "runs"
    refused(site, keys.text("bob"), "--key", keys.file("ann"))
    report = deploy(site, "fourth", keys.text("bob"), "--key", keys.file("bob"))
    assert (report["verdict"], site.said()) == ("runs", '"fourth"')


def test_one_that_is_not_well_exchanges_nothing(site: Site, keys: Keys) -> None:
    site.text = keys.text("eve")
    site.say("ill", "import no_such_module")
    report = site.deploy("--key", keys.file("bob"), status=1)
    assert report["verdict"] == "rolled back"
    assert site.await_host()["runs"].startswith(f"{report['was']}-")
    refused(site, keys.text("eve"), "--key", keys.file("eve"))


def test_the_keys_hold_after_a_restart_of_the_device(site: Site, keys: Keys) -> None:
    site.machine.off()
    site.machine.on()
    site.machine.start_host()
    site.await_host()
    refused(site, keys.text("bob"), "--key", keys.file("ann"))
    assert deploy(site, "fifth", keys.text("bob"), "--key", keys.file("bob"))["verdict"] == "runs"
    facts = json.loads(site.machine.run(f"{EDGE} releases {WHERE} --json"))
    assert facts["trial"] is None
