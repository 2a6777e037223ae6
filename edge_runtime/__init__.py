"""Run AWS Lambda handlers on device events, keep everything while offline, sync to AWS IoT Core."""

__version__ = "0.1.0"
__released__ = "2026-11-01"
"""A day that has been: a clock that says less is wrong. To be set together with the version."""
