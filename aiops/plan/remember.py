"""Remember what the next cycle needs: raw proposals, what was asked, what was seen. Bounded."""

from dataclasses import replace

from aiops.model.cycle import Cycle
from aiops.model.decision import Decision
from aiops.model.policy import PolicySet, ScalingPolicy
from aiops.plan.learn import lead_time_of
from aiops.plan.state import Mark, PoolMemory, State, holding_since


def remember(state: State, cycle: Cycle, policies: PolicySet) -> State:
    """Give the state that the next cycle starts from."""
    models = []
    for memory in state.models:
        policy = policies.policy(memory.ref)
        decisions = [decision for decision in cycle.decisions if decision.ref == memory.ref]
        if policy is None:
            continue
        lead_s = lead_time_of(policy, policies, memory).p90_s
        pools = tuple(_remember_pool(memory.pool(d.pool), d, cycle.at.timestamp(), policy, lead_s) for d in decisions)
        models.append(replace(memory, pools=pools))
    return replace(state, models=tuple(models))


def _remember_pool(
    memory: PoolMemory, decision: Decision, now_s: float, policy: ScalingPolicy, lead_s: float
) -> PoolMemory:
    down, up = policy.spec.scale_down, policy.spec.scale_up
    # The step limits look back over their periods, relief of a full pool over the lead time.
    seen_s = max(down.per.total_seconds(), up.per.total_seconds(), lead_s)
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
