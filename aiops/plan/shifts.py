"""Say which shifts of demand the forecasters have noticed, in terms of what users send."""

from datetime import UTC, datetime, timedelta
from math import exp, log

from aiops.forecast.change import LEAST_RATIO, Shift
from aiops.model.forecast import INPUT_TOKENS, OUTPUT_TOKENS, REQUESTS, DemandShift, ShiftKind
from aiops.plan.state import ModelMemory

_TOLD_FOR = timedelta(days=1)
_TOGETHER_S = 3600.0
_SETTLED = timedelta(minutes=20)
"""Series notice a shift up to two slots apart: which of them did not shift is known only then."""


def demand_shifts(memory: ModelMemory, at: datetime) -> tuple[DemandShift, ...]:
    """Give what shifted last, if that was noticed within a day: the level, the tokens a request, the mix of both kinds.

    The level is that of requests. Tokens a request are those of the kind that moved further against it; the mix is
    output ÷ input tokens.
    """
    states = {entry.name: entry.state for entry in memory.series}
    found = {
        name: state.shift
        for name in (REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS)
        if (state := states.get(name)) is not None and state.shift is not None
    }
    last_s = max((shift.since_s for shift in found.values()), default=0.0)
    found = {name: shift for name, shift in found.items() if last_s - shift.since_s <= _TOGETHER_S}
    noticed_s = max((shift.at_s for shift in found.values()), default=0.0)
    noticed_at = datetime.fromtimestamp(noticed_s, UTC)
    if not found or at - noticed_at > _TOLD_FOR:
        return ()
    since = datetime.fromtimestamp(min(shift.since_s for shift in found.values()), UTC)
    requests, inputs, outputs = (_log(found.get(name)) for name in (REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS))
    moved = [(ShiftKind.LEVEL, requests)]
    if at - noticed_at >= _SETTLED:
        moved.append((ShiftKind.TOKENS_PER_REQUEST, max(inputs - requests, outputs - requests, key=abs)))
        moved.append((ShiftKind.MIX, outputs - inputs))
    return tuple(
        DemandShift(kind, exp(ratio), since, noticed_at) for kind, ratio in moved if abs(ratio) >= log(LEAST_RATIO) / 2
    )


def _log(shift: Shift | None) -> float:
    return 0.0 if shift is None else log(shift.ratio)
