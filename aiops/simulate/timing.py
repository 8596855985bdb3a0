"""A capacity profile laid out for the inner loop: no search over points, no interpolation per step."""

from itertools import pairwise
from math import inf

from aiops.model.interpolate import interpolate
from aiops.model.profile import CapacityProfile


class StepTimes:
    """Prefill times by whole tokens, and decode steps as straight lines over the mean context, by whole batches.

    ``prefill_s[n]`` is the time of ``n`` prompt tokens alone, up to ``max_model_len``; ``prefill_s[0]`` is what the
    table leaves for no token at all, the fixed cost of a step. ``lines[batch][i]`` is (seconds at context 0, seconds
    per token of context) for mean contexts below ``knots[i]`` (the last is infinite). Both equal
    ``CapacityProfile.prefill_s`` and ``step_s``, whose cost grows linearly in context between the table's rows, so
    that the mean context of a batch is all it takes.
    """

    def __init__(self, profile: CapacityProfile, max_model_len: int) -> None:
        prefill_s = [profile.prefill_s(tokens) for tokens in range(1, max(max_model_len, 2) + 1)]
        self.prefill_s = [max(0.0, 2 * prefill_s[0] - prefill_s[1]), *prefill_s]
        contexts = [row.context for row in profile.decode]
        self.knots = [*contexts[1:-1], inf]
        self.lines = [_lines(profile, contexts, batch) for batch in range(profile.limits.max_num_seqs + 1)]


def _lines(profile: CapacityProfile, contexts: list[float], batch: int) -> list[tuple[float, float]]:
    seconds = [interpolate(batch, row.batch, row.itl_ms) / 1000 for row in profile.decode]
    if len(contexts) == 1:
        return [(seconds[0], 0.0)]
    lines = []
    for (x0, y0), (x1, y1) in pairwise(zip(contexts, seconds, strict=True)):
        slope = (y1 - y0) / (x1 - x0)
        lines.append((y0 - slope * x0, slope))
    return lines
