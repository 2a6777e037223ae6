"""The commands for a Snowball Edge: run with stand-ins for the programs, and held to the models that the AWS CLI has.

That is all that can be known of them without a device.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from edge_runtime.loaders import edge_yaml

HERE = Path(__file__).parents[2] / "deploy" / "snowball"
FAKE_AWS = """#!/bin/sh
{ printf '%s\\0' "$@"; printf '\\0'; } >> "$CALLS"
case " $* " in
*" get-role "*) exit 255 ;;
*" describe-import-snapshot-tasks "*SnapshotId,StatusMessage*) printf 'completed\\ts.snap-1\\tNone\\n' ;;
*" describe-import-snapshot-tasks "*) echo snap-1 ;;
*" describe-security-groups "*) echo "$GROUP" ;;
*" describe-instances "*)
    [ -z "${BROKEN-}" ] || exit 255
    ! grep -q stop-instances "$CALLS" || grep -q start-instances "$CALLS" || { echo stopped; exit; }
    echo running ;;
*" import-snapshot "*) echo s.import-snap-1 ;;
*" create-policy "*) echo arn:aws:iam::123456789012:policy/vmimport-read ;;
*" register-image "*) echo s.ami-1 ;;
*" create-security-group "*) echo s.sg-1 ;;
*" create-key-pair "*) echo PRIVATE ;;
*" run-instances "*) echo s.i-1 ;;
*" create-volume "*) echo s.vol-1 ;;
*" create-launch-template "*) echo s.lt-1 ;;
esac
"""
FAKE_SNOWBALL = """#!/bin/sh
{ printf 'snowballEdge\\0'; printf '%s\\0' "$@"; printf '\\0'; } >> "$CALLS"
[ "$1" != describe-device ] || echo '{"PhysicalNetworkInterfaces": [{"PhysicalNetworkInterfaceId" : "s.ni-1"}]}'
"""


def status_of(call: Sequence[str]) -> int:
    """Have the AWS CLI check all parameters of a call by the service's model; return its exit status. Calls nobody."""
    if "--body" in call:  # the CLI leaves that file to the garbage collector
        call = [*call[: call.index("--body")], *call[call.index("--body") + 2 :]]
    driver = pytest.importorskip("awscli.clidriver", reason="the AWS CLI is not installed").create_clidriver()
    driver.session.register("before-call", lambda **_: (SimpleNamespace(status_code=200), {}))
    return int(driver.main(list(call)))


