"""A number of replicas at a time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """A number of replicas, and when it held (Unix seconds)."""

    at_s: float
    replicas: int
