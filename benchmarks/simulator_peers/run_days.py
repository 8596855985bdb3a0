"""Days of the demo's factory with the control loop every 15 s: what the loop and what the factory take.

Arguments: days, seed.
"""

import json
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aiops.backtest.demo_world import demo_world
from aiops.backtest.replay import Tally
from aiops.control.lead import Alone
from aiops.control.loop import Loop
from aiops.simulate.actuator import FactoryActuator
from aiops.simulate.factory import Factory
from aiops.simulate.observer import FactoryObserver

HISTORY = timedelta(days=3)
INTERVAL_S = 15.0


@dataclass
class TimedClock:
    """The factory's time; what its running took is kept."""

    factory: Factory
    spent_s: float = field(default=0.0)

    def now(self) -> datetime:
        return self.factory.now

    def sleep(self, seconds: float) -> bool:
        began = time.perf_counter()
        self.factory.advance(self.factory.now + timedelta(seconds=seconds))
        self.spent_s += time.perf_counter() - began
        return True


def main() -> None:
    days, seed = float(sys.argv[1]), int(sys.argv[2])
    world = demo_world(seed, HISTORY)
    factory, tally = world.factory(), Tally()
    clock, state = TimedClock(factory), world.state()
    loop = Loop(FactoryObserver(factory), FactoryActuator(factory), tally, Alone(), lambda: world.policies)
    began = time.perf_counter()
    loop.run_forever(clock, state, INTERVAL_S, until=world.start + timedelta(days=days))
    wall_s = time.perf_counter() - began
    loop_s, models = wall_s - clock.spent_s, len(world.specs)
    print(
        json.dumps(
            {
                "days": days,
                "models": models,
                "cycles": tally.cycles,
                "requests": factory.summary().requests.requests,
                "wall_s": round(wall_s, 1),
                "factory_s": round(clock.spent_s, 1),
                "loop_s": round(loop_s, 1),
                "loop_ms_per_cycle_and_model": round(loop_s / tally.cycles / models * 1e3, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
