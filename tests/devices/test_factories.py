"""The choice of the pin factory, on machines that are made up. No test here may depend on where it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType
from typing import Any

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory

from edge_runtime.devices import boards
from edge_runtime.devices.chips import Chip
from edge_runtime.devices.factories import (
    Choice,
    Machine,
    busy,
    choose,
    described,
    make,
    telling,
    told,
    wants_mock,
)
from edge_runtime.errors import ConfigError, NotFoundError

RP1 = Chip(0, Path("/dev/gpiochip0"), "pinctrl-rp1", 54)
BCM2711 = Chip(0, Path("/dev/gpiochip0"), "pinctrl-bcm2711", 58)
OTHER = Chip(10, Path("/dev/gpiochip10"), "gpio-brcmstb@107d508500", 32)
SHUT = Chip(0, Path("/dev/gpiochip0"), fault="/dev/gpiochip0 may not be opened by this user")
MODELS = {"pi-5": "Raspberry Pi 5 Model B Rev 1.0", "pi-4": "Raspberry Pi 4 Model B Rev 1.4"}
NATIVE = "an experiment of gpiozero's, taken only when GPIOZERO_PIN_FACTORY names it"
VENV = "in a venv made with --system-site-packages"


@dataclass
class Made:
    """A machine that is made up: `board` as its device tree says, and the versions of what is installed."""

    root: Path
    board: str = "pi-5"
    chips: list[Chip] = field(default_factory=lambda: [OTHER, RP1])
    versions: dict[str, str] = field(
        default_factory=lambda: {
            "gpiozero": "2.0.1.post3",
            "lgpio": "0.2.2.0",
            "RPi.GPIO": "0.7.1",
            "gpiod": "2.3.0",
        }
    )
    wanted: str = ""
    loaded: list[str] = field(default_factory=list)

    def machine(self) -> Machine:
        """Return what the choice looks at."""
        if self.board:
            tree = self.root / "proc/device-tree"
            tree.mkdir(parents=True, exist_ok=True)
            (tree / "model").write_text(MODELS[self.board] + "\0", encoding="ascii")
        return Machine(
            root=self.root,
            environment={"GPIOZERO_PIN_FACTORY": self.wanted} if self.wanted else {},
            find_chips=lambda: self.chips,
            version=self._version,
            load=self._load,
            holder=lambda _path, _line: "gpio-keys",
        )

    def _version(self, package: str) -> str:
        if package not in self.versions:
            raise PackageNotFoundError(package)
        return self.versions[package]

    def _load(self, module: str) -> Any:  # noqa: ANN401 - what importlib returns
        self.loaded.append(module)
        if module not in self.versions:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module.partition(".")[0])
        return ModuleType(module)


def chosen(made: Made, board: str = "", extra: Path | None = None) -> tuple[str, Chip | None, dict[str, str]]:
    found = choose(board, extra, made.machine())
    return found.name, found.chip, dict(found.refused)


def test_a_pi_5_is_driven_by_lgpio_through_the_chip_of_its_label(tmp_path: Path) -> None:
    made = Made(tmp_path)
    found = choose(machine=made.machine())
    assert (found.name, found.chip, found.refused, found.doubt) == ("lgpio", RP1, {}, "")
    assert found.board is not None
    assert found.board.name == "pi-5"
    assert described(found) == "lgpio on gpiochip0 (pinctrl-rp1)"
    old = Chip(4, Path("/dev/gpiochip4"), "pinctrl-rp1", 54)
    made.chips = [BCM2711, old]
    assert chosen(made) == ("lgpio", old, {})


def test_a_pi_4_falls_back_on_rpigpio(tmp_path: Path) -> None:
    made = Made(tmp_path, "pi-4", [BCM2711])
    assert chosen(made) == ("lgpio", BCM2711, {})
    del made.versions["lgpio"]
    missing = f"the library lgpio is missing: apt install python3-lgpio, {VENV}"
    assert chosen(made) == ("rpigpio", None, {"lgpio": missing})


def test_on_a_pi_5_nothing_else_is_taken_and_each_says_why(tmp_path: Path) -> None:
    made = Made(tmp_path)
    del made.versions["lgpio"]
    assert chosen(made) == (
        "",
        None,
        {
            "lgpio": f"the library lgpio is missing: apt install python3-lgpio, {VENV}",
            "native": "it writes to the memory of older chips and cannot reach the RP1 of a Pi 5",
            "gpiod": "for boards that are no Raspberry Pi; here lgpio does it",
            "rpigpio": "RPi.GPIO writes to the memory of older chips and cannot reach the RP1 of a Pi 5",
        },
    )
    with pytest.raises(ConfigError) as error:
        make(choose(machine=made.machine()))
    assert str(error.value) == (
        "the GPIO pins of this machine cannot be reached (lgpio: the library lgpio is missing: "
        f"apt install python3-lgpio, {VENV})"
    )
    assert error.value.hint == "run `edge run --simulate` to try the app without hardware"


@pytest.mark.parametrize(
    ("package", "version", "reason"),
    [
        (
            "lgpio",
            "0.0.0.2",
            (
                "lgpio 0.0.0.2 is empty, which pip takes where there is no wheel (Python 3.13): "
                f"pip uninstall lgpio; apt install python3-lgpio, {VENV}"
            ),
        ),
        (
            "gpiozero",
            "2.0.1",
            "gpiozero 2.0.1 takes the wrong chip of a Pi 5: pip install 'gpiozero>=2.0.1.post3'",
        ),
    ],
)
def test_libraries_that_do_not_work(tmp_path: Path, package: str, version: str, reason: str) -> None:
    made = Made(tmp_path)
    made.versions[package] = version
    assert chosen(made)[2]["lgpio"] == reason
    assert "lgpio" not in made.loaded


def test_a_library_that_cannot_be_imported(tmp_path: Path) -> None:
    def load(module: str) -> Any:  # noqa: ANN401 - what importlib returns
        raise RuntimeError(f"no FIFO for {module}")

    made = Made(tmp_path).machine()
    machine = Machine(made.root, {}, made.find_chips, made.version, load)
    assert choose(machine=machine).refused["lgpio"] == "the library lgpio cannot be used: no FIFO for lgpio"


def test_a_chip_that_may_not_be_opened_names_the_group(tmp_path: Path) -> None:
    assert chosen(Made(tmp_path, chips=[SHUT]))[2]["lgpio"] == (
        "/dev/gpiochip0 may not be opened by this user: sudo usermod -aG gpio $USER, then log in again"
    )


def test_a_wrong_board_is_told(tmp_path: Path) -> None:
    made = Made(tmp_path, "pi-4", [BCM2711])
    found = choose("pi-5", machine=made.machine())
    assert found.name == ""
    assert found.refused["lgpio"] == (
        "there is no gpiochip with the label pinctrl-rp1 (found: pinctrl-bcm2711 (gpiochip0))"
    )
    assert found.doubt == "the app is for the board pi-5, and this is Raspberry Pi 4 Model B Rev 1.4"
    with pytest.raises(ConfigError) as error:
        make(found, made.machine())
    assert error.value.hint.startswith("the app is for the board pi-5, and this is")
    with pytest.raises(NotFoundError, match="did you mean 'pi-5'"):
        choose("pi5", machine=made.machine())


def test_off_a_pi_no_line_is_taken_that_the_app_does_not_speak_of(tmp_path: Path) -> None:
    made = Made(tmp_path, "", [])
    pi = dict.fromkeys(("lgpio", "rpigpio"), "this is no Raspberry Pi")
    assert chosen(made) == ("", None, {**pi, "gpiod": "there is no /dev/gpiochip*"})
    made.chips = [Chip(0, Path("/dev/gpiochip0"), "INT34C5:00", 200)]
    why = "to use the lines of gpiochip0 (INT34C5:00) write board: generic, or a board file of your own"
    assert chosen(made) == ("", None, {**pi, "gpiod": why})
    with pytest.raises(ConfigError) as error:
        make(choose(machine=made.machine()))
    assert str(error.value) == (
        f"the GPIO pins of this machine cannot be reached (lgpio, rpigpio: this is no Raspberry Pi; gpiod: {why})"
    )


def test_other_boards_are_driven_by_gpiod(tmp_path: Path) -> None:
    made = Made(tmp_path, "", [OTHER])
    lgpio = {"lgpio": "gpiozero's lgpio drives the pins of a Raspberry Pi only"}
    assert chosen(made, "generic") == ("gpiod", OTHER, lgpio)
    made.versions["gpiod"] = "1.5.4"
    assert chosen(made, "generic")[2]["gpiod"] == (
        "gpiod 1.5.4 has another interface than 2.1: pip install 'edge-runtime[gpiod]'"
    )
    del made.versions["gpiod"]
    assert chosen(made, "generic")[2]["gpiod"] == "the library gpiod is missing: pip install 'edge-runtime[gpiod]'"


def test_a_board_of_ones_own_names_its_chip(tmp_path: Path) -> None:
    folder = tmp_path / "app/hardware/boards"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text("like = 'generic'\nchips = ['1c20800.pinctrl']", encoding="utf-8")
    made = Made(tmp_path, "", [OTHER])
    extra = tmp_path / "app"
    assert chosen(made, "mine", extra)[2]["gpiod"] == (
        "there is no gpiochip with the label 1c20800.pinctrl (found: gpio-brcmstb@107d508500 (gpiochip10))"
    )
    made.chips = [OTHER, Chip(1, Path("/dev/gpiochip1"), "1c20800.pinctrl", 224)]
    assert chosen(made, "mine", extra)[:2] == ("gpiod", made.chips[1])


def test_the_environment_names_a_factory_and_nothing_else_is_looked_at(tmp_path: Path) -> None:
    made = Made(tmp_path, "pi-4", [BCM2711], wanted="Native")
    assert chosen(made) == ("native", None, {})
    made.wanted = "gpiod"
    assert chosen(made) == ("gpiod", BCM2711, {})
    made.wanted = "rpigpio"
    assert chosen(made) == ("rpigpio", None, {})
    made.wanted = "mock"
    assert chosen(made) == ("mock", None, {})
    made = Made(tmp_path, "pi-5", wanted="rpigpio")
    found = choose(machine=made.machine())
    assert (found.name, list(found.refused)) == ("", ["rpigpio"])
    assert found.doubt == "unset GPIOZERO_PIN_FACTORY: nothing but rpigpio was looked at"


def test_the_environment_names_a_factory_for_a_pi_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "pc").mkdir()
    found = choose(machine=Made(tmp_path / "pc", "", [OTHER], wanted="lgpio").machine())
    assert (found.name, found.refused) == ("", {"lgpio": "this is no Raspberry Pi that is known"})


def test_a_factory_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        choose(machine=Made(tmp_path, wanted="lgpoi").machine())
    assert str(error.value) == "GPIOZERO_PIN_FACTORY names 'lgpoi', which is no pin factory"
    assert error.value.hint == "known: gpiod, lgpio, mock, native, pigpio, rpigpio"


def test_mock_is_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    assert wants_mock()
    assert isinstance(make(choose()), MockFactory)
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY")
    assert not wants_mock()
    assert gpiozero.Device.pin_factory is None


class Kernel(MockFactory):  # type: ignore[misc]  # gpiozero ships no types
    """A factory whose line 17 is busy, as lgpio tells it."""

    def pin(self, name: object, **more: object) -> Any:  # noqa: ANN401 - an object without types
        """Return a pin that is not busy."""
        if self.board_info.to_gpio(name) == "GPIO17":
            raise RuntimeError("'GPIO busy'")
        return super().pin(name, **more)


def test_a_busy_line_names_its_holder_and_the_usual_causes() -> None:
    asked: list[tuple[Path, int]] = []

    def holder(path: Path, line: int) -> str:
        asked.append((path, line))
        return "gpio-keys"

    factory = telling(Kernel, RP1, holder)()
    with pytest.raises(ConfigError) as error:
        gpiozero.Button("BOARD11", pin_factory=factory)
    assert str(error.value) == "GPIO17 (line of gpiochip0, pinctrl-rp1) is busy: 'gpio-keys' holds it"
    assert "end the other script, or a second host" in error.value.hint
    assert "dtparam=spi=on" in error.value.hint
    assert asked == [(RP1.path, 17)]
    gpiozero.Button(18, pin_factory=factory).close()
    with pytest.raises(gpiozero.PinInvalidPin):
        gpiozero.Button(99, pin_factory=factory)
    assert "somebody else holds it" in str(busy("GPIO17", RP1, None))
    assert "a program or driver without a name holds it" in str(busy("GPIO17", RP1, "?"))


def test_a_library_that_opens_nothing_says_so() -> None:
    def load(module: str) -> Any:  # noqa: ANN401 - what importlib returns
        raise RuntimeError(f"{module} is out of order")

    with pytest.raises(ConfigError) as error:
        make(Choice(boards.load("generic"), "gpiod", OTHER, {"lgpio": "no"}), Machine(load=load))
    assert str(error.value) == (
        "the GPIO pins of this machine cannot be reached (lgpio: no; gpiod: gpiod is out of order)"
    )


def test_reasons_that_are_the_same_stand_together() -> None:
    assert told({"a": "x", "b": "y", "c": "x"}) == "a, c: x; b: y"
    assert described(Choice(None)) == ""
    assert described(Choice(None, "rpigpio")) == "rpigpio"
