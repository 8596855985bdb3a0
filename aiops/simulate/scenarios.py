"""The factories that ship with the package: the demo's, and small ones in which something happens."""

from importlib.resources import files
from pathlib import Path

from aiops.simulate.spec import FactorySpec, read_factory


def demo_factory() -> tuple[FactorySpec, ...]:
    """Give the demo's factory: a chat model on aggregated replicas, a document model on prefill and decode pairs."""
    return read_factory(files("aiops.simulate").joinpath("demo.yaml").read_text(encoding="utf-8"))


def scenario_names() -> tuple[str, ...]:
    """Name the scenarios."""
    return tuple(sorted(file.stem for file in _folder().glob("*.yaml")))


def scenario_file(name: str) -> Path:
    """Give the file of a scenario. Raises ValueError where there is none of that name."""
    if name not in scenario_names():
        raise ValueError(f"no scenario is called {name!r}; there are {', '.join(scenario_names())}")
    return _folder() / f"{name}.yaml"


def read_scenario(name: str) -> FactorySpec:
    """Read a scenario: a factory with its load, its faults and how long it runs. ValueError as above."""
    (spec,) = read_factory(scenario_file(name).read_text(encoding="utf-8"))
    return spec


def _folder() -> Path:
    return Path(__file__).with_name("scenarios")
