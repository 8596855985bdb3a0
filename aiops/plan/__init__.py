"""Work, capacity and needs become replicas: pure, told the time."""

from aiops.plan.decide import decide
from aiops.plan.learn import begin, learn_snapshot
from aiops.plan.remember import remember
from aiops.plan.state import Recording, State

__all__ = ["Recording", "State", "begin", "decide", "learn_snapshot", "remember"]
