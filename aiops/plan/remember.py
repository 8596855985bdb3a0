"""Remember what the next cycle needs: raw proposals, what was asked, what was seen. Bounded."""

from collections.abc import Sequence
from dataclasses import replace

from aiops.model.cycle import Cycle
from aiops.model.decision import Decision, Outcome
from aiops.model.mark import Mark
from aiops.model.policy import PolicySet, ScalingPolicy
from aiops.plan.guards import FORGOTTEN_S
from aiops.plan.holds import RESPECTED_FOR
from aiops.plan.learn import lead_time_of
from aiops.plan.state import PoolMemory, State, holding_since


def remember(state: State, cycle: Cycle, policies: PolicySet, outcomes: Sequence[Outcome] = ()) -> State:
    """Give the state that the next cycle starts from; ``outcomes`` are those of the writes that were tried."""
    tried = {outcome.pool: outcome.applied for outcome in outcomes}
    models = []
    for memory in state.models:
        policy = policies.policy(memory.ref)
        decisions = [decision for decision in cycle.decisions if decision.ref == memory.ref]
        if policy is None:
            continue
        lead_s = lead_time_of(policy, policies, memory).p90_s
        pools = tuple(_remember_pool(memory.pool(d.pool), d, cycle.at.timestamp(), policy, lead_s) for d in decisions)
        counted = tuple(_refused(pool, tried.get(pool.pool), cycle.at.timestamp()) for pool in pools)
        models.append(replace(memory, pools=counted))
    return replace(state, models=tuple(models))


def _remember_pool(
    memory: PoolMemory, decision: Decision, now_s: float, policy: ScalingPolicy, lead_s: float
) -> PoolMemory:
    down, up = policy.spec.scale_down, policy.spec.scale_up
    # The step limits look back over their periods, relief of a full pool over the lead time, respect for somebody
    # else's change over an hour.
    seen_s = max(down.per.total_seconds(), up.per.total_seconds(), lead_s, RESPECTED_FOR.total_seconds())
    # While blind nothing is proposed: the held number stands in, so that sight must last a whole window again
    # before anything is removed.
    proposed = decision.needed if decision.needed is not None else decision.current
    proposals = memory.proposals
    if proposed is not None and (not proposals or proposals[-1].replicas != proposed):
        proposals = (*proposals, Mark(now_s, proposed))
    return replace(
        memory,
        proposals=holding_since(proposals, now_s - down.stabilization.total_seconds()),
        currents=holding_since(memory.currents, now_s - seen_s),
        desired=decision.desired,
    )


def _refused(memory: PoolMemory, applied: bool | None, now_s: float) -> PoolMemory:
    """Count the writes that were refused in a row; None is no try."""
    if applied or (memory.refusals and now_s - memory.refused_at_s > FORGOTTEN_S):
        memory = replace(memory, refusals=0)
    return memory if applied is not False else replace(memory, refusals=memory.refusals + 1, refused_at_s=now_s)
