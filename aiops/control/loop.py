"""The loop: observe, decide, record, act, remember."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from aiops.control.protocols import Actuator, Clock, Elector, Observer, Recorder
from aiops.model.cycle import Cycle
from aiops.model.decision import Outcome
from aiops.model.policy import PolicySet
from aiops.plan import NOT_ALONE, State, decide, learn_snapshot, orders_of, remember


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn of the loop came to: the cycle, and the state that the next one starts from."""

    cycle: Cycle
    state: State


@dataclass(frozen=True)
class Loop:
    """The control loop, wired to a world. Everything it does to that world goes through its Protocols.

    ``policies`` is asked at the start of each cycle, so a reloaded policy counts from the next one.
    """

    observer: Observer
    actuator: Actuator
    recorder: Recorder
    elector: Elector
    policies: Callable[[], PolicySet]
    prepare: Callable[[State], State] = field(default=lambda state: state)
    """Brings into the state what the world owes it from before, such as history that could not be read at the start."""
    on_stage: Callable[[str], None] = field(default=lambda _: None)
    """Told as each stage begins (``observe decide record act``) and when the turn is over (an empty string)."""

    def run_once(self, state: State) -> Turn:
        """Run one control cycle and return what it came to, the state for the next one included."""
        policies = self.policies()
        state = self.prepare(state)
        # 1. Observe: one frozen snapshot. No later step reads the world again.
        self.on_stage("observe")
        snapshot = self.observer.observe()
        # 2. Decide: pure. Learn what was seen; forecast, detect, diagnose, plan, guard.
        self.on_stage("decide")
        state = learn_snapshot(state, snapshot, policies)
        cycle = decide(snapshot, state, policies)
        # 3. Record before acting, so that a crash halfway leaves the evidence.
        self.on_stage("record")
        self.recorder.record(cycle)
        # 4. Act: idempotent; applies only the decisions that change something.
        self.on_stage("act")
        outcomes = self._act(cycle, state, policies) if self.elector.leads() else ()
        # 5. Remember what the next cycle needs (the raw proposals, never the held ones).
        state = remember(state, cycle, policies, outcomes)
        self.on_stage("")
        return Turn(cycle, state)

    def _act(self, cycle: Cycle, state: State, policies: PolicySet) -> tuple[Outcome, ...]:
        """Carry out what the policies' modes allow, all that grows before all that shrinks; give what was tried."""
        found = ((model, policies.policy(model.ref)) for model in cycle.models)
        left = [
            orders_of(model, state.model(model.ref), policy.spec.ratio.decode_per_prefill)
            for model, policy in found
            if policy is not None
        ]
        outcomes = []
        for grow in (True, False):
            for place in range(len(left)):
                while (decision := left[place].next(grow=grow)) is not None:
                    outcomes.append(self.actuator.apply(decision))
                    self.recorder.outcome(outcomes[-1])
                    left[place] = left[place].after(decision, applied=outcomes[-1].applied)
        for decision in (one for orders in left for one in orders.pending):
            self.recorder.outcome(
                Outcome(decision.pool, cycle.at, decision.desired or 0, applied=False, error=NOT_ALONE)
            )
        return tuple(outcomes)

    def run_forever(
        self,
        clock: Clock,
        state: State,
        interval_s: float,
        *,
        until: datetime | None = None,
        on_turn: Callable[[Turn], None] = lambda _: None,
    ) -> State:
        """Run cycles at a steady pace until the clock's sleep is broken off or ``until`` is reached.

        The cycle under way is always finished, and ``on_turn`` told. A cycle that takes longer than the interval is
        followed at once; the beats it missed are not made up for.
        """
        due_s = clock.now().timestamp()
        while True:
            turn = self.run_once(state)
            state = turn.state
            on_turn(turn)
            now = clock.now()
            due_s = max(due_s + interval_s, now.timestamp())
            if (until is not None and now >= until) or not clock.sleep(due_s - now.timestamp()):
                return state
