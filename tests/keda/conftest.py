from collections.abc import Iterator

import pytest

from tests.cluster.build import PROMETHEUS
from tests.cluster.conftest import built, place, plane, testbed
from tests.cluster.control_plane import ControlPlane
from tests.cluster.place import own_place
from tests.cluster.scrape import PodPrometheus, pod_prometheus
from tests.keda.build import KEDA
from tests.keda.emitting import aiops_job, any_router_job
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


@pytest.fixture(scope="session")
def prometheus(
    plane: ControlPlane, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PodPrometheus]:
    """A real Prometheus that scrapes pods every second, and every aiops and a router as well."""
    folder, program = tmp_path_factory.mktemp("prometheus"), built(PROMETHEUS, pytestconfig)
    jobs = [aiops_job(plane), any_router_job(plane)]
    with own_place(plane, "monitoring") as place, pod_prometheus(folder, program, place, jobs=jobs) as it:
        yield it
