"""An identity by claim: what is made, what is kept, what is said, and that a run may end anywhere."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.clock import FakeClock
from edge_runtime.cloud import identity
from edge_runtime.cloud._slots import Slots
from edge_runtime.cloud.provisioning import Claim, Enrolled, Enrolment, Token, Who, Wish, plan_in
from edge_runtime.errors import ConfigError, LinkError, RefusedError, StoreError
from tests.cloud.registrar import CREATE, PROVISION, Answer, Cloud
from tests.identities import Authority
from tests.tokens import PIN, softhsm

ROOT = Path(__file__).parent.parent.parent
WISH = Wish(template="edge-runtime", serial="1234", endpoint="iot.example", parameters={"Site": "north"})
ENGINE = list(Path("/usr/lib").glob("*/engines-3/pkcs11.so"))
KEPT = {"plan.json", "private.pem.key", "device.pem.crt", "thing.json", "configuration.json"}
"""What is left of a slot in use."""


class Clock(FakeClock):
    """One that does not wait."""

    def __init__(self) -> None:
        super().__init__(1_790_000_000.0)
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Note it."""
        self.slept.append(seconds)


class Bench:
    """One folder, one cloud, and as many runs as are wanted."""

    def __init__(self, authority: Authority, folder: Path) -> None:
        self.authority = authority
        self.out = folder / "certs"
        self.cloud = Cloud(authority, folder)
        self.clock = Clock()
        self.said: list[str] = []
        pair = authority.issue("claim")
        self.claim: Claim | None = Claim(pair.certificate, pair.key)

    async def run(self, wish: Wish = WISH, **more: Any) -> Enrolled:  # noqa: ANN401 - options of `Enrolment.run`
        """Provision once."""
        with Slots(self.out) as slots:
            enrolment = Enrolment(slots, wish, self.cloud.dial, self.clock, say=self.said.append, timeout_s=0.3)
            return await enrolment.run(self.claim, **more)

    def topics(self) -> list[str]:
        """Return which requests were made, by their first letter."""
        return [{CREATE: "create", PROVISION: "provision"}[topic] for _, topic, _ in self.cloud.requests]

    def files(self, slot: str) -> set[str]:
        """Return the names of the files in a slot."""
        return {path.name for path in (self.out / slot).iterdir()}


@pytest.fixture
def bench(authority: Authority, tmp_path: Path) -> Bench:
    return Bench(authority, tmp_path)


async def test_an_identity_is_made_and_put_into_use(bench: Bench) -> None:
    found = await bench.run()
    assert (found.thing, found.made, found.before) == ("edge-1234", True, "")
    assert found.configuration == {"role_alias": "edge-runtime"}
    assert bench.files("current") == KEPT
    assert os.readlink(bench.out / "current") == "1"  # noqa: PTH115 - as it is written
    assert json.loads((bench.out / "current" / "configuration.json").read_text()) == {"role_alias": "edge-runtime"}
    pair = identity.read(bench.out / "current" / "device.pem.crt", bench.out / "current" / "private.pem.key")
    assert pair.id == found.certificate.id
    assert [who.client_id for who in bench.cloud.dialed] == ["claim-1234", "edge-1234"]
    (_, _, first), (_, _, second) = bench.cloud.requests
    assert set(first) == {"certificateSigningRequest"}, "the key stays here"
    assert second["parameters"] == {"SerialNumber": "1234", "Site": "north"}


async def test_nobody_else_can_read_the_key_whatever_the_umask(bench: Bench) -> None:
    before = os.umask(0)
    try:
        await bench.run()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (bench.out / "1").iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((bench.out / "1").stat().st_mode) == 0o700
    assert stat.S_IMODE(bench.out.stat().st_mode) == 0o700


@pytest.mark.parametrize(("kind", "words"), [("ec", "prime256v1"), ("rsa", "Public-Key: (2048 bit)")])
async def test_the_kind_of_the_key(bench: Bench, kind: str, words: str) -> None:
    await bench.run(Wish(template="edge-runtime", serial="1", endpoint="e", key=kind))
    certificate = str(bench.out / "current" / "device.pem.crt")
    shown = ["openssl", "x509", "-noout", "-text", "-subject", "-in", certificate]
    text = subprocess.run(shown, capture_output=True, text=True, check=True).stdout  # noqa: ASYNC221 - a moment
    assert words in text
    assert "CN = 1\n" in text


