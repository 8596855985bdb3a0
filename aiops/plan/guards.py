"""What keeps a proposal from doing harm. Each guard either lets a number pass or says which rule held it."""

from collections.abc import Sequence

from aiops.model.decision import Reason
from aiops.model.mark import Mark
from aiops.model.policy import ScaleDown, ScaleUp
from aiops.plan.state import holding_since

_COOLDOWNS_S = (0.0, 30.0, 60.0)
_TAKEN_BACK_AFTER_S = 60.0  # an order that found no node serves nobody; by then a dip of demand is more than a dip
FORGOTTEN_S = 600.0
"""After this long without a write a refusal says nothing about the next one."""


def in_force(marks: Sequence[Mark], since_s: float) -> tuple[int, ...]:
    """Give every number that held at some time since ``since_s``."""
    return tuple(mark.replicas for mark in holding_since(marks, since_s))


def stabilize(
    proposal: int, current: int, proposals: Sequence[Mark], now_s: float, rule: ScaleDown, unplaced: int = 0
) -> tuple[int, tuple[Reason, ...]]:
    """Hold a scale-down until no raw proposal of the stabilization window asked for more.

    Where the window was not watched as a whole (a start, a new leader) the present number counts as asked for. The
    ``unplaced`` replicas, which found no node, are taken back as soon as nothing asked for them for a minute.
    """
    since_s = now_s - rule.stabilization.total_seconds()
    watched = any(mark.at_s <= since_s for mark in proposals)
    floor = max((proposal, *in_force(proposals, since_s), *(() if watched else (current,))))
    lately = max((proposal, *in_force(proposals, now_s - _TAKEN_BACK_AFTER_S)))
    held = min(current, floor, max(lately, current - unplaced))
    if proposal >= held:
        return proposal, ()
    return held, (Reason.SCALE_DOWN_STABILIZED,)


def limit_step(
    proposal: int, currents: Sequence[Mark], now_s: float, up: ScaleUp, down: ScaleDown, unplaced: int = 0
) -> tuple[int, tuple[Reason, ...]]:
    """Bound how far the number may move within ``per``, counted from where it stood then.

    ``currents`` are the numbers seen, the present one last; whoever changed them, the bound holds for the sum. It does
    not hold for the ``unplaced`` replicas, which found no node.
    """
    lowest = min(in_force(currents, now_s - up.per.total_seconds()))
    highest = max(in_force(currents, now_s - down.per.total_seconds()))
    current = currents[-1].replicas
    ceiling = max(lowest + up.max_step.of(lowest), current)
    floor = min(highest - down.max_step.of(highest), current - unplaced)
    if proposal > ceiling:
        return ceiling, (Reason.SCALE_UP_STEP_LIMITED,)
    if proposal < floor:
        return floor, (Reason.SCALE_DOWN_STEP_LIMITED,)
    return proposal, ()


def cooling_down(refusals: int, refused_at_s: float, now_s: float) -> bool:
    """Whether a target is left alone after refused writes: not after the first, since much may have changed by the next
    cycle, but for 30 s after the second in a row, and for a minute after each further one.
    """
    return bool(refusals) and now_s - refused_at_s < _COOLDOWNS_S[min(refusals, len(_COOLDOWNS_S)) - 1]
