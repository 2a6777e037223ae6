"""Processes that run handlers."""