async def test_a_second_run_changes_nothing(bench: Bench) -> None:
    first = await bench.run()
    bench.claim = None
    again = await bench.run()
    assert again == Enrolled(first.thing, first.slot, first.certificate, first.configuration, made=False)
    assert bench.topics() == ["create", "provision"]


async def test_force_makes_another_and_the_old_one_stays_in_use_until_it_serves(bench: Bench) -> None:
    first = await bench.run()
    bench.cloud.door = lambda who: LinkError("not authorized") if who.session else None
    with pytest.raises(LinkError, match="is registered, but does not connect as edge-1234: not authorized"):
        await bench.run(again=True)
    assert bench.clock.slept == [1.0, 2.0, 4.0, 8.0, 15.0, 30.0]
    assert (bench.out / "current").resolve().name == "1"
    bench.cloud.door = lambda _: None
    bench.claim = None
    second = await bench.run(again=True)
    assert second.before == first.certificate.id != second.certificate.id
    assert bench.topics() == ["create", "provision"] * 2, "it went on where it was"
    assert (bench.out / "current").resolve().name == "2"
    assert bench.files("1") == bench.files("2") == KEPT


async def test_rotation_asks_by_the_identity_in_use_and_keeps_one_before_it(bench: Bench) -> None:
    await bench.run()
    bench.claim = None
    for turn in range(2):
        await bench.run(rotate=True, prover="rotate-edge-1234" if turn else "")
    assert [who.client_id for who in bench.cloud.dialed[2:]] == [
        "rotate-edge-1234",
        "edge-1234",
        "rotate-edge-1234",
        "rotate-edge-1234",
    ]
    assert bench.cloud.dialed[2].certificate == bench.out / "1" / "device.pem.crt"
    assert {path.name for path in bench.out.iterdir()} == {"2", "3", "current", ".lock"}
    assert plan_in(bench.out) == WISH.plan()


async def test_without_an_identity_there_is_nothing_to_rotate(bench: Bench) -> None:
    with pytest.raises(ConfigError, match="there is no identity in"):
        await bench.run(rotate=True)


async def test_a_certificate_whose_token_is_good_is_registered_again(bench: Bench) -> None:
    bench.cloud.answers[PROVISION] = lambda _: None
    with pytest.raises(LinkError, match=r"no answer on .*/provision/json within 0\.3 s") as caught:
        await bench.run()
    assert "describe-provisioning-template --template-name edge-runtime" in caught.value.hint
    key = (bench.out / "1" / "private.pem.key").read_bytes()
    bench.cloud.answers[PROVISION] = bench.cloud.provision
    bench.claim = None
    await bench.run()
    assert bench.topics() == ["create", "provision", "provision"]
    assert (bench.out / "current" / "private.pem.key").read_bytes() == key


async def test_a_token_that_is_too_old_is_not_tried(bench: Bench) -> None:
    bench.cloud.answers[PROVISION] = lambda _: None
    with pytest.raises(LinkError):
        await bench.run()
    bench.clock.jump(3400)
    bench.cloud.answers[PROVISION] = bench.cloud.provision
    await bench.run()
    assert bench.topics() == ["create", "provision", "create", "provision"]


async def test_a_token_that_aws_takes_no_more_is_replaced(bench: Bench) -> None:
    """The answer was lost after AWS had made the thing; the clock may have been wrong, so its age says nothing."""

    def deaf(body: dict[str, Any]) -> Answer | None:
        bench.cloud.provision(body)
        return None

    bench.cloud.answers[PROVISION] = deaf
    with pytest.raises(LinkError):
        await bench.run()
    bench.cloud.answers[PROVISION] = bench.cloud.provision
    found = await bench.run()
    assert bench.topics() == ["create", "provision", "provision", "create", "provision"]
    assert json.loads((bench.out / "1" / "thing.json").read_text())["certificate"] == found.certificate.id


