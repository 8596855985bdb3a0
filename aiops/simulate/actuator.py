"""The factory as an actuator moves it."""

from aiops.model.decision import Decision, Outcome
from aiops.simulate.factory import Factory


class FactoryActuator:
    """Sets the replicas of a factory's pools; fits the Actuator Protocol. What is applied is observed next."""

    def __init__(self, factory: Factory) -> None:
        self._factory = factory

    def apply(self, decision: Decision) -> Outcome:
        """Set the pool's replicas to ``desired``; asking for what is there already changes nothing."""
        at = self._factory.now
        if decision.desired is None:
            return Outcome(decision.pool, at, decision.current or 0, applied=False, error="no number was decided")
        try:
            self._factory.price(decision.pool)
            self._factory.scale(decision.pool, decision.desired)
        except ValueError as error:
            return Outcome(decision.pool, at, decision.desired, applied=False, error=str(error))
        return Outcome(decision.pool, at, decision.desired, applied=True)
