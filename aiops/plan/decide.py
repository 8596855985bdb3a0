"""Decide: pure. Same snapshot, same state, same policies: same cycle."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from aiops.detect import diagnose
from aiops.model.capacity import Capacity
from aiops.model.cycle import Cycle, ModelCycle, PoolSummary
from aiops.model.decision import Decision, Reason, Victim
from aiops.model.demand import DemandSource, TokenDemand, Work
from aiops.model.detection import DetectionKind, Diagnosis
from aiops.model.forecast import Forecast
from aiops.model.policy import Mode, PolicySet, PoolSpec, ScalingPolicy
from aiops.model.profile import CapacityProfile
from aiops.model.refs import Role
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, Snapshot
from aiops.plan.capacity import capacity_of
from aiops.plan.guards import in_force, limit_step, stabilize
from aiops.plan.holds import Hold, hold_of
from aiops.plan.learn import down_window, lead_time_of, profiles_of, up_window, work_series
from aiops.plan.needs import RoleNeed, backlog_work, event_inputs, find, inputs_of, role_need, skill_input, why_not
from aiops.plan.shifts import demand_shifts
from aiops.plan.sizing import PoolNeed, size
from aiops.plan.state import ModelMemory, State
from aiops.plan.victims import victims_of
from aiops.plan.work import replica_rate, shape_of, work_of

# Prefill before decode: the order in which sizing takes a pair.
_ORDER = (Role.PREFILL, Role.DECODE, Role.BOTH)


def decide(snapshot: Snapshot, state: State, policies: PolicySet) -> Cycle:
    """Conclude one cycle from a snapshot and a state that has learned it."""
    return Cycle(
        at=snapshot.at,
        number=state.cycles,
        models=tuple(_decide_model(snapshot, state, policy, policies) for policy in policies.policies),
        unmanaged=snapshot.unmanaged,
        blind=snapshot.blind,
        queries=snapshot.queries,
    )


def _decide_model(snapshot: Snapshot, state: State, policy: ScalingPolicy, policies: PolicySet) -> ModelCycle:
    memory = state.model(policy.ref)
    model = snapshot.model(policy.ref)
    view = _View(model, memory, policy, policies, snapshot.at.timestamp())
    work, capacities, decisions = view.conclude()
    return ModelCycle(
        ref=policy.ref,
        mode=policy.spec.mode,
        demand=None if model.blind else model.demand,
        work=work,
        latency=model.latency,
        pools=tuple(_summary(pool) for pool in model.pools),
        capacities=capacities,
        lead_time_s=view.lead.p90_s,
        forecasts=memory.forecasts,
        skills=memory.skills,
        decisions=decisions,
        detections=memory.detections,
        diagnosis=diagnose(policy.ref, memory.detections) if memory.detections else Diagnosis(policy.ref),
        signals=model.signals,
        blind=model.blind,
        shifts=demand_shifts(memory, snapshot.at),
    )


class _View:
    """One model as its decision sees it."""

    def __init__(
        self, model: ModelSnapshot, memory: ModelMemory, policy: ScalingPolicy, policies: PolicySet, now_s: float
    ) -> None:
        self.model, self.memory, self.policy, self.policies, self.now_s = model, memory, policy, policies, now_s
        self.lead = lead_time_of(policy, policies, memory)
        self.pools = sorted(policy.spec.pools, key=lambda pool: _ORDER.index(pool.role))

    def conclude(self) -> tuple[Work | None, tuple[Capacity, ...], tuple[Decision, ...]]:
        """Give the work, the capacities, and a decision for every pool."""
        if self.model.blind:
            return None, (), self._held(Reason.STALE_METRICS)
        profiles = profiles_of(self.policy, self.policies)
        if profiles is None:
            return None, (), self._held(Reason.NO_PROFILE)
        demand = self.model.demand
        itl_s = self.policy.spec.objectives.itl.bound_s
        shape = shape_of(demand) if demand else None
        capacities = tuple(capacity_of(pool.role, profiles[pool.role], shape, itl_s) for pool in self.pools)
        work = work_of(demand, profiles, itl_s) if demand else None
        if demand is None or work is None:
            return work, capacities, self._held(Reason.NO_DEMAND_SIGNAL)
        if any(self._current(pool) is None for pool in self.pools):
            return work, capacities, self._held(Reason.UNKNOWN_REPLICAS)
        needs = tuple(
            self._need(pool, capacity, demand, work, backlog)
            for pool, capacity, backlog in zip(self.pools, capacities, self._backlogs(demand, profiles), strict=True)
        )
        return work, capacities, self._moved(needs, capacities, demand)

    def _backlogs(self, demand: TokenDemand, profiles: Mapping[Role, CapacityProfile]) -> tuple[float, ...]:
        """Give the backlog's work per pool; none where requests wait because the router sends them all one way."""
        shape = shape_of(demand)
        if shape is None or self._skewed:
            return tuple(0.0 for _ in self.pools)
        itl_s = self.policy.spec.objectives.itl.bound_s
        return tuple(
            backlog_work(
                demand, pool.role, replica_rate(pool.role, profiles[pool.role], shape, itl_s), self._ready(pool)
            )
            for pool in self.pools
        )

    def _need(self, pool: PoolSpec, capacity: Capacity, demand: TokenDemand, work: Work, backlog: float) -> RoleNeed:
        ahead, down = self._forecasts(capacity.role)
        need = role_need(work.of(capacity.role) or 0.0, backlog, ahead, down, self.policy.risk, capacity)
        # Only a gateway still counts arrivals when no replica is left: without one, zero would be for ever.
        floor = 0 if demand.source is DemandSource.GATEWAY else 1
        if self._full(pool):
            floor = (self._current(pool) or 0) + 1
        return replace(need, low=max(need.low, floor), high=max(need.high, floor))

    def _forecasts(self, role: Role) -> tuple[Forecast | None, Forecast | None]:
        """Find the forecasts of a role's work at the lead time, and until a removed replica could be back."""
        windows = up_window(self.lead), down_window(self.lead, self.policy)
        ahead, down = (find(self.memory.forecasts, work_series(role), window) for window in windows)
        return ahead, down

    def _moved(
        self, needs: Sequence[RoleNeed], capacities: Sequence[Capacity], demand: TokenDemand
    ) -> tuple[Decision, ...]:
        proposals, guarded, reasons = [], [], []
        for pool, need in zip(self.pools, needs, strict=True):
            memory = self.memory.pool(self.policy.pool_ref(pool))
            current = self._current(pool) or 0
            proposal, why = need.propose(current)
            stable, held = stabilize(proposal, current, memory.proposals, self.now_s, self.policy.spec.scale_down)
            stepped, limited = limit_step(
                stable, memory.currents, self.now_s, self.policy.spec.scale_up, self.policy.spec.scale_down
            )
            hold = self._hold(pool)
            bounded = stepped if hold is None else hold.clip(stepped)
            proposals.append(proposal)
            guarded.append(bounded)
            rules = (*held, *limited) if bounded == stepped else ()
            bound = () if hold is None or (bounded == stepped and hold.reason is Reason.ROLLOUT) else (hold.reason,)
            skewed = (Reason.ROUTING_SKEW,) if self._skewed else ()
            reasons.append((why, *skewed, *rules, *bound, *self._unschedulable(pool)))
        sizing = size(
            [self._pool_need(pool, count) for pool, count in zip(self.pools, guarded, strict=True)],
            self.policy.spec.ratio.decode_per_prefill,
            self.policy.spec.budget,
        )
        return tuple(
            Decision(
                ref=self.policy.ref,
                pool=self.policy.pool_ref(pool),
                role=pool.role,
                current=self._current(pool),
                desired=sizing.replicas[i],
                needed=proposals[i],
                reasons=(*reasons[i], *sizing.reasons[i]),
                inputs=(
                    *inputs_of(needs[i], demand, capacities[i], self.lead.p90_s, self.lead.starts),
                    *skill_input(self._forecasts(pool.role)[0], self.memory.skills),
                    *event_inputs(self._forecasts(pool.role), self.policy.spec.calendar),
                ),
                why_not=why_not(needs[i], demand, capacities[i], self._current(pool) or 0),
                victims=self._victims(pool, sizing.replicas[i], demand),
            )
            for i, pool in enumerate(self.pools)
        )

    def _pool_need(self, pool: PoolSpec, needed: int) -> PoolNeed:
        variant = self.policies.variants[pool.variant]
        current, hold = self._current(pool) or 0, self._hold(pool)
        least, most = pool.min, pool.max
        if hold is not None:  # a person's word, or another owner's, is above the policy's bounds
            least, most = hold.clip(least), hold.clip(most)
        return PoolNeed(needed, current, least, most, variant.gpus, variant.usd_per_hour)

    def _hold(self, pool: PoolSpec) -> Hold | None:
        seen = self._seen(pool)
        memory = self.memory.pool(self.policy.pool_ref(pool))
        return hold_of(seen.target if seen else None, memory, self.policy.spec.mode, self.now_s)

    def _unschedulable(self, pool: PoolSpec) -> tuple[Reason, ...]:
        """Tell replicas that found no node within the lead time."""
        seen = self._seen(pool)
        late_s = self.now_s - self.lead.p90_s
        stuck = any(one.reason and one.ordered_at.timestamp() <= late_s for one in (seen.starting if seen else ()))
        return (Reason.UNSCHEDULABLE,) if stuck else ()

    def _victims(self, pool: PoolSpec, desired: int, demand: TokenDemand) -> tuple[Victim, ...]:
        seen, profile = self._seen(pool), self.policies.variants[pool.variant].profile
        if seen is None or desired >= (seen.current or 0):
            return ()
        tokens = demand.input_tokens_per_request
        return victims_of(seen, desired, profile.prefill_s(tokens) / tokens if profile and tokens else None)

    def _held(self, reason: Reason) -> tuple[Decision, ...]:
        """Hold every pool where it is; in ``emit``, where others read the number, what was asked stays asked."""
        decisions = []
        for pool in self.pools:
            ref = self.policy.pool_ref(pool)
            memory = self.memory.pool(ref)
            asked = memory.desired if self.policy.spec.mode is Mode.EMIT else None
            held = memory.current if asked is None else asked
            unknown = (
                (Reason.UNKNOWN_REPLICAS,) if memory.current is None and reason is not Reason.UNKNOWN_REPLICAS else ()
            )
            decisions.append(Decision(self.policy.ref, ref, pool.role, memory.current, held, None, (reason, *unknown)))
        return tuple(decisions)

    def _seen(self, pool: PoolSpec) -> PoolSnapshot | None:
        ref = self.policy.pool_ref(pool)
        return next((entry for entry in self.model.pools if entry.pool == ref), None)

    def _current(self, pool: PoolSpec) -> int | None:
        seen = self._seen(pool)
        return seen.current if seen else None

    def _ready(self, pool: PoolSpec) -> int:
        seen = self._seen(pool)
        return seen.ready if seen else 0

    def _full(self, pool: PoolSpec) -> bool:
        """Whether a pool is saturated as a whole, and was given the time to show what its replicas can do."""
        ref = self.policy.pool_ref(pool)
        saturated = any(
            found.kind is DetectionKind.SATURATION and found.pool == ref for found in self.memory.detections
        )
        settled = len(set(in_force(self.memory.pool(ref).currents, self.now_s - self.lead.p90_s))) == 1
        return saturated and settled and not self._skewed

    @property
    def _skewed(self) -> bool:
        return any(found.kind is DetectionKind.ROUTING_SKEW for found in self.memory.detections)


def _summary(pool: PoolSnapshot) -> PoolSummary:
    usages = [replica.kv_usage_ratio for replica in pool.replicas if replica.kv_usage_ratio is not None]
    return PoolSummary(
        pool=pool.pool,
        current=pool.current,
        current_inferred=pool.current_inferred,
        ready=pool.ready,
        starting=len(pool.starting),
        draining=pool.draining,
        waiting=pool.total("waiting"),
        kv_usage_ratio=max(usages, default=None),
    )
