"""Decide: pure. Same snapshot, same state, same policies: same cycle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from aiops.detect import diagnose
from aiops.forecast.bins import DAY_S
from aiops.model.capacity import Capacity
from aiops.model.cycle import Cycle, FleetSummary, ModelCycle, PoolSummary
from aiops.model.decision import Decision, Reason, Victim
from aiops.model.demand import DemandSource, TokenDemand, Work
from aiops.model.detection import DetectionKind, Diagnosis
from aiops.model.forecast import Forecast, ForecastBasis
from aiops.model.policy import Mode, PolicySet, PoolSpec, ScalingPolicy
from aiops.model.profile import CapacityProfile
from aiops.model.refs import Role
from aiops.model.snapshot import ModelSnapshot, PoolSnapshot, Snapshot
from aiops.plan.capacity import capacity_of
from aiops.plan.fleet_limit import MOVES, Removals, deal, still_removable
from aiops.plan.growth import growth_ratio
from aiops.plan.guards import cooling_down, in_force, limit_step, stabilize
from aiops.plan.holds import Hold, hold_of
from aiops.plan.learn import down_window, lead_time_of, profiles_of, up_window, work_series
from aiops.plan.needs import RoleNeed, backlog_work, event_inputs, find, inputs_of, role_need, skill_input, why_not
from aiops.plan.shifts import demand_shifts
from aiops.plan.sizing import PoolNeed, size
from aiops.plan.state import ModelMemory, PoolMemory, State
from aiops.plan.victims import victims_of
from aiops.plan.work import least_work, replica_rate, shape_of, work_of

# Prefill before decode: the order in which sizing takes a pair.
_ORDER = (Role.PREFILL, Role.DECODE, Role.BOTH)


def decide(snapshot: Snapshot, state: State, policies: PolicySet) -> Cycle:
    """Conclude one cycle from a snapshot and a state that has learned it."""
    now_s = snapshot.at.timestamp()
    views = [
        _View(snapshot.model(policy.ref), state.model(policy.ref), policy, policies, now_s)
        for policy in policies.policies
    ]
    drafts = [view.draft() for view in views]
    # Only here models know of each other: what one takes away, another may not.
    moving = [policy.spec.mode in MOVES for policy in policies.policies]
    present = sum(view.present for view, moves in zip(views, moving, strict=True) if moves)
    may_remove = still_removable(policies.fleet, present, state.removals, now_s, state.counted_since_s)
    wanted = [
        Removals(policy.spec.priority, draft.removals if moves else ())
        for policy, draft, moves in zip(policies.policies, drafts, moving, strict=True)
    ]
    granted = deal(wanted, may_remove)
    return Cycle(
        at=snapshot.at,
        number=state.cycles,
        models=tuple(
            view.concluded(draft.limited(mine) if moves else draft, snapshot.at)
            for view, draft, mine, moves in zip(views, drafts, granted, moving, strict=True)
        ),
        unmanaged=snapshot.unmanaged,
        blind=snapshot.blind,
        queries=snapshot.queries,
        fleet=FleetSummary(
            policies.fleet.writes_off,
            sum(mark.replicas for mark in state.removals),
            may_remove,
            state.removals,
            state.counted_since_s,
        ),
    )


@dataclass(frozen=True, slots=True)
class _PoolDraft:
    """One pool before its model is sized: the number that its guards left, and why.

    ``free`` is how many replicas the fleet would lose by that; those that found no node are no loss.
    """

    need: RoleNeed
    demand: TokenDemand
    capacity: Capacity
    current: int
    proposal: int
    guarded: int
    reasons: tuple[Reason, ...]
    free: int


@dataclass(frozen=True, slots=True)
class _Draft:
    """One model before the fleet's bound: a draft for each pool, or the decisions to hold them."""

    work: Work | None = None
    capacities: tuple[Capacity, ...] = ()
    pools: tuple[_PoolDraft, ...] = ()
    held: tuple[Decision, ...] = ()

    @property
    def removals(self) -> tuple[int, ...]:
        """What each pool would lose."""
        return tuple(pool.free for pool in self.pools)

    def limited(self, granted: Sequence[int]) -> "_Draft":
        """Give the draft with no more taken away than was granted for each pool."""
        limited = (
            pool
            if may >= pool.free
            else replace(pool, guarded=pool.guarded + pool.free - may, reasons=(*pool.reasons, Reason.FLEET_LIMIT))
            for pool, may in zip(self.pools, granted, strict=True)
        )
        return replace(self, pools=tuple(limited))


