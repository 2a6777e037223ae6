"""A zygote with boto3 in it: what its workers find, and who gets one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Function
from edge_runtime.workers import _preload as preload
from edge_runtime.workers.pool import Pool

pytest.importorskip("boto3")

HANDLER = """
import json
import os
import sys

def handler(event, context):
    early = sorted(name for name in sys.modules if name in ("boto3", "botocore", "awscrt"))
    import boto3
    session = boto3.client("iot-data"), boto3.session.Session().client("lambda", region_name="eu-west-1")
    keys = boto3.DEFAULT_SESSION.get_credentials()
    return {
        "early": early,
        "late": "awscrt" in sys.modules,
        "regions": [client.meta.region_name for client in session],
        "keys": keys.access_key,
        "from": boto3.__file__,
        "profile": boto3.DEFAULT_SESSION.profile_name,
    }
"""
KEYS = {"AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-central-1"}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


async def results(scratch: Path, *functions: Function) -> list[Any]:
    pool = Pool({f.name: f for f in functions}, thing="t", scratch=scratch, log=lambda _name, _text: None)
    await pool.start()
    try:
        replies = [await pool.invoke(f.name, b"{}", request_id=f"r-{f.name}") for f in functions]
    finally:
        await pool.close()
    return [json.loads(reply.payload) for reply in replies]


async def test_workers_have_boto3_ready_and_nothing_of_the_hosts_in_it(tmp_path: Path) -> None:
    code = write(tmp_path / "code", {"app.py": HANDLER})
    one = Function("f", code, "app.handler", environment=KEYS, memory_mb=256, timeout_s=30.0)
    (got,) = await results(tmp_path / "pool", one)
    assert got == {
        "early": ["boto3", "botocore"],
        "late": False,
        "regions": ["eu-central-1", "eu-west-1"],
        "keys": "mine",
        "from": str(Path(preload.folder(), "boto3", "__init__.py")),
        "profile": "default",
    }


async def test_a_function_without_a_word_of_it_has_a_plain_worker_and_one_with_its_own_has_its_own(
    tmp_path: Path,
) -> None:
    look = "import sys\ndef handler(event, context):\n    return 'bo' 'to3' in sys.modules, sys.path[-1]\n"
    plain = write(tmp_path / "plain", {"app.py": look})
    own = {"app.py": "import boto3\ndef handler(e, c):\n    return boto3.MINE\n", "boto3/__init__.py": "MINE = 7"}
    vendored = write(tmp_path / "own", own)
    got = await results(
        tmp_path / "pool", Function("plain", plain, "app.handler"), Function("own", vendored, "app.handler")
    )
    assert got[0][0] is False
    assert "site-packages" not in got[0][1]
    assert got[1] == 7


async def test_a_worker_can_import_greengrasssdk_even_when_the_bundle_has_one(tmp_path: Path) -> None:
    bundle = {
        "app.py": "import greengrasssdk as g\ndef handler(e, c):\n    return g.client('iot-data').__module__\n",
        "greengrasssdk/__init__.py": "import greengrass_common",
    }
    code = write(tmp_path / "code", bundle)
    assert await results(tmp_path / "pool", Function("f", code, "app.handler")) == ["greengrasssdk._clients"]


def test_who_gets_it(tmp_path: Path) -> None:
    host = preload.folder()
    assert host in sys.path
    for number, (files, layer, wanted) in enumerate(
        [
            ({"app.py": "import json"}, {}, ""),
            ({"app.py": "from botocore.exceptions import ClientError"}, {}, host),
            ({"app.py": "import lib.cloud", "lib/cloud.py": "import boto3"}, {}, host),
            ({"app.py": "import cloud"}, {"python/cloud.py": "import boto3"}, host),
            ({"app.py": "import boto3", "boto3/__init__.py": ""}, {}, ""),
            ({"app.py": "import boto3"}, {"python/boto3/__init__.py": ""}, ""),
            ({"app.py": "import boto3"}, {"python/lib/python3.12/site-packages/botocore/__init__.py": ""}, ""),
            ({"app.js": "boto3"}, {}, ""),
        ]
    ):
        root = write(tmp_path / f"{number}", files)
        opt = write(tmp_path / f"layer-{number}", layer) if layer else None
        assert preload.packages(root, opt) == wanted, files


def test_a_boto3_that_is_broken_is_complained_of_and_no_more(tmp_path: Path) -> None:
    broken = write(tmp_path, {"boto3/__init__.py": "raise RuntimeError('half installed')"})
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import preload\n"
        "preload.boto3(sys.argv[2])\n"
        "print('awscrt' in sys.modules)\n"
    )
    inside = Path(preload.__file__).parent / "inside"
    command = [sys.executable, "-I", "-S", "-c", code, str(inside), str(broken)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert done.stderr == "boto3 cannot be made ready: RuntimeError('half installed')\n"
