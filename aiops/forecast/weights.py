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
    errors: list[float | None] = [
        (error / actual if actual > 0.0 else None) if value is not None else None
        for value, error, actual in zip(values, score.errors, score.actuals, strict=True)
    ]
    known = [error for error in errors if error is not None]
    # A millionth more keeps members equal that are all right.
    least, worst = (min(known) + 1e-6, max(known)) if known else (1e-6, 0.0)
    raw = [
        0.0 if value is None else (least / ((worst if error is None else error) + 1e-6)) ** POWER + FLOOR_RATIO
        for value, error in zip(values, errors, strict=True)
    ]
    total = sum(raw)
    return tuple([share / total for share in raw]) if total else tuple(raw)
