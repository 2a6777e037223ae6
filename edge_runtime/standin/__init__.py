"""A stand-in for AWS IoT Core, for the demo, simulation and tests."""

from typing import Final

MOST_LINE: Final = 256 * 1024
"""Bytes of a command to a running stand-in, see `control`. It is here for those who only send one."""
