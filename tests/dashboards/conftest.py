from collections.abc import Iterator

import pytest

from tests import parts
from tests.dashboards.asking import CYCLES, ENDS
from tests.dashboards.emitted import emitter_after, write_history


@pytest.fixture(scope="package")
def two_hours(tmp_path_factory) -> Iterator[str]:
    """A Prometheus with two hours of aiops' own metrics, back-filled."""
    folder = tmp_path_factory.mktemp("two-hours")
    _, scrapes = emitter_after(ENDS, CYCLES)
    with parts.prometheus(folder, [], history=[write_history(scrapes, folder / "history.txt")]) as url:
        yield url