class Run:
    """A script that was run: its output, and the calls it made."""

    def __init__(self, folder: Path, script: str, *arguments: str, **environment: str) -> None:
        programs, calls = folder / "bin", folder / "calls"
        programs.mkdir(exist_ok=True)
        for name, text in (("aws", FAKE_AWS), ("snowballEdge", FAKE_SNOWBALL)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        calls.unlink(missing_ok=True)
        path = f"{programs}:{os.defpath}"
        self.done = subprocess.run(
            ["/bin/sh", str(HERE / script), *arguments],
            env={"PATH": path, "CALLS": str(calls), "GROUP": "", **environment},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        text = calls.read_text() if calls.exists() else ""
        self.calls = [call.split("\0") for call in text.split("\0\0")[:-1]]

    def names(self) -> list[str]:
        """Return which operations were called, in order."""
        return [" ".join(call[:3] if call[1] == "wait" else call[:2]) for call in self.calls]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "edge-runtime-1.0.0-amd64.raw").write_bytes(b"image")
    (tmp_path / "user-data.sh").write_text("#!/bin/sh\necho one\n")
    return tmp_path


RUNS = {
    "order.sh": ("edge-runtime-1.0.0-amd64.raw", "my-images"),
    "import.sh": ("edge-runtime-1.0.0-amd64.raw",),
    "launch.sh": ("s.ami-1", "user-data.sh", "192.0.2.20", "192.0.2.0/24"),
    "volume.sh": ("s.i-1",),
    "autostart.sh": ("s.ami-1", "user-data.sh", "192.0.2.20"),
}


@pytest.mark.parametrize(("script", "arguments"), RUNS.items(), ids=RUNS)
def test_each_call_has_the_shape_that_the_cli_knows(
    script: str,
    arguments: tuple[str, ...],
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(files)
    for name, value in {"ACCESS_KEY_ID": "A", "SECRET_ACCESS_KEY": "s", "DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(files / "config"))
    (files / "config").write_text("[profile snow]\nregion = snow\n")
    more = {"GROUP": "s.sg-1"} if script == "autostart.sh" else {}
    run = Run(files, script, *arguments, DEVICE="192.0.2.10", **more)
    assert run.done.returncode == 0, run.done.stderr
    for call in run.calls:
        if call[0] in ("snowballEdge", "s3"):
            continue
        if call[1] == "wait":
            assert call[2] == "snapshot-imported"
            continue
        assert status_of(call) == 0, f"{call}: {capsys.readouterr().err}"


def test_the_job_has_the_shape_that_the_cli_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCESS_KEY_ID": "A", "SECRET_ACCESS_KEY": "s", "DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    assert status_of(["snowball", "create-job", "--cli-input-json", f"file://{HERE / 'job.json'}"]) == 0
    assert status_of(["snowball", "create-job", "--address-id", "too short"]) != 0
    job = json.loads((HERE / "job.json").read_text())
    model = pytest.importorskip("botocore.session").Session().get_service_model("snowball")
    members = model.operation_model("CreateJob").input_shape.members
    assert all(job[name] in members[name].enum for name in ("JobType", "SnowballType", "ShippingOption"))


def test_an_import_goes_to_the_device_and_nowhere_else(files: Path) -> None:
    run = Run(files, "import.sh", "edge-runtime-1.0.0-amd64.raw", DEVICE="192.0.2.10")
    assert run.done.stdout == "s.ami-1\n"
    assert run.names() == [
        "s3api put-object",
        "iam get-role",
        "iam create-role",
        "iam create-policy",
        "iam attach-role-policy",
        "ec2 import-snapshot",
        "ec2 describe-import-snapshot-tasks",
        "ec2 register-image",
    ]
    ports = {"s3api": 8080, "iam": 6078, "ec2": 8008}
    for call in run.calls:
        assert call[call.index("--endpoint-url") + 1] == f"http://192.0.2.10:{ports[call[0]]}"
        assert call[call.index("--region") + 1] == "snow"
    more = {"HTTPS": "1", "AWS_CA_BUNDLE": "ca.pem", "S3": "https://192.0.2.30"}
    secure = Run(files, "import.sh", "edge-runtime-1.0.0-amd64.raw", DEVICE="192.0.2.10", **more)
    found = {call[call.index("--endpoint-url") + 1] for call in secure.calls}
    assert found == {"https://192.0.2.30", "https://192.0.2.10:6089", "https://192.0.2.10:8243"}


def test_a_machine_gets_a_volume_an_address_and_is_never_deleted_by_itself(files: Path) -> None:
    run = Run(files, "launch.sh", *RUNS["launch.sh"], DEVICE="192.0.2.10")
    assert run.done.stdout == "s.i-1: ssh -i edge.pem debian@192.0.2.20\n"
    assert ((files / "edge.pem").read_text(), (files / "edge.pem").stat().st_mode & 0o777) == ("PRIVATE\n", 0o600)
    launch = next(call for call in run.calls if call[1] == "run-instances")
    assert launch[launch.index("--instance-initiated-shutdown-behavior") + 1] == "stop"
    assert json.loads(launch[launch.index("--block-device-mappings") + 1]) == [
        {"DeviceName": "/dev/sdh", "Ebs": {"DeleteOnTermination": False, "VolumeSize": 100, "VolumeType": "sbp1"}}
    ]
    (address,) = (call for call in run.calls if call[1] == "create-virtual-network-interface")
    assert address[address.index("--physical-network-interface-id") + 1] == "s.ni-1"
    assert "IpAddress=192.0.2.20,Netmask=255.255.255.0" in address
    again = Run(files, "launch.sh", *RUNS["launch.sh"], DEVICE="192.0.2.10", GROUP="s.sg-7").names()
    assert not {"ec2 create-key-pair", "ec2 create-security-group", "ec2 authorize-security-group-ingress"} & {*again}


def test_a_machine_that_runs_is_stopped_to_get_its_volume(files: Path) -> None:
    run = Run(files, "volume.sh", "s.i-1", DEVICE="192.0.2.10", SIZE_GB="20")
    assert (run.done.stdout, run.done.returncode) == ("s.i-1 with volume s.vol-1\n", 0)
    names = [name.removeprefix("ec2 ") for name in run.names() if name != "ec2 describe-instances"]
    assert names == ["create-volume", "stop-instances", "attach-volume", "start-instances"]
    assert run.calls[0][run.calls[0].index("--size") + 1] == "20"


def test_a_device_that_does_not_answer_is_not_waited_for(files: Path) -> None:
    run = Run(files, "volume.sh", "s.i-1", DEVICE="192.0.2.10", BROKEN="1")
    assert (run.done.returncode, run.done.stderr) == (1, f"{HERE / 'volume.sh'}: s.i-1 cannot be looked at\n")


def test_a_machine_starts_by_itself(files: Path) -> None:
    run = Run(files, "autostart.sh", *RUNS["autostart.sh"], DEVICE="192.0.2.10", GROUP="s.sg-1")
    (template,) = (call for call in run.calls if call[1] == "create-launch-template")
    assert json.loads(template[template.index("--launch-template-data") + 1]) == {
        "ImageId": "s.ami-1",
        "InstanceType": "sbe-c.large",
        "KeyName": "edge",
        "SecurityGroupIds": ["s.sg-1"],
        "UserData": "IyEvYmluL3NoCmVjaG8gb25lCg==",
    }
    assert run.calls[-1][:2] == ["snowballEdge", "create-autostart-configuration"]
    assert run.calls[-1][-1] == "s.lt-1"
    without = Run(files, "autostart.sh", *RUNS["autostart.sh"], DEVICE="192.0.2.10")
    assert (without.done.returncode, "there is no security group edge" in without.done.stderr) == (1, True)


@pytest.mark.parametrize("script", ["import.sh", "launch.sh", "volume.sh", "autostart.sh"])
def test_what_is_missing_is_said(script: str, files: Path) -> None:
    run = Run(files, script, "x")
    assert (run.done.returncode != 0, run.calls) == (True, [])
    assert "say the address of the device" in run.done.stderr
    run = Run(files, script, "x", "y", DEVICE="192.0.2.10")
    assert (run.done.returncode, run.calls) == (1, [])
    assert "usage: DEVICE=ADDRESS sh" in run.done.stderr
    run = Run(files, script, *RUNS[script], DEVICE="192.0.2.10", HTTPS="1")
    assert "https needs the certificate of the device" in run.done.stderr


def test_scripts_are_shell_and_policies_are_policies() -> None:
    for path in HERE.glob("*.sh"):
        subprocess.run(["/bin/sh", "-n", str(path)], check=True)
    for name in ("trust.json", "vmimport-read.json", "caller.json"):
        policy = json.loads((HERE / name).read_text())
        assert policy["Version"] == "2012-10-17"
        for statement in policy["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert all(re.fullmatch(r"(ec2|iam|s3|sts):[A-Z][A-Za-z]+", action) for action in actions)
            assert "*" not in actions


def test_user_data_finds_or_makes_the_volume(tmp_path: Path) -> None:
    """With stand-ins for all that it calls, and a file in the place of the disk: only blank ones are formatted."""
    if shutil.which("sed") is None:
        pytest.skip("no sed here")
    log, programs = tmp_path / "log", tmp_path / "bin"
    programs.mkdir()
    for name in ("blkid", "mkfs.ext4", "systemctl", "mount", "chown"):
        status = "2" if name == "blkid" else "0"
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {log}\nexit {status}\n')
        (programs / name).chmod(0o755)
    (tmp_path / "fstab").write_text("")
    script = (HERE / "user-data.sh").read_text().replace("/etc/fstab", str(tmp_path / "fstab")).replace("-b ", "-e ")
    for _ in range(2):
        command = ["/bin/sh", "-c", script, "sh", str(tmp_path / "fstab")]
        subprocess.run(command, env={"PATH": f"{programs}:{os.defpath}"}, check=True)
    assert (tmp_path / "fstab").read_text().count("LABEL=edge-data") == 1
    assert f"mkfs.ext4 -q -L edge-data {tmp_path / 'fstab'}" in log.read_text()
    assert log.read_text().splitlines()[-1] == "systemctl enable --now edge-runtime"


def test_the_example_is_an_app() -> None:
    app = edge_yaml.load(HERE / "edge.yaml")
    assert {function.name for function in app.functions} == {"tags", "snow_events"}
    text = (HERE / "edge.yaml").read_text()
    tags = yaml.safe_load(text)["functions"]["tags"]["environment"]
    assert tags["AWS_REQUEST_CHECKSUM_CALCULATION"] == tags["AWS_RESPONSE_CHECKSUM_VALIDATION"] == "when_required"
