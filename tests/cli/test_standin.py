"""standin runs as a process of its own."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

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
