"""Work, capacity and needs become replicas: pure, told the time."""

from aiops.plan.decide import decide
from aiops.plan.fleet_limit import recall
from aiops.plan.learn import begin, learn_snapshot
from aiops.plan.orders import NOT_ALONE, orders_of
from aiops.plan.remember import remember
from aiops.plan.state import Recording, State

__all__ = ["NOT_ALONE", "Recording", "State", "begin", "decide", "learn_snapshot", "orders_of", "recall", "remember"]
