"""The pods and nodes of a factory by the names under which exporters know them."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from aiops.simulate.cluster import Pool, Replica
from aiops.simulate.factory import Factory
from aiops.simulate.nodes import Node
from aiops.simulate.served_model import ServedModel


@dataclass(frozen=True, slots=True)
class NamedPod:
    """A pod, whatever it is at; ``host`` names its node, and is empty while it is bound to none."""

    model: ServedModel
    pool: Pool
    replica: Replica
    host: str


@dataclass(frozen=True, slots=True)
class NamedNode:
    """A node by its name in the cluster, with the pool whose GPUs it has."""

    name: str
    node: Node
    pool: Pool


def all_pods(factory: Factory) -> Iterator[NamedPod]:
    """Go through all pods there are."""
    for model in factory.models:
        for pool in model.pools:
            for replica in pool.replicas:
                yield NamedPod(model, pool, replica, _host(factory, model, replica.node) if replica.node else "")


def all_nodes(factory: Factory) -> tuple[NamedNode, ...]:
    """Give the nodes there are: those of the models' inventories, and those that were made for a pod."""
    found: dict[str, NamedNode] = {}
    for model in factory.models:
        for node in model.inventory.nodes:
            name = _host(factory, model, node)
            found[name] = NamedNode(name, node, model.pools[0])
    for pod in all_pods(factory):
        if pod.replica.node is not None:
            found.setdefault(pod.host, NamedNode(pod.host, pod.replica.node, pod.pool))
    return tuple(found.values())


def slug(name: str) -> str:
    """Make a name that Kubernetes takes from a model's."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")


def uid(*names: str) -> str:
    """Make the uid of an object from what names it; the same in every run."""
    text = sha256("/".join(names).encode()).hexdigest()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"


def _host(factory: Factory, model: ServedModel, node: Node) -> str:
    # Each model has an inventory of its own, whose names may be those of another's.
    return node.name if len(factory.models) == 1 else f"{model.pools[0].ref.name}-{node.name}"
