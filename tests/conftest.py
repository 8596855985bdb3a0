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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first, each whole: the last to be done should be a short one, while others wait."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
