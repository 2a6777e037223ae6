"""standin runs as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_runtime.cli.standin import standin

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "edge_runtime", "standin", "--port", "0", "--control", "stdin"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def test_it_listens_until_its_input_ends(tmp_path: Path) -> None:
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path, env=ENVIRONMENT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", ready["port"])):
            pass
        process.stdin.close()
        assert process.wait(30) == 0


def test_with_tls_it_makes_certificates_and_asks_for_one(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "--tls", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        port = json.loads(process.stdout.readline())["port"]
        assert process.stderr.readline() == (
            f"a client's files: certificate {tmp_path}/client.pem, key {tmp_path}/client.key, ca {tmp_path}/ca.pem\n"
        )
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        context.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            assert secure.version() in {"TLSv1.2", "TLSv1.3"}
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize("option", [["--quotas", "many"], ["--port", "70000"]])
def test_a_wrong_option_is_a_usage_error(option: list[str]) -> None:
    ran = subprocess.run([*COMMAND, *option], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert ran.returncode == 2
    assert option[0] in ran.stderr


def edge(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command and return what it said."""
    command = [sys.executable, "-m", "edge_runtime", "standin", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=60)


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[dict[str, object]]:
    """Run a stand-in and yield its ready line."""
    command = [sys.executable, "-m", "edge_runtime", "standin", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()
            assert process.wait(30) == 0


def test_a_whole_account_on_one_machine(tmp_path: Path) -> None:
    control, registry = str(tmp_path / "sock"), tmp_path / "account.json"
    options = ("--tls", str(tmp_path / "certs"), "--web", "0", "--credentials", "0", "--role-alias", "edge=900")
    with running(*options, "--policies", "--registry", str(registry), "--control", control) as ready:
        assert list(ready) == ["ready", "port", "web", "credentials"]

        def tell(*words: str) -> object:
            done = edge("tell", "--control", control, *words)
            assert done.returncode == 0, done.stderr
            return done.stdout.strip() if done.stdout == "done\n" else json.loads(done.stdout)

        document = tmp_path / "policy.json"
        document.write_text(
            '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'
        )
        assert tell("policy", "put", "name=all", f"document=@{document}") == "done"
        thing = tell("thing", "put", "name=edge-1", 'groups=["edge"]')
        assert thing == {"name": "edge-1", "attributes": {}, "groups": ["edge"], "type": ""}
        changed = tell("shadow", "update", "thing=edge-1", 'state={"desired": {"pump": "on"}}')
        assert isinstance(changed, dict)
        assert changed["version"] == 1
        job = tell("job", "create", 'targets=["edge-1"]', 'document={"operation": "edge.restart"}', 'id="7"')
        assert isinstance(job, dict)
        assert (job["id"], job["executions"]["edge-1"]["status"]) == ("7", "QUEUED")
        assert tell("fault", "freeze") == "done"
        counts = tell("counts")
        assert isinstance(counts, dict)
        assert counts["refusals"] == []
    kept = json.loads(registry.read_text(encoding="utf-8"))
    assert kept["role_aliases"]["edge"]["duration_s"] == 900
    assert "all" in kept["policies"]
    assert "7" in json.dumps(kept["jobs"])


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("fault",), "'fault' needs a verb"),
        (("shadow", "get", "edge-1"), "'edge-1' must be KEY=VALUE"),
        (("shadow", "get", "shadow=edge-1"), "'shadow=edge-1' must be KEY=VALUE"),
        (("policy", "put", "document=@/nowhere"), "/nowhere cannot be read"),
        (("shadow", "update", "state=" + "x" * 300_000), "a stand-in takes 262144"),
        (("counts",), "no stand-in listens on"),
    ],
)
def test_what_cannot_be_told(words: tuple[str, ...], error: str, tmp_path: Path) -> None:
    ran = CliRunner().invoke(standin, ["tell", "--control", str(tmp_path / "none"), *words])
    assert ran.exit_code != 0
    assert error in f"{ran.output}{ran.exception}"


def test_a_mistake_in_a_command_is_an_error_with_its_reason(tmp_path: Path) -> None:
    control = str(tmp_path / "sock")
    with running("--control", control):
        done = edge("tell", "--control", control, "shadow", "get", "thing=nobody")
    assert done.returncode == 1
    assert "404" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--policies"], "add --tls DIR"),
        (["--credentials", "0"], "add --tls DIR"),
        (["--role-alias", "edge=5"], "900 to 43200 seconds"),
        (["--role-alias", "=900"], "must be a name"),
    ],
)
def test_options_that_cannot_be(options: list[str], words: str) -> None:
    ran = CliRunner().invoke(standin, options)
    assert ran.exit_code == 2
    assert words in ran.output


def test_its_help_says_how_it_differs_from_aws() -> None:
    text = CliRunner().invoke(standin, ["--help"]).output
    assert "What differs from AWS IoT Core:" in text
    assert "edge standin tell claim create" in CliRunner().invoke(standin, ["tell", "--help"]).output
