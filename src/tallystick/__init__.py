"""Tallystick runs GPU jobs on machines one does not trust, pays only for work that verifies, and keeps proof of it."""

__version__ = "0.1.0"
