"""Which replicas leave first: those with whom the least is lost."""

from collections.abc import Mapping
from math import inf

from aiops.model.cluster import PodView
from aiops.model.decision import Victim
from aiops.model.snapshot import PoolSnapshot, ReplicaSample

_REMEMBERED_S = 60.0  # a prefix that nobody hit within the last minute is worth nothing here


def victims_of(pool: PoolSnapshot, desired: int, prefill_s_per_token: float | None) -> tuple[Victim, ...]:
    """Give the replicas that shall leave for ``desired`` to stay, the cheapest first.

    Those that do not serve yet, then by the requests that run or wait at a replica, then by the prefix hits that go
    with its cache. A ready replica that was not measured counts as the dearest, and one that somebody gave a cost above
    0 leaves after all others. Nothing where all leave or nobody does, and where the order cannot be told to Kubernetes:
    only a ReplicaSet asks for it. ``prefill_s_per_token`` is None where no profile says how dear a lost prefix is.
    """
    target = pool.target
    if target is None or not target.honours_deletion_cost or not desired:
        return ()
    samples = {replica.name: replica for replica in pool.replicas}
    here = sorted((pod for pod in target.pods if pod.deleting_since is None), key=lambda pod: _loss(pod, samples))
    leaving = here[: max(0, len(here) - desired)]
    return tuple(_victim(pod, samples.get(pod.name), prefill_s_per_token) for pod in leaving)


def _loss(pod: PodView, samples: Mapping[str, ReplicaSample]) -> tuple[bool, int, float, float, float, str]:
    sample = samples.get(pod.name)
    requests = _requests(sample)
    hits = sample.prefix_hits_tok_per_s if sample else None
    # Of equals the youngest leaves, as ReplicaSets have it.
    age = -(pod.ready_at or pod.created_at).timestamp()
    kept = max(pod.deletion_cost or 0, 0)
    return pod.ready_at is not None, kept, inf if requests is None else requests, hits or 0.0, age, pod.name


def _requests(sample: ReplicaSample | None) -> float | None:
    if sample is None or sample.running is None:
        return None
    return sample.running + (sample.waiting or 0.0)


def _victim(pod: PodView, sample: ReplicaSample | None, prefill_s_per_token: float | None) -> Victim:
    hits = sample.prefix_hits_tok_per_s if sample else None
    known = hits is not None and prefill_s_per_token is not None
    worth_s = (hits or 0.0) * _REMEMBERED_S * (prefill_s_per_token or 0.0) if known else None
    return Victim(pod.name, pod.ready_at is None, _requests(sample), worth_s)