async def test_a_key_that_was_lost_makes_the_certificate_useless(bench: Bench) -> None:
    bench.cloud.answers[PROVISION] = lambda _: None
    with pytest.raises(LinkError):
        await bench.run()
    (bench.out / "1" / "private.pem.key").unlink()
    bench.cloud.answers[PROVISION] = bench.cloud.provision
    await bench.run()
    assert bench.topics() == ["create", "provision", "create", "provision"]


async def test_a_certificate_for_another_key_is_not_taken(bench: Bench) -> None:
    other = bench.authority.issue("other")
    said = {"certificateId": "x" * 64, "certificatePem": other.certificate.decode(), "certificateOwnershipToken": "t"}
    bench.cloud.answers[CREATE] = lambda _: ("accepted", said)
    with pytest.raises(ConfigError, match="is not that of the certificate"):
        await bench.run()
    assert not (bench.out / "current").exists()
    bench.cloud.answers[CREATE] = bench.cloud.create
    await bench.run()


# -- what AWS says ---------------------------------------------------------------------------------------------------


def rejected(status: object, code: str, text: str) -> Callable[[dict[str, Any]], Answer]:
    return lambda _: ("rejected", {"statusCode": status, "errorCode": code, "errorMessage": text})


@pytest.mark.parametrize(
    ("topic", "answer", "kind", "message", "hint"),
    [
        (CREATE, rejected(400, "InvalidCertificateSigningRequest", "bad"), ConfigError,
         "InvalidCertificateSigningRequest (400): bad", "EC P-256 or RSA 2048"),
        (PROVISION, rejected(403, "AccessDenied", "denied by pre-provisioning hook"), ConfigError,
         "AccessDenied (403): denied by pre-provisioning hook", "is the serial number on its list"),
        (PROVISION, rejected(404, "ResourceNotFound", "no such template"), ConfigError,
         "ResourceNotFound (404)", "describe-provisioning-template --template-name edge-runtime"),
        (PROVISION, rejected(400, "InvalidParameters", "Site"), ConfigError, "InvalidParameters", "--param"),
        (PROVISION, rejected(400, "InvalidCertificateOwnershipToken", "no"), ConfigError, "OwnershipToken", "--param"),
        (PROVISION, rejected(429, "Throttled", "slow down"), LinkError, "Throttled (429)", "run the command again"),
        (PROVISION, rejected(503, "Internal", "oops"), LinkError, "Internal (503)", "run the command again"),
        (PROVISION, rejected(None, "Odd", ""), ConfigError, "Odd (None)", "--param"),
        (CREATE, lambda _: ("accepted", b"{"), LinkError, "is no JSON", "run the command again"),
        (CREATE, lambda _: ("accepted", []), LinkError, "is no object", "run the command again"),
        (CREATE, lambda _: ("accepted", {"certificateId": 7}), LinkError, "has no certificate in it", "again"),
        (PROVISION, lambda _: ("accepted", {"thingName": None}), ConfigError, "has made no thing", "AWS::IoT::Thing"),
        (CREATE, lambda _: None, LinkError, "no answer on $aws/certificates/create-from-csr/json", "iot:Receive"),
        (PROVISION, lambda _: LinkError("closed"), LinkError, "the connection ended before the answer", "iot:Publish"),
    ],
)  # fmt: skip
async def test_every_refusal_says_what_and_what_to_do(  # noqa: PLR0917 - the table's columns
    bench: Bench, topic: str, answer: Callable[[dict[str, Any]], Any], kind: type[Exception], message: str, hint: str
) -> None:
    bench.cloud.answers[topic] = answer
    with pytest.raises(kind) as caught:
        await bench.run()
    assert message in str(caught.value)
    assert hint in getattr(caught.value, "hint", "")
    assert not (bench.out / "current").exists()
    bench.cloud.answers = {CREATE: bench.cloud.create, PROVISION: bench.cloud.provision}
    assert (await bench.run()).thing == "edge-1234", "and nothing stands in the way of the next run"


