"""Connections to a cloud broker: one file each."""
