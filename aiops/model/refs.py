"""Names of things: models, pools and roles."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What the replicas of a pool do; ``both`` is an aggregated pool."""

    PREFILL = "prefill"
    DECODE = "decode"
    BOTH = "both"


@dataclass(frozen=True, slots=True, order=True)
class ModelRef:
    """A model as its users name it, in the namespace that serves it."""

    namespace: str
    model: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.model}"


@dataclass(frozen=True, slots=True, order=True)
class PoolRef:
    """The Kubernetes object whose ``scale`` subresource sets the replicas of a pool."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        """Give the value of the ``pool`` label: unique even where a scraper overrides ``namespace``."""
        return f"{self.namespace}/{self.name}"
