"""A plan as text: the same everywhere, and without what is secret or endless."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.building.plan import Copy, Plan, Remote, Remove, Run, Wheels, Write, shown

OUT, SOURCE = Path("/tmp/x/out"), Path("/tmp/x")  # noqa: S108 - nothing is written
PLAN = Plan(
    "greengrass",
    (
        Remove(OUT),
        Write(OUT / "recipe.yaml", b"RecipeFormatVersion", 0o600),
        Copy(SOURCE / "install.sh", OUT / "install.sh", 0o755),
        Copy(SOURCE / "app", OUT / "app"),
        Run(("dpkg-deb", "--build", "a b"), SOURCE, {"LANG": "C", "SOURCE_DATE_EPOCH": "0"}, b"yes"),
        Run(("true",)),
        Wheels(SOURCE / "aarch64.txt", OUT / "wheels", "aarch64", ("3.11", "3.13")),
    ),
    (OUT / "runtime.zip",),
)


def test_a_plan_is_shown_a_step_a_line() -> None:
    assert shown(PLAN, {OUT: "OUT", SOURCE: "SOURCE"}).splitlines() == [
        "target greengrass",
        "remove OUT",
        "write OUT/recipe.yaml 600 19 bytes",
        "copy SOURCE/install.sh to OUT/install.sh 755",
        "copy SOURCE/app to OUT/app",
        "run LANG=C SOURCE_DATE_EPOCH=0 dpkg-deb --build 'a b' in SOURCE with 3 bytes of input",
        "run true",
        "wheels SOURCE/aarch64.txt for aarch64, Python 3.11 3.13, into OUT/wheels",
        "result OUT/runtime.zip",
    ]


def test_a_step_on_another_machine_is_shown_with_its_script() -> None:
    step = Remote("pi@device", "installing", "set -eu\ncat >part\n", "root", Path("/srv/x.edge"))
    bare = Remote("pi@device", "starting", "true")
    assert shown(Plan("ssh", (step, bare))) == (
        "target ssh\n"
        "on pi@device as root with /srv/x.edge: installing\n  | set -eu\n  | cat >part\n"
        "on pi@device: starting\n  | true\n"
    )
