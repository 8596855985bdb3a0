"""The autopilot of a token factory."""

__version__ = "0.1.0"