class _View:
    """One model as its decision sees it."""

    def __init__(
        self, model: ModelSnapshot, memory: ModelMemory, policy: ScalingPolicy, policies: PolicySet, now_s: float
    ) -> None:
        self.model, self.memory, self.policy, self.policies, self.now_s = model, memory, policy, policies, now_s
        self.lead = lead_time_of(policy, policies, memory)
        self.pools = sorted(policy.spec.pools, key=lambda pool: _ORDER.index(pool.role))

    @property
    def present(self) -> int:
        """The replicas that are asked for now, as far as they are known."""
        return sum(self._current(pool) or 0 for pool in self.pools)

    def concluded(self, draft: _Draft, at: datetime) -> ModelCycle:
        """Give all that was seen and concluded of the model."""
        model, memory, ref = self.model, self.memory, self.policy.ref
        return ModelCycle(
            ref=ref,
            mode=self.policy.spec.mode,
            demand=None if model.blind else model.demand,
            work=draft.work,
            latency=model.latency,
            pools=tuple(_summary(pool) for pool in model.pools),
            capacities=draft.capacities,
            lead_time_s=self.lead.p90_s,
            forecasts=memory.forecasts,
            skills=memory.skills,
            decisions=draft.held or self._decisions(draft),
            detections=memory.detections,
            diagnosis=diagnose(ref, memory.detections) if memory.detections else Diagnosis(ref),
            signals=model.signals,
            blind=model.blind,
            shifts=demand_shifts(memory, at),
        )

    def draft(self) -> _Draft:
        """Give the work, the capacities, and what each pool's guards leave of its need."""
        if self.model.blind:
            return _Draft(held=self._held(Reason.STALE_METRICS))
        profiles = profiles_of(self.policy, self.policies)
        if profiles is None:
            return _Draft(held=self._held(Reason.NO_PROFILE))
        demand = self.model.demand
        itl_s = self.policy.spec.objectives.itl.bound_s
        shape = shape_of(demand) if demand else None
        capacities = tuple(capacity_of(pool.role, profiles[pool.role], shape, itl_s) for pool in self.pools)
        work = work_of(demand, profiles, itl_s) if demand else None
        if demand is not None and shape is None and self._sleeps and (demand.requests_per_s or demand.backlog_requests):
            # Nobody can tell how large requests are before one was served: the first replica is for any.
            work = least_work(profiles)
        if demand is None or work is None:
            return _Draft(work, capacities, held=self._held(Reason.NO_DEMAND_SIGNAL))
        if any(self._current(pool) is None for pool in self.pools):
            return _Draft(work, capacities, held=self._held(Reason.UNKNOWN_REPLICAS))
        drafts = tuple(
            self._guarded(pool, self._need(pool, capacity, demand, work, backlog), demand, capacity)
            for pool, capacity, backlog in zip(self.pools, capacities, self._backlogs(demand, profiles), strict=True)
        )
        return _Draft(work, capacities, drafts)

    def _backlogs(self, demand: TokenDemand, profiles: Mapping[Role, CapacityProfile]) -> tuple[float, ...]:
        """Give the backlog's work per pool.

        None where requests wait because the router sends them all one way, or because no node has room for what was
        ordered: there more orders would not help, and each would be followed by further ones.
        """
        shape = shape_of(demand)
        if shape is None or self._skewed:
            return tuple(0.0 for _ in self.pools)
        itl_s = self.policy.spec.objectives.itl.bound_s
        return tuple(
            0.0
            if self._unschedulable(pool)
            else backlog_work(
                demand, pool.role, replica_rate(pool.role, profiles[pool.role], shape, itl_s), self._ready(pool)
            )
            for pool in self.pools
        )

    def _need(self, pool: PoolSpec, capacity: Capacity, demand: TokenDemand, work: Work, backlog: float) -> RoleNeed:
        ahead, down = self._forecasts(capacity.role)
        now, growth = work.of(capacity.role) or 0.0, self._growth(ahead, demand)
        growing = now * (1.0 + growth) if growth else None
        young = self.memory.knows_of_s(work_series(pool.role)) < DAY_S
        need = role_need(now, backlog, ahead, down, self.policy.risk, capacity, growing, young)
        # Only a gateway still counts arrivals when no replica is left: without one, zero would be for ever.
        floor = 0 if demand.source is DemandSource.GATEWAY else 1
        if self._full(pool):
            floor = (self._current(pool) or 0) + 1
        return replace(need, low=max(need.low, floor), high=max(need.high, floor))

    def _growth(self, ahead: Forecast | None, demand: TokenDemand) -> float:
        """Give how far demand will have grown at the lead time if it goes on so; 0 once a forecast knows its errors."""
        if ahead is not None and ahead.basis is not ForecastBasis.COLD:
            return 0.0
        return growth_ratio(self.memory.rates, demand.window.total_seconds(), up_window(self.lead).end_s)

    def _forecasts(self, role: Role) -> tuple[Forecast | None, Forecast | None]:
        """Find the forecasts of a role's work at the lead time, and until a removed replica could be back."""
        windows = up_window(self.lead), down_window(self.lead, self.policy)
        ahead, down = (find(self.memory.forecasts, work_series(role), window) for window in windows)
        return ahead, down

    def _guarded(self, pool: PoolSpec, need: RoleNeed, demand: TokenDemand, capacity: Capacity) -> _PoolDraft:
        spec, memory = self.policy.spec, self.memory.pool(self.policy.pool_ref(pool))
        current = self._current(pool) or 0
        proposal, why = need.propose(current)
        idle = memory.unplaced
        # What was told and not carried out yet stands like a replica that is there: told otherwise meanwhile, the two
        # numbers would follow each other round and round.
        told = memory.desired if spec.mode is Mode.EMIT else None
        standing = max(current, told or 0)
        stable, held = stabilize(proposal, standing, memory.proposals, self.now_s, spec.scale_down, idle)
        stepped, limited = limit_step(stable, memory.currents, self.now_s, spec.scale_up, spec.scale_down, idle)
        hold = self._hold(pool)
        bounded = stepped if hold is None else hold.clip(stepped)
        rules = (*held, *limited) if bounded == stepped else ()
        bound = () if hold is None or (bounded == stepped and hold.reason is Reason.ROLLOUT) else (hold.reason,)
        skewed = (Reason.ROUTING_SKEW,) if self._skewed else ()
        unschedulable = (Reason.UNSCHEDULABLE,) if self._unschedulable(pool) else ()
        reasons = (why, *skewed, *rules, *bound, *unschedulable)
        # What a person's word takes away is not the plan's to limit.
        free = 0 if hold is not None and hold.most is not None else max(0, current - idle - bounded)
        return _PoolDraft(need, demand, capacity, current, proposal, bounded, reasons, free)

    def _decisions(self, draft: _Draft) -> tuple[Decision, ...]:
        sizing = size(
            [self._pool_need(pool, one.guarded) for pool, one in zip(self.pools, draft.pools, strict=True)],
            self.policy.spec.ratio.decode_per_prefill,
            self.policy.spec.budget,
        )
        return tuple(
            self._decision(pool, one, desired, sized)
            for pool, one, desired, sized in zip(self.pools, draft.pools, sizing.replicas, sizing.reasons, strict=True)
        )

    def _decision(self, pool: PoolSpec, one: _PoolDraft, desired: int, sized: tuple[Reason, ...]) -> Decision:
        forecasts = self._forecasts(pool.role)
        return Decision(
            ref=self.policy.ref,
            pool=self.policy.pool_ref(pool),
            role=pool.role,
            current=one.current,
            desired=desired,
            needed=one.proposal,
            reasons=(*one.reasons, *sized),
            inputs=(
                *inputs_of(one.need, one.demand, one.capacity, self.lead.p90_s, self.lead.starts),
                *skill_input(forecasts[0], self.memory.skills),
                *event_inputs(forecasts, self.policy.spec.calendar),
            ),
            why_not=why_not(one.need, one.demand, one.capacity, one.current),
            victims=self._victims(pool, desired, one.demand),
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
        if self.policies.fleet.writes_off and self.policy.spec.mode is not Mode.OBSERVE:
            here = self._kept(memory) or 0
            return Hold(Reason.WRITES_OFF, here, here)
        hold = hold_of(seen.target if seen else None, memory, self.policy.spec.mode, self.now_s)
        here = self._current(pool) or 0
        moves = hold is None or not hold.fixes(here)
        if moves and cooling_down(memory.refusals, memory.refused_at_s, self.now_s):
            return Hold(Reason.COOLDOWN_AFTER_FAILURE, here, here)
        return hold

    def _unschedulable(self, pool: PoolSpec) -> bool:
        """Whether replicas found no node within the lead time."""
        seen, late_s = self._seen(pool), self.now_s - self.lead.p90_s
        return any(one.ordered_at.timestamp() <= late_s for one in (seen.unplaced if seen else ()))

    def _victims(self, pool: PoolSpec, desired: int, demand: TokenDemand) -> tuple[Victim, ...]:
        seen, profile = self._seen(pool), self.policies.variants[pool.variant].profile
        if seen is None or desired >= (seen.current or 0):
            return ()
        tokens = demand.input_tokens_per_request
        return victims_of(seen, desired, profile.prefill_s(tokens) / tokens if profile and tokens else None)

    def _held(self, reason: Reason) -> tuple[Decision, ...]:
        decisions = []
        for pool in self.pools:
            ref = self.policy.pool_ref(pool)
            memory = self.memory.pool(ref)
            held = self._kept(memory)
            unknown = (
                (Reason.UNKNOWN_REPLICAS,) if memory.current is None and reason is not Reason.UNKNOWN_REPLICAS else ()
            )
            decisions.append(Decision(self.policy.ref, ref, pool.role, memory.current, held, None, (reason, *unknown)))
        return tuple(decisions)

    def _kept(self, memory: PoolMemory) -> int | None:
        """Give what a pool is held at; in ``emit``, where others read the number, what was asked stays asked."""
        asked = memory.desired if self.policy.spec.mode is Mode.EMIT else None
        return memory.current if asked is None else asked

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
        """Whether a pool is saturated as a whole, and was given the time to show what its replicas can do.

        One whose order found no node was not: relief is on its way, and another order would wait behind it.
        """
        ref = self.policy.pool_ref(pool)
        saturated = any(
            found.kind is DetectionKind.SATURATION and found.pool == ref for found in self.memory.detections
        )
        settled = len(set(in_force(self.memory.pool(ref).currents, self.now_s - self.lead.p90_s))) == 1
        seen = self._seen(pool)
        return saturated and settled and not self._skewed and not (seen and seen.unplaced)

    @property
    def _sleeps(self) -> bool:
        """Whether the model is at zero."""
        return all(self._current(pool) == 0 for pool in self.pools)

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
        unplaced=len(pool.unplaced),
        unplaced_reason=pool.unplaced[0].reason if pool.unplaced else "",
    )
