"""The app in the guide of devices is one that the loader takes, and every topic it speaks of can be asked for."""

from __future__ import annotations

import re
from pathlib import Path

from edge_runtime.loaders import edge_yaml

GUIDE = Path(__file__).parent.parent.parent / "docs" / "guides" / "devices.md"
EVENTS = """
functions:
  f:
    code: ./f
    handler: app.handler
    events:
      - {device: door, on: held}
      - {device: knob, on: rotated}
      - {device: air, on: no_too_hot}
      - {device: soil, on: recovered}
      - {device: soil}
"""


def test_the_app_in_the_guide_loads(tmp_path: Path) -> None:
    block = re.search(r"\n\n((?:    .*\n)+)", GUIDE.read_text(encoding="utf-8"))
    assert block is not None
    text = "\n".join(line[4:] for line in block[1].splitlines())
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "app.py").write_text("def handler(event, context):\n    return event\n")
    (tmp_path / "edge.yaml").write_text(f"thing: a\n{text}\n{EVENTS}")
    app = edge_yaml.load(tmp_path / "edge.yaml")
    assert [device.name for device in app.devices] == ["door", "knob", "signal", "rover", "air", "soil", "pump"]
    assert "device/air/no_too_hot" in {rule.filter for rule in app.rules}
