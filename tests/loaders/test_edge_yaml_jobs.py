"""`link.jobs` in `edge.yaml`."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from edge_runtime.app import App, JobsSpec
from edge_runtime.loaders import from_json, to_json
from tests.loaders.appfile import load, wrong

KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
PEM = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
"""


def text(jobs: str, driver: str = "memory") -> str:
    return f"""\
thing: pi-7
functions:
  irrigate: {{code: ./irrigate, handler: app.handler}}
link:
  driver: {driver}
  jobs: {jobs}
"""


def spec(app: App) -> JobsSpec | None:
    assert app.link is not None
    return app.link.jobs


def test_what_jobs_may_do(folder: Path) -> None:
    (folder / "keys").mkdir()
    (folder / "keys" / "release.pem").write_text(PEM)
    own = base64.b64encode(bytes(range(32))).decode()
    app = load(folder, text(f"{{run: [irrigate], restart: yes, keys: [keys/release.pem, '{own}']}}"))
    assert spec(app) == JobsSpec(("irrigate",), restart=True, keys=(KEY, bytes(range(32)).hex()))
    assert app.files == (folder / "keys" / "release.pem",)  # a key that is exchanged is noticed
    assert from_json(to_json(app)) == app


def test_jobs_that_may_do_nothing_and_none_at_all(folder: Path) -> None:
    assert spec(load(folder, text("{}"))) == JobsSpec()
    assert spec(load(folder, text(""))) is None


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        (
            "{run: [irigate]}",
            "link.jobs.run[0]: there is no function 'irigate'; did you mean 'irrigate'? known: irrigate",
        ),
        ("{run: irrigate}", "link.jobs.run: 'irrigate' is no list; write [a, b]"),
        ("{restart: maybe}", "link.jobs.restart: 'maybe' is neither true nor false"),
        ("{shell: yes}", "link.jobs.shell: unknown key; allowed: run, restart, keys"),
        ("{keys: [gone.pem]}", "link.jobs.keys[0]: 'gone.pem' cannot be read: No such file or directory"),
        ("{keys: [~/key.pem]}", "link.jobs.keys[0]: what ~ means depends on who runs the host; write the path in full"),
        (
            "{keys: [edge.yaml]}",
            "link.jobs.keys[0]: 'edge.yaml': this is neither a PEM with a PUBLIC KEY nor the base64 of 32 bytes",
        ),
        (
            "{keys: [p]}",
            "link.jobs.keys[0]: 'p': this is a private key, which is to stay with whoever signs; give the public one",
        ),
        ("yes", "link.jobs: 'yes' is no mapping; write {key: value}"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, jobs: str, words: str) -> None:
    (folder / "p").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert wrong(folder, text(jobs)) == [f"edge.yaml:6: {words}"]


def test_jobs_and_the_nucleus_do_not_go_together(folder: Path) -> None:
    assert wrong(folder, text("{restart: yes}", "greengrass")) == [
        "edge.yaml:6: link.jobs: they cannot be told through the nucleus: deploy with Greengrass itself, or take paho"
    ]
