from pathlib import Path

import pytest
import yaml

from aiops.model.profile import CapacityProfile

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shipped_profiles() -> dict[str, CapacityProfile]:
    return {
        path.stem: CapacityProfile.model_validate(yaml.safe_load(path.read_text()))
        for path in sorted((ROOT / "policies" / "profiles").glob("*.yaml"))
    }
