"""The demo without its page: what scripts read of it."""

import json

import pytest

from tests.cli.factory import aiops

pytestmark = pytest.mark.slow
COMMAND = ["demo", "--headless", "--for", "40m", "--seed", "1", "--json"]


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, again = aiops(*COMMAND), aiops(*COMMAND)
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    result = json.loads(first.stdout)
    assert {"seed", "duration_s", "requests", "attainment_ratio", "replica_hours"} <= set(result)
    assert {"gpu_hours", "scale_events", "decisions"} <= set(result)
    assert (result["seed"], result["duration_s"]) == (1, 2400)
    assert result["requests"] > 1000
    assert result["attainment_ratio"] > 0.95
    pools = [pool for model in result["models"].values() for pool in model["pools"].values()]
    assert sum(pool["gpu_hours"] for pool in pools) == pytest.approx(result["gpu_hours"], abs=1e-4)


def test_another_seed_is_another_day() -> None:
    first, other = aiops(*COMMAND), aiops("demo", "--headless", "--for", "40m", "--seed", "2", "--json")
    assert json.loads(first.stdout)["requests"] != json.loads(other.stdout)["requests"]


def test_people_get_a_sentence() -> None:
    done = aiops("demo", "--headless", "--for", "5m")
    assert done.returncode == 0
    assert "replica-hours" in done.stdout