@pytest.mark.parametrize(
    "error", [LinkError("nothing listens at iot.example:8883", hint="check `endpoint`"), RefusedError("no", code=0x87)]
)
async def test_a_door_that_is_shut(bench: Bench, error: LinkError) -> None:
    bench.cloud.door = lambda _: error
    with pytest.raises(type(error), match=str(error)) as caught:
        await bench.run()
    assert "five minutes" in caught.value.hint
    bench.cloud.door = lambda _: None
    await bench.run()


async def test_a_publish_that_is_refused(bench: Bench) -> None:
    def refuse(_: dict[str, Any]) -> Answer:
        raise RefusedError("not authorized", code=0x87)

    bench.cloud.answers[CREATE] = refuse
    with pytest.raises(ConfigError, match="does not let this claim publish") as caught:
        await bench.run()
    assert "claim-policy.json" in caught.value.hint


async def test_no_claim(bench: Bench) -> None:
    bench.claim = None
    with pytest.raises(ConfigError, match="no claim is given") as caught:
        await bench.run()
    assert "create-provisioning-claim --template-name edge-runtime" in caught.value.hint


async def test_a_claim_that_is_no_pair(bench: Bench) -> None:
    assert bench.claim is not None
    bench.claim = Claim(bench.claim.certificate, bench.authority.issue("other").key)
    with pytest.raises(ConfigError, match="is not that of the certificate"):
        await bench.run()


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"certificatePem": 1, "keyPair": {"PrivateKey": "x"}}', b"\xff"])
def test_a_claim_that_is_not_what_aws_prints(text: bytes) -> None:
    with pytest.raises(ConfigError, match="the claim is not what AWS prints"):
        Claim.parse(text)


def test_a_claim_as_aws_prints_it() -> None:
    said = {"certificateId": "c", "certificatePem": "PEM", "keyPair": {"PublicKey": "P", "PrivateKey": "S"}}
    claim = Claim.parse(json.dumps({**said, "expiration": 1_700_000_000}).encode())
    assert (claim.certificate, claim.key) == (b"PEM", b"S")
    assert "S'" not in repr(claim)


@pytest.mark.parametrize(("serial", "template"), [("12/34", "t"), ("", "t"), ("x" * 101, "t"), ("1", "a+b")])
def test_names_that_aws_would_not_take(serial: str, template: str) -> None:
    with pytest.raises(ConfigError, match="signs that a thing may not have"):
        Wish(template=template, serial=serial, endpoint="e")


# -- the disk --------------------------------------------------------------------------------------------------------


async def test_an_unfinished_one_for_something_else(bench: Bench) -> None:
    bench.cloud.answers[PROVISION] = lambda _: None
    with pytest.raises(LinkError):
        await bench.run()
    bench.cloud.answers[PROVISION] = bench.cloud.provision
    other = Wish(template="edge-runtime", serial="1235", endpoint="iot.example")
    with pytest.raises(ConfigError, match=r"was begun with serial '1234', parameters \{'Site': 'north'\}"):
        await bench.run(other)
    assert (await bench.run(other, again=True)).thing == "edge-1235"


@pytest.mark.parametrize("name", ["private.pem.key", "device.pem.crt", "thing.json"])
async def test_a_link_in_the_way_is_not_followed(bench: Bench, tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    bench.cloud.answers[CREATE] = lambda _: None
    with pytest.raises(LinkError):
        await bench.run()
    (bench.out / "1" / name).unlink(missing_ok=True)
    (bench.out / "1" / name).symlink_to(target)
    bench.cloud.answers[CREATE] = bench.cloud.create
    if name == "device.pem.crt":  # is written anew, in the place of the link
        await bench.run()
        assert not (bench.out / "1" / name).is_symlink()
    else:
        with pytest.raises(ConfigError, match="is no plain file"):
            await bench.run()
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("what", ["file", "link", "elsewhere"])
async def test_something_else_in_the_place_of_a_slot(bench: Bench, tmp_path: Path, what: str) -> None:
    bench.out.mkdir()
    if what == "file":
        (bench.out / "1").touch()
    elif what == "link":
        (bench.out / "1").symlink_to(tmp_path)
    else:
        (bench.out / "current").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match=r"is in the way|does not lead to a slot"):
        await bench.run()


