"""The composition root: the only place that knows every part. `run` is what `edge run` does."""

from edge_runtime.host.host import Host
from edge_runtime.host.main import run

__all__ = ["Host", "run"]
