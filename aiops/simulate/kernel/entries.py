"""What Python calls of the compiled code beside ``events.advance``: everything that is done to a fleet from outside.

Each function that Python calls is compiled with all that it calls in turn, so one does it all.
"""

from aiops.simulate.kernel.blocks import cache_of, flush, take_new
from aiops.simulate.kernel.compiled import entry
from aiops.simulate.kernel.events import call_gateway
from aiops.simulate.kernel.interventions import change_speed, fail_engine, look_next, settle, settle_all
from aiops.simulate.kernel.layout import Fleet

SETTLE, SETTLE_ALL, LOOK_NEXT, CALL_GATEWAY, CHANGE_SPEED, FAIL, FLUSH, HOLD_BLOCKS = range(8)


@entry
def intervene(fleet: Fleet, deed: int, number: int, value: int, now: int) -> None:
    """Do something to an engine, or to a pool (CALL_GATEWAY), or to all (SETTLE_ALL).

    ``value`` is the speed (CHANGE_SPEED) or how many blocks (HOLD_BLOCKS).
    """
    if deed == SETTLE_ALL:
        settle_all(fleet, now)
    elif deed == SETTLE:
        settle(fleet, number, now)
    elif deed == LOOK_NEXT:
        look_next(fleet, number, now)
    elif deed == CALL_GATEWAY:
        call_gateway(fleet, number, now)
    elif deed == CHANGE_SPEED:
        change_speed(fleet, number, value, now)
    elif deed == FAIL:
        fail_engine(fleet, number, now)
    elif deed == FLUSH:
        flush(cache_of(fleet, number))
    elif deed == HOLD_BLOCKS:
        take_new(cache_of(fleet, number), value)
