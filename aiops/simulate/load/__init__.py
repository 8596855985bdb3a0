"""What users send to a model: a stream of requests in batches, the same whatever the fleet does."""

from aiops.simulate.load.past import past_demand
from aiops.simulate.load.spec import LoadSpec
from aiops.simulate.load.stream import Load

__all__ = ["Load", "LoadSpec", "past_demand"]
