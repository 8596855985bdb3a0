"""The loop: observe, decide, record, act, remember."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from aiops.control.protocols import Actuator, Clock, Elector, Observer, Recorder
from aiops.model.cycle import Cycle, ModelCycle
from aiops.model.decision import Decision
from aiops.model.policy import Mode, PolicySet
from aiops.plan import State, decide, learn_snapshot, remember


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
        if self.elector.leads():
            for decision in actionable(cycle):
                self.recorder.outcome(self.actuator.apply(decision))
        # 5. Remember what the next cycle needs (the raw proposals, never the held ones).
        state = remember(state, cycle, policies)
        self.on_stage("")
        return Turn(cycle, state)

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


def actionable(cycle: Cycle) -> tuple[Decision, ...]:
    """Give the decisions that the policies' modes allow to be carried out: grown pools first, then shrunk ones."""
    allowed = [decision for model in cycle.models for decision in model.decisions if _may(model, decision)]
    return tuple(sorted(allowed, key=lambda decision: decision.change < 0))


def _may(model: ModelCycle, decision: Decision) -> bool:
    if not decision.acts:
        return False
    return model.mode is Mode.ACT or (model.mode is Mode.ACT_UP and decision.change > 0)
