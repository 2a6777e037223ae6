"""`python -m edge_runtime.standin --port 0 --control stdin`: the stand-in without the rest of the runtime."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge_runtime.errors import EdgeError
from edge_runtime.standin.certs import TlsFiles
from edge_runtime.standin.process import Options, run


def _options(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="python -m edge_runtime.standin", description="A stand-in for AWS IoT Core.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883, help="0: a free one")
    parser.add_argument("--quotas", choices=["aws", "none"], default="aws")
    parser.add_argument("--record", type=Path, help="append accepted publishes to this file")
    parser.add_argument("--control", default="", metavar="stdin|PATH", help="where commands come from")
    parser.add_argument("--tls", type=Path, nargs=3, metavar=("CA", "CERT", "KEY"))
    parser.add_argument("--registry", type=Path, help="things, certificates, policies, shadows and jobs: read and kept")
    parser.add_argument("--policies", action="store_true", help="hold clients to the policies of their certificates")
    parser.add_argument("--web", type=int, help="port for WebSocket and HTTP; 0: a free one")
    parser.add_argument("--credentials", type=int, help="port of the credentials endpoint; 0: a free one")
    found = parser.parse_args(arguments)
    tls = None if found.tls is None else TlsFiles(*found.tls)
    return Options(
        found.host,
        found.port,
        tls,
        found.quotas,
        record=found.record,
        control=found.control,
        registry=found.registry,
        policies=found.policies,
        web=found.web,
        credentials=found.credentials,
    )


def main(arguments: list[str]) -> int:
    """Run until told to stop; return the exit status."""
    try:
        run(_options(arguments))
    except EdgeError as error:
        sys.stderr.write(f"{error}\n" + (f"{error.hint}\n" if error.hint else ""))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
