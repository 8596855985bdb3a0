"""How many tokens a request of a model has, as a trailing mean."""

from collections.abc import Callable, Iterable

from aiops.model.refs import ModelRef
from aiops.observe.catalogue import GENERATION_SIZE, PROMPT_SIZE, Metric
from aiops.observe.demand import RequestSizes
from aiops.observe.engines import EngineHistograms
from aiops.observe.identity import Group
from aiops.observe.prometheus import Series
from aiops.observe.queries import Now


def read_sizes(histograms: EngineHistograms, ref: ModelRef, groups: frozenset[Group]) -> RequestSizes:
    """Read the mean tokens of a request over the last minutes, or else over the engines' lives."""
    lifetime = histograms.of(Now.LIFETIME_SIZE, ref, groups)

    def mean(recent: Now, metric: Metric) -> float | None:
        late = _mean(histograms.of(recent, ref, groups), lambda one, part: one.labels["part"] == part)
        return (
            late
            if late is not None
            else _mean(lifetime, lambda one, part: one.labels.get("__name__") in metric.series(part))
        )

    return RequestSizes(mean(Now.PROMPT_SIZE, PROMPT_SIZE), mean(Now.GENERATION_SIZE, GENERATION_SIZE))


def _mean(series: Iterable[Series], is_part: Callable[[Series, str], bool]) -> float | None:
    total = {"_sum": 0.0, "_count": 0.0}
    for one in series:
        for part in total:
            if is_part(one, part) and one.value is not None:
                total[part] += one.value
    return total["_sum"] / total["_count"] if total["_count"] else None
