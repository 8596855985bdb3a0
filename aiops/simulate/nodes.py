"""The nodes of a cluster and their GPUs: where a pod can go."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Node:
    """A node, ``free`` of its GPUs unused; one that is not ``up`` takes no pods."""

    name: str
    gpus: int
    free: int
    up: bool = True


class Inventory:
    """The GPUs that pods can have: those of ``nodes``, (name, GPUs) each, or as many as anyone wants without any.

    Without limits every pod is alone on a node of its own.
    """

    def __init__(self, nodes: Sequence[tuple[str, int]] = ()) -> None:
        self.nodes = [Node(name, gpus, gpus) for name, gpus in nodes]
        self._limited = bool(nodes)
        self._made = 0

    @property
    def largest(self) -> int | None:
        """The GPUs of the largest node; None without limits."""
        return max((node.gpus for node in self.nodes), default=None)

    def take(self, gpus: int) -> Node | None:
        """Place a pod on the node with most free GPUs, the first of those, as the scheduler spreads; None: nowhere."""
        if not self._limited:
            self._made += 1
            return Node(f"node-{self._made - 1}", gpus, 0)
        fitting = [node for node in self.nodes if node.up and node.free >= gpus]
        if not fitting:
            return None
        node = max(fitting, key=lambda each: each.free)
        node.free -= gpus
        return node

    def give_back(self, node: Node, gpus: int) -> None:
        """Let others have a pod's GPUs."""
        node.free += gpus
