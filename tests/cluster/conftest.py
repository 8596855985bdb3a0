import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import pytest
import yaml
from kubernetes import client

from tests.cluster.build import CLUSTER, PROMETHEUS, Built, MissingPart, Recipe, build, tell
from tests.cluster.control_plane import ControlPlane, control_plane
from tests.cluster.place import Place, own_place
from tests.cluster.scrape import PodPrometheus, pod_prometheus
from tests.keda.build import KEDA_DEFINITIONS
from tests.parts import wait_for


@contextmanager
def skipped_without() -> Iterator[None]:
    """A machine that lacks a part of the testbed fails in CI and skips elsewhere, naming what installs it."""
    try:
        yield
    except MissingPart as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def built(recipe: Recipe, config: pytest.Config) -> Built:
    capture = config.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        # Ten minutes of silence look like a test that hangs.
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            tell(f"\n{text}")

    with skipped_without():
        return build(recipe, say)
    raise AssertionError("a part that is missing ended the test above")


@pytest.fixture(scope="session")
def testbed(pytestconfig: pytest.Config) -> Built:
    return built(CLUSTER, pytestconfig)


@pytest.fixture(scope="session")
def plane(testbed: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The control plane that the tests of one worker share; each test has its own place in it."""
    with skipped_without(), control_plane(tmp_path_factory.mktemp("plane"), testbed) as started:
        yield started


@pytest.fixture
def place(plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[Place]:
    stem = re.sub(r"[^a-z0-9]+", "-", request.function.__name__.removeprefix("test_"))[:40].strip("-")
    with own_place(plane, stem) as made:
        yield made


@pytest.fixture(scope="session")
def prometheus(
    plane: ControlPlane, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PodPrometheus]:
    """A real Prometheus 3 that scrapes the annotated pods of all places, every second."""
    program = built(PROMETHEUS, pytestconfig)
    with (
        own_place(plane, "monitoring") as monitoring,
        pod_prometheus(tmp_path_factory.mktemp("prometheus"), program, monitoring) as started,
    ):
        yield started


@pytest.fixture(scope="session")
def keda_definitions(plane: ControlPlane, pytestconfig: pytest.Config) -> None:
    """KEDA's own definitions of its objects; nothing here acts on them, but what they refuse is refused."""
    folder = built(KEDA_DEFINITIONS, pytestconfig).data["definitions"]
    extensions = client.ApiextensionsV1Api(plane.admin)
    with own_place(plane, "definitions") as place:
        for path in sorted(folder.glob("*.yaml")):
            definition = yaml.safe_load(path.read_text())
            place.apply(definition)
            name = definition["metadata"]["name"]
            wait_for(partial(_established, extensions, name), f"{name} is established")


def _established(extensions: client.ApiextensionsV1Api, name: str) -> bool:
    conditions = extensions.read_custom_resource_definition(name).status.conditions or []
    return any(one.type == "Established" and one.status == "True" for one in conditions)