async def test_a_key_that_others_could_have_read_is_not_used(bench: Bench) -> None:
    bench.cloud.answers[CREATE] = lambda _: None
    with pytest.raises(LinkError):
        await bench.run()
    (bench.out / "1" / "private.pem.key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"could have been read by other users \(644\)"):
        await bench.run()


async def test_a_folder_that_others_may_write_to(bench: Bench) -> None:
    bench.out.mkdir()
    bench.out.chmod(0o777)
    with pytest.raises(ConfigError, match="other users may write into") as caught:
        await bench.run()
    assert "chmod 700" in caught.value.hint


async def test_a_folder_that_is_a_file(bench: Bench) -> None:
    bench.out.touch()
    with pytest.raises(StoreError, match="cannot be used: File exists"):
        await bench.run()


async def test_two_at_once(bench: Bench) -> None:
    with Slots(bench.out), pytest.raises(ConfigError, match="somebody else is provisioning"):
        await bench.run()
    await bench.run()


async def test_an_identity_that_was_damaged(bench: Bench) -> None:
    await bench.run()
    (bench.out / "1" / "device.pem.crt").write_bytes(b"\x00" * 100)
    with pytest.raises(ConfigError, match="there is no certificate in PEM form"):
        await bench.run()


# -- a token ---------------------------------------------------------------------------------------------------------


async def test_a_key_in_a_token_signs_the_request_and_no_key_is_written(bench: Bench) -> None:
    token = softhsm()
    if not ENGINE:
        pytest.skip("OpenSSL has no PKCS#11 engine (apt-get install libengine-pkcs11-openssl)")
    key = bench.authority.issue("in-a-token").key
    token.keep("provisioned key", key)
    settings = {name: str(value) for name, value in token.settings("provisioned key").items()}
    wish = Wish(template="edge-runtime", serial="77", endpoint="e", token=Token(settings, PIN))
    found = await bench.run(wish)
    assert bench.files("current") == KEPT - {"private.pem.key"}
    assert bench.cloud.dialed[-1] == Who(
        client_id="edge-77", certificate=bench.out / "1" / "device.pem.crt", key=None, session=True
    )
    (bench.out / "key").write_bytes(key)
    assert identity.read(bench.out / "1" / "device.pem.crt", bench.out / "key").id == found.certificate.id
    assert not any(PIN in line for line in bench.said)
    assert PIN not in (bench.out / "1" / "plan.json").read_text()

    wrong = Wish(template="edge-runtime", serial="77", endpoint="e", token=Token(settings, "99887766"))
    with pytest.raises(ConfigError, match="the signing request could not be made") as caught:
        await bench.run(wrong, again=True)
    assert "99887766" not in f"{caught.value} {caught.value.hint}"


# -- the end of a run, anywhere --------------------------------------------------------------------------------------


def campaign(folder: Path, authority: Authority, how: str) -> list[dict[str, Any]]:
    """Let a run end at each of its steps in turn, each followed by one that may finish; return what was found."""
    script = Path(__file__).with_name("provision_subject.py")
    ca = authority.tls.server.ca
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(ca), how],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.long
@pytest.mark.parametrize("how", ["first", "force"])
def test_a_run_may_be_killed_at_every_step(tmp_path: Path, authority: Authority, how: str) -> None:
    lives = campaign(tmp_path, authority, how)
    assert len(lives) > 15, "so many steps reach the disk"
    for life in lives:
        assert life["after"] in {"whole", "none"}, f"what `current` leads to is whole, or not there: {life}"
        assert life["thing"] == "edge-1234"
        assert life["pair"] is True
        assert life["key_kept"] is True, "a key that was made is used"
        assert life["left"] == sorted(KEPT)
        assert life["unfinished"] is False
    assert not lives[-1]["killed"], "the last run was long enough to finish by itself"


@pytest.mark.long
def test_a_disk_that_is_full_at_every_step(tmp_path: Path, authority: Authority) -> None:
    lives = campaign(tmp_path, authority, "full")
    assert {life["error"] for life in lives[:-1]} == {"StoreError"}
    for life in lives:
        assert life["after"] in {"whole", "none"}
        assert life["thing"] == "edge-1234"
        assert life["left"] == sorted(KEPT)
