"""The past of a series in slots of ten minutes, shared by the members that look further back than their own memory."""

from math import floor

from aiops.model.forecaster import SLOT_S, History

MOST_SLOTS = 15 * 144
"""Fifteen days of slots: two weeks and a day."""


def empty_history(bin_s: float, phase: int = 0) -> History:
    """Give the history of a series in bins of ``bin_s`` seconds of which nothing is known.

    Series of different ``phase`` close their slots in different bins, so that dear work on them is spread.
    """
    slot_s = max(SLOT_S, bin_s)
    return History(slot_s, phase % int(slot_s // bin_s) * bin_s)


def with_bin(history: History, value: float | None, at_s: float, bin_s: float) -> History:
    """Take in the bin that ended at ``at_s`` (None: a gap); a bin belongs to the slot in which its middle lies.

    Values are kept with nine digits.
    """
    slot_s, offset_s = history.slot_s, history.offset_s
    slot_end_s = (floor((at_s - offset_s - bin_s / 2.0) / slot_s) + 1) * slot_s + offset_s
    end_s = slot_end_s - slot_s if history.end_s is None else history.end_s
    values, open_sum, open_count = history.values, history.open_sum, history.open_count
    missed = round((slot_end_s - slot_s - end_s) / slot_s)
    if missed > 0:  # the slot that was under way ended in a gap
        values = (*values, _mean(open_sum, open_count), *(None,) * min(missed - 1, MOST_SLOTS))[-MOST_SLOTS:]
        end_s, open_sum, open_count = slot_end_s - slot_s, 0.0, 0
    if value is not None:
        open_sum, open_count = open_sum + value, open_count + 1
    if at_s > slot_end_s - bin_s / 2.0:
        values = (*values, _mean(open_sum, open_count))[-MOST_SLOTS:]
        end_s, open_sum, open_count = slot_end_s, 0.0, 0
    return History(slot_s, offset_s, end_s, values, open_sum, open_count)


def _mean(total: float, count: int) -> float | None:
    return float(f"{total / count:.9g}") if count else None
