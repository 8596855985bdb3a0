"""The factories that ship with the package."""

from importlib.resources import files

from aiops.simulate.spec import FactorySpec, read_factory


def demo_factory() -> tuple[FactorySpec, ...]:
    """Give the demo's factory: a chat model on aggregated replicas, a document model on prefill and decode pairs."""
    return read_factory(files("aiops.simulate").joinpath("demo.yaml").read_text(encoding="utf-8"))
