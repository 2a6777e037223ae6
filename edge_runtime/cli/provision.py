"""`edge provision`: an identity of its own for a device."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli._common import clean, read_input, say, say_json
from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.pure.quotas import CONNECT_GAP_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.cloud.provisioning import Claim, Enrolled, Token, Who, Wish
    from edge_runtime.model import Link

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--template", metavar="NAME", help="The fleet provisioning template in AWS IoT Core.")
@click.option("--serial", metavar="S", help="The serial number of this device: the template's SerialNumber.")
@click.option("--endpoint", metavar="HOST", help="From: aws iot describe-endpoint --endpoint-type iot:Data-ATS")
@click.option("--claim", metavar="FILE|-", help="What `aws iot create-provisioning-claim` has printed; - is the input.")
@click.option("--claim-certificate", type=_FILE, help="A claim that lives longer: its certificate.")
@click.option("--claim-key", type=_FILE, help="The key of that certificate.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="Another parameter of the template. Repeatable.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("certs"), show_default=True, metavar="DIR",
    help="Where the identity is kept.",
)  # fmt: skip
@click.option("--ca", type=_FILE, help="Who must have signed the endpoint's certificate.  [default: the system's]")
@click.option("--port", type=click.IntRange(1, 65_535), default=8883, show_default=True, help="443 works as well.")
@click.option("--key", type=click.Choice(["ec", "rsa"]), default="ec", show_default=True, help="EC P-256 or RSA 2048.")
@click.option("--pkcs11", "token", multiple=True, metavar="K=V",
    help="The key is in a token: module=FILE, token=LABEL, key=LABEL, pin_file=FILE.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Make another identity by claim; the one in use stays until it serves.")
@click.option("--rotate", is_flag=True, help="Make another identity by the one in use, with the same parameters.")
@click.option("--app", type=click.Path(path_type=Path), help="Compare the result with this app file.")
@click.option(
    "--state", type=click.Path(file_okay=False, path_type=Path), default=Path(".edge"), envvar="EDGE_STATE",
    help="The state folder of a host that may be connected meanwhile.  [default: .edge]",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(1, 600), default=30.0, show_default=True, help="Seconds an answer may take."
)
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
def provision(**options: object) -> None:
    """Get this device a certificate and a thing of its own in AWS IoT Core, by claim.

    The private key is made here and never leaves; it is readable by its owner only. A run that was cut off goes on
    where it was. When all is there, nothing is changed.

    \b
    From a laptop that may use AWS, with a claim that lives for five minutes:
      aws iot create-provisioning-claim --template-name edge-runtime > claim.json
      edge provision --claim claim.json --template edge-runtime --serial 1234 --endpoint xxxx-ats.iot...
    On the device, with a claim that lies on its image:
      edge provision --claim-certificate claim.pem.crt --claim-key claim.pem.key --template ...
    Later, whenever a new certificate is wanted; a running host takes it up by itself:
      edge provision --rotate
    """  # noqa: D301 - a backspace is click's mark for lines that are not to be joined
    run = _Run(options)
    found = asyncio.run(run.enrol())
    run.show(found)


class _Run:
    """One call of the verb."""

    def __init__(self, options: Mapping[str, object]) -> None:
        """`options` are those above, by the names of click."""
        from edge_runtime.cloud import provisioning  # noqa: PLC0415 - the help of this verb does not need it

        self._options = options
        self._out: Path = _path(options["out"]) or Path("certs")
        self._plan = provisioning.plan_in(self._out) if self._out.is_dir() else {}
        self._token = _token(_pairs(options["token"], "--pkcs11"))
        self._wish: Wish = self._read_wish()

    async def enrol(self) -> Enrolled:
        """Do it. Raises: EdgeError."""
        from edge_runtime.clock import SystemClock  # noqa: PLC0415 - as above
        from edge_runtime.cloud._slots import Slots  # noqa: PLC0415 - as above
        from edge_runtime.cloud.provisioning import Enrolment  # noqa: PLC0415 - as above

        options, rotate = self._options, bool(self._options["rotate"])
        claim, prover = self._claim(), ""
        if rotate and (thing := self._host()):
            prover = f"rotate-{thing}"  # by its own name it would push the host off the broker
        timeout_s = float(str(options["timeout"]))
        with Slots(self._out) as slots:
            enrolment = Enrolment(slots, self._wish, self._dial, SystemClock(), say=self._note, timeout_s=timeout_s)
            found = await enrolment.run(claim, again=bool(options["force"]), rotate=rotate, prover=prover)
        if found.made and not prover:
            await asyncio.sleep(CONNECT_GAP_S)  # a host that is started by the next command would be refused
        return found

    def show(self, found: Enrolled) -> None:
        """Print what there is now, and what belongs into the app file."""
        link = self._link_lines(found)
        if self._options["as_json"]:
            say_json(
                {
                    "thing": found.thing,
                    "made": found.made,
                    "certificate_id": found.certificate.id,
                    "expires": found.certificate.end_s,
                    "before": found.before,
                    "configuration": found.configuration,
                    "link": link,
                }
            )
            return
        from edge_runtime.cloud.identity import day  # noqa: PLC0415 - as above

        if not found.made:
            say("all is there already, nothing was changed; a new one is made by --rotate, or by --force with a claim")
        say(f"thing        {clean(found.thing)}")
        say(f"certificate  {found.certificate.id}, holds until {day(found.certificate.end_s)}")
        if amiss := found.certificate.amiss(time.time()):
            say(f"             it {amiss}: edge provision --force with a new claim")
        if found.before and found.before != found.certificate.id:
            say(f"before       {found.before}, still active: when the device is back, run")
            say(f"             aws iot update-certificate --certificate-id {found.before} --new-status INACTIVE")
        say("\nedge.yaml:\n")
        say(f"thing: {found.thing}\nlink:")
        for name, value in link.items():
            say(f"  {name}: {value}")
        say('  up: ["edge/{thing}/up/#"]\n  down: ["edge/{thing}/down/#"]')
        if (app := _path(self._options["app"])) is not None:
            self._compare(app, found, link)

    # -- what was asked for ----------------------------------------------------------------------------------------

    def _read_wish(self) -> Wish:
        from edge_runtime.cloud.provisioning import Wish  # noqa: PLC0415 - as above

        given, plan = self._options, self._plan
        named = {name: str(given[name] or plan.get(name) or "") for name in ("template", "serial", "endpoint")}
        lacking = [f"--{name}" for name, text in named.items() if not text]
        if lacking:
            raise ConfigError(f"{', '.join(lacking)} must be given", hint="see: edge provision --help")
        parameters = _pairs(given["params"], "--param") or dict(plan.get("parameters") or {})
        kind = str(given["key"])
        return Wish(**named, parameters=parameters, key=kind, token=self._token)

    def _claim(self) -> Claim | None:
        from edge_runtime.cloud import identity  # noqa: PLC0415 - as above
        from edge_runtime.cloud.provisioning import Claim  # noqa: PLC0415 - as above

        given = self._options
        source, certificate, key = given["claim"], _path(given["claim_certificate"]), _path(given["claim_key"])
        if bool(certificate) != bool(key):
            raise ConfigError("--claim-certificate and --claim-key belong together", hint="give both")
        if source and certificate:
            raise ConfigError("--claim and --claim-certificate are two ways to say the same", hint="give one")
        if source:
            return Claim.parse(read_input(str(source)))
        if certificate is None:
            return None
        pair = identity.read(certificate, key)
        return Claim(pair.certificate, pair.key)

    def _host(self) -> str:
        """Return the thing as which a host is running here, or empty."""
        from edge_runtime import control  # noqa: PLC0415 - as above

        state = _path(self._options["state"]) or Path(".edge")
        try:
            return str(control.call(state, "status", within_s=5)["thing"]) if control.is_running(state) else ""
        except (EdgeError, KeyError) as error:
            raise ConfigError(f"a host is running, but does not answer: {error}", hint="edge status") from error

    # -- the connections -------------------------------------------------------------------------------------------

    def _dial(self, who: Who) -> Link:
        """Make a link. paho runs on every machine; only a key in a token needs awscrt."""
        from edge_runtime import plugin  # noqa: PLC0415 - as above

        settings: dict[str, object] = {
            "endpoint": self._wish.endpoint,
            "port": self._options["port"],
            "client_id": who.client_id,
            "certificate": who.certificate,
            "ca": self._options["ca"] or "",
            "connect_timeout_s": self._options["timeout"],
        }
        if who.key is not None:
            settings["key"] = who.key
        else:
            settings["pkcs11"] = dict(self._token.settings) if self._token else {}
        if not who.session:
            settings["session_expiry_s"] = 0
        link: Link = plugin.load("links", "awscrt" if who.key is None else "paho").LINK(**settings)
        return link

    # -- what is said ----------------------------------------------------------------------------------------------

    @staticmethod
    def _note(text: str) -> None:
        click.echo(clean(text), err=True)

    def _link_lines(self, found: Enrolled) -> dict[str, object]:
        """Return the link of the app file."""
        from edge_runtime.cloud._slots import CERTIFICATE, CURRENT, KEY  # noqa: PLC0415 - as above

        folder = self._out / CURRENT
        lines: dict[str, object] = {"driver": "awscrt", "endpoint": self._wish.endpoint}
        if self._options["port"] != 8883:  # noqa: PLR2004 - the default
            lines["port"] = self._options["port"]
        lines["certificate"] = str(folder / CERTIFICATE)
        if (found.slot / KEY).exists():
            lines["key"] = str(folder / KEY)
            lines["driver"] = _driver()
        elif self._token is not None:
            lines["pkcs11"] = "{" + ", ".join(f"{k}: {v}" for k, v in self._token.settings.items()) + "}"
        if self._options["ca"]:
            lines["ca"] = str(self._options["ca"])
        return lines

    @staticmethod
    def _compare(app: Path, found: Enrolled, link: Mapping[str, object]) -> None:
        """Say what an app file has otherwise."""
        from edge_runtime.cli._common import app_file  # noqa: PLC0415 - as above
        from edge_runtime.loaders import read_app  # noqa: PLC0415 - as above

        path = app_file(app)
        declared = read_app(path)
        options = declared.link.options if declared.link else {}
        wrong = [] if declared.thing == found.thing else [f"thing is {declared.thing}, not {found.thing}"]
        for name in ("endpoint", "certificate", "key"):
            want = link.get(name, "")
            has = options.get(name, "")
            if name != "endpoint" and has and want:
                same = Path(str(has)).absolute() == Path(str(want)).absolute()
            else:
                same = has == want
            if not same:
                wrong.append(f"link.{name} is {has or 'left out'}, not {want or 'left out'}")
        say("")
        for text in wrong:
            say(f"{path}: {clean(text)}")
        if not wrong:
            say(f"{path} fits")


def _path(value: object) -> Path | None:
    return value if isinstance(value, Path) else None


def _pairs(given: object, option: str) -> dict[str, str]:
    """Return `K=V` as a mapping. Raises: ConfigError."""
    found = {}
    for text in given if isinstance(given, tuple) else ():
        name, sign, value = str(text).partition("=")
        if not name or not sign:
            raise ConfigError(f"{option} {clean(text)!r} is not K=V", hint=f"write {option} NAME=VALUE")
        found[name] = value
    return found


def _token(given: Mapping[str, str]) -> Token | None:
    """Return the token that holds the key. Raises: ConfigError."""
    if not given:
        return None
    from edge_runtime.cloud.provisioning import Token  # noqa: PLC0415 - as above
    from edge_runtime.links._token import as_token  # noqa: PLC0415 - as above

    if "pin" in given:
        raise ConfigError("a PIN on the command line is seen by every user", hint="write it into a file: pin_file=FILE")
    made = as_token(given)
    if made is None or not made.key:
        raise ConfigError("--pkcs11 key=LABEL is missing", hint="list the keys: pkcs11-tool --module FILE --login -O")
    made.check_module()
    return Token(dict(given), made.read_pin() or "")


def _driver() -> str:
    """Return the link that is best on this machine."""
    from importlib.util import find_spec  # noqa: PLC0415 - as above

    return "awscrt" if find_spec("awscrt") else "paho"
