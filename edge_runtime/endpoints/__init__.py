"""AWS-shaped HTTP on loopback, for the SDK of a handler and for `--endpoint-url`. One file a service.

A service is a module with `SIGNING_NAME`, the name by which the SDKs sign for it, and `routes()`, which returns
its routes; `plugin.names("endpoints")` finds it. Only `_listener` and `_backend` are imported before somebody connects:
the HTTP libraries take a third of a second and 30 MB.
"""

from edge_runtime.endpoints._backend import AS, Backend, Keys, Outsider, Who
from edge_runtime.endpoints._listener import Listener

__all__ = ["AS", "Backend", "Keys", "Listener", "Outsider", "Who"]
