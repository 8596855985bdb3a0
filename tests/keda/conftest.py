from collections.abc import Iterator

import pytest

from tests.cluster.conftest import built, place, plane, prometheus, testbed
from tests.cluster.control_plane import ControlPlane
from tests.keda.build import KEDA
from tests.keda.real_keda import Keda, keda

# The cluster's fixtures serve here too.
__all__ = ["place", "plane", "prometheus", "running_keda", "testbed"]


@pytest.fixture(scope="session")
def running_keda(
    plane: ControlPlane,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Keda]:
    """The real KEDA in the control plane of this worker."""
    with keda(tmp_path_factory.mktemp("keda"), built(KEDA, pytestconfig), plane) as started:
        yield started
