"""How much each member counts: softly, by trailing error."""

from collections.abc import Sequence

from aiops.forecast.state import Score

POWER = 6.0
FLOOR_RATIO = 0.02
"""What a member keeps however wrong it was, so that it can come back."""


def weights(values: Sequence[float | None], score: Score) -> tuple[float, ...]:
    """Share 1 among the members that have an opinion: (error ÷ least error) to the power −6, above a floor.

    A member whose opinions were never judged counts as the worst of those that were. Without any opinion all are 0.
    """
    errors = [
        error / actual if actual > 0.0 else None for error, actual in zip(score.errors, score.actuals, strict=True)
    ]
    known = [error for value, error in zip(values, errors, strict=True) if value is not None and error is not None]
    least, worst = (min(known), max(known)) if known else (0.0, 0.0)
    raw = []
    for value, error in zip(values, errors, strict=True):
        # The constant keeps members equal that are all right to a millionth.
        ratio = (least + 1e-6) / ((worst if error is None else error) + 1e-6)
        raw.append(0.0 if value is None else ratio**POWER + FLOOR_RATIO)
    total = sum(raw)
    return tuple([share / total for share in raw]) if total else tuple(raw)
