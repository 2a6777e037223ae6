"""Devices: gpiozero's classes and drivers of one's own, real or simulated."""

from __future__ import annotations

from edge_runtime.devices.commands import apply
from edge_runtime.devices.drivers import check
from edge_runtime.devices.opening import OpenDevice, Opener, close, open_devices

__all__ = ["OpenDevice", "Opener", "apply", "check", "close", "open_devices"]
