"""The frames between the host and a worker: fixed little headers, so that neither side parses JSON it does not need.

One frame down, one frame up, in turn, over a Unix stream socket. Down: the header REQUEST, the request id, the context,
the event as it came. Up: the header REPLY, the error type, the reply. A worker's first frame has the serial READY.
"""

from __future__ import annotations

import struct

REQUEST = struct.Struct("=IIIHBQ")
"""Serial, bytes of the event, of the context, of the request id, kind of context, deadline (CLOCK_MONOTONIC, ns)."""

REPLY = struct.Struct("=IIIHQ")
"""Serial of the request, bytes of the reply, peak memory (KiB), bytes of the error type, time taken (ns)."""

READY = 0
"""The serial of the frame that says that the handler was loaded, or why not. Requests count from 1."""

NO_CONTEXT = 0
SUBJECT = 1
"""The context is a topic alone: it becomes `client_context.custom["subject"]`."""
JSON_CONTEXT = 2

LIMIT = 6 * 1024 * 1024 + 100
"""Bytes of an event and of a reply at most: the constant of AWS's runtime interface emulator."""

SOCKET = 3
"""The descriptor of the worker's socket."""
