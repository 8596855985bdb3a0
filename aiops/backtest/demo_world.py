"""The world of the demo: the factory and the policies that ship with aiops."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiops.backtest.replay import World
from aiops.observe.packaged import packaged
from aiops.observe.policies import read_policies
from aiops.simulate.scenarios import demo_factory

MIDNIGHT = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday; the load knows the hour alone."""


def demo_world(seed: int, history: timedelta, start: datetime = MIDNIGHT) -> World:
    """Make the demo's world; ``history`` is how much of the past the loop is told of."""
    specs = demo_factory()
    policies = read_policies([Path(str(packaged("policies", "demo.yaml")))])
    profiles = {
        pool.profile: profile
        for spec in specs
        for pool in spec.pools
        if (profile := policies.variants[pool.variant or pool.profile].profile) is not None
    }
    return World(specs, profiles, policies, seed, start, history)
