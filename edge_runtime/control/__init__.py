"""How a running host is spoken to: one request over a Unix socket in the state folder, JSON lines both ways.

The socket is `<state>/control.sock`, mode 0600 from its first moment: whoever may use the state folder may use the
host. One connection is one request:

    > {"verb": "tail", "filter": "device/#"}
    < {"item": {...}}                                       none, one or many
    < {"done": {...}}                                       the end, or instead
    < {"error": {"kind": "NotFoundError", "message": "...", "hint": "...", "more": {}}}

A client that closes its side before the end is gone: what it asked for is cancelled. A line has at most `LINE_LIMIT`
bytes. Bytes travel as base64 in the fields marked b64.

What a host answers:

    verb          takes                    gives
    publish       topic, payload (b64)     done {id, targets}, when the event is safe on disk
    invoke        name, payload (b64)      done {payload (b64), error, log, duration_ms, init_ms, peak_kb}
                  and perhaps topic        (for its context)
    tail          filter                   items {topic, payload (b64), source, time, id, targets, missed}, for ever
    endpoint                               done {variables}, which lead an AWS SDK to the host
    status                                 done {thing, uptime_s, clock, link {driver, state, since_s, inflight,
                                           last_error, agents {name: state}, budget {limit,
                                           used, left, per, state, least, until} or null},
                                           certificate {id, until, renewals, note} or null,
                                           store {bytes, limit, wal_bytes}, isolation {level,
                                           layers [{name, active, note, fix}]} or null at first,
                                           functions [...], queues [...], devices [...], parts [{name, state,
                                           restarts, last_error}]}
    ledger                                 done {rows [...]}
    devices                                done {devices [...]}
    shadow        method, name and         done {code, payload (b64)}: 200, or AWS's error; name "" is the classic one
                  perhaps payload (b64)
    shadow.ls                              done {names}
    queue.replay  target, ids or all       done {replayed, left}
    queue.purge   target, dead             done {purged}
    simulate      device, value            done {}, when the simulated device measures it
    install       path, health_s           done {verdict, text}; or the host gives way to the release, and ends
    releases      perhaps back, files      done {current, runs, trial, highest,
                                           failed, reason, order}; `runs` follows `current`;
                                           with files also name, content, here {sha256: path}
    stop                                   done {}, and the host ends

`time` is seconds since the epoch. A host may add fields; a client ignores those it does not know.

`edge_runtime.control.client` is the blocking side, free of asyncio so that a command starts fast;
`edge_runtime.control.server` is the host's side.
"""

from edge_runtime.control.client import ask, call, is_running
from edge_runtime.control.wire import LINE_LIMIT, SOCKET, pack, unpack

__all__ = ["LINE_LIMIT", "SOCKET", "ask", "call", "is_running", "pack", "unpack"]
