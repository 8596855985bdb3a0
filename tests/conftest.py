import os
from pathlib import Path

import pytest
import yaml
from hypothesis import settings

from aiops.model.profile import CapacityProfile

ROOT = Path(__file__).parents[1]

# Timings never fail a test; and where a run guards others' work it draws the same examples every time. Elsewhere new
# ones are drawn, so that every run may find more.
settings.register_profile("house", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("house")


@pytest.fixture(scope="session")
def shipped_profiles() -> dict[str, CapacityProfile]:
    return {
        path.stem: CapacityProfile.model_validate(yaml.safe_load(path.read_text()))
        for path in sorted((ROOT / "policies" / "profiles").glob("*.yaml"))
    }
