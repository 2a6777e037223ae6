"""A home folder, and an app, with every sign in their paths that a shell takes for something else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.ssh.machine import Machine, debian_root
from tests.deploy.ssh.site import Site

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

HOME = '/home/Zoë\'s "new" Pi; $HOME `id` 100%'
CODE = 'say it\'s "so" $1 ü'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    machine = Machine(Path(tmp_path_factory.mktemp("machine")), debian_root(), HOME)
    machine.on()
    (folder := Path(tmp_path_factory.mktemp("site")) / "my app's ünï & co").mkdir()
    yield Site(machine, folder)
    machine.off()


def test_it_is_installed_started_and_changed_there(site: Site) -> None:
    said = '{code: "./' + CODE.replace('"', '\\"') + '", handler: app.handler}'
    site.text = f"thing: station\nfunctions: {{say: {said}}}\n"
    for word, verdict, was in (("first", "staged", ""), ("second", "runs", "1.0.0")):
        site.write(f"{CODE}/app.py", f"def handler(event, context):\n    return {word!r}\n")
        site.write(f"{CODE}/it's a file.txt", "the same in both")
        site.write("edge.yaml", site.text)
        report = site.deploy("--health", "0")
        assert (report["verdict"], report["was"]) == (verdict, was)
        if not was:
            [note] = [note for note in report["notes"] if "start it yourself" in note]
            site.machine.run(f"{note.partition('start it yourself: ')[2].split(' run ')[0]} --version")
            site.machine.start_host()
            site.await_host()
        assert site.said() == f'"{word}"'
    assert report["files_sent"] == 1
    left = site.machine.run('ls -A ~ && ls "$HOME/.local/share/edge-runtime/spool"').split("\n")
    assert sorted(name for name in left if name) == [".local", ".ssh", "lock"]
