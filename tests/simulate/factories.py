"""Small profiles, specs and factories."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from aiops.model.profile import CapacityProfile
from aiops.simulate.factory import Factory
from aiops.simulate.spec import FactorySpec

START = datetime(2026, 3, 2, tzinfo=UTC)
_PROFILES = Path(__file__).parents[2] / "policies" / "profiles"


def shipped_profiles() -> dict[str, CapacityProfile]:
    return {
        path.stem: CapacityProfile.model_validate(yaml.safe_load(path.read_text())) for path in _PROFILES.glob("*.yaml")
    }


def small_profile(**changes: object) -> CapacityProfile:
    """10 ms a step, 1 ms a sequence and 1 µs a token of context beyond; 5 ms a prompt and 0.1 ms a token."""
    plain: dict[str, object] = {
        "model": "small",
        "accelerator": "none",
        "tensorParallel": 2,
        "source": {"kind": "made-up"},
        "kvTokens": 20_000,
        "limits": {"maxNumSeqs": 16, "maxNumBatchedTokens": 512},
        "prefill": {"isl": [100, 1100], "ttftMs": [15, 115]},
        "decode": [
            {"context": 0.001, "batch": [1, 16], "itlMs": [11, 26]},
            {"context": 1000, "batch": [1, 16], "itlMs": [12, 42]},
            {"context": 2000, "batch": [1, 16], "itlMs": [14, 66]},
        ],
    }
    return CapacityProfile.model_validate(plain | changes)


def aggregated(replicas: int = 2, **changes: object) -> dict[str, object]:
    return {"pools": [{"name": "pool", "replicas": replicas, "profile": "small"}], **changes}


def pair(prefill: int = 2, decode: int = 2, **changes: object) -> dict[str, object]:
    pools = [
        {"name": "prefill", "role": "prefill", "replicas": prefill, "profile": "small"},
        {"name": "decode", "role": "decode", "replicas": decode, "profile": "small"},
    ]
    return {"pools": pools, **changes}


def workload(
    requests_per_s: float = 5.0, prompt: float = 400, output: float = 40, **changes: object
) -> dict[str, object]:
    return {
        "requestsPerS": requests_per_s,
        "inputTokens": {"mean": prompt, "spread": 0.6, "max": 4000},
        "outputTokens": {"mean": output, "spread": 0.6, "max": 400},
        **changes,
    }


def factory(*specs: dict[str, object], seed: int = 1, profile: CapacityProfile | None = None) -> Factory:
    read = [FactorySpec.model_validate(spec) for spec in specs]
    return Factory(read, {"small": profile or small_profile()}, seed, START)


def run(made: Factory, seconds: float) -> Factory:
    made.advance(made.now + timedelta(seconds=seconds))
    return made
