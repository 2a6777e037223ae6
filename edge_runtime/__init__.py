"""Run AWS Lambda handlers on device events, keep everything while offline, sync to AWS IoT Core."""

__version__ = "0.1.0"
