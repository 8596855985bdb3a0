"""What aiops keda prints, as a real API server with KEDA's own definitions takes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client.exceptions import ApiException
from typer.testing import CliRunner

from aiops.cli.main import app
from tests.cluster.manifests import Manifest
from tests.cluster.place import Place

pytestmark = [pytest.mark.real, pytest.mark.slow]


def policy(place: Place) -> str:
    pools = [
        {"name": "prefill", "role": "prefill", "target": {"name": "chat-p"}, "variant": "h100", "min": 0},
        {
            "name": "decode",
            "role": "decode",
            "target": {"kind": "StatefulSet", "name": "chat-d"},
            "variant": "h100",
            "min": 2,
            "max": 24,
        },
    ]
    spec = {"model": "meta-llama/Llama-3.1-8B", "mode": "emit", "pools": pools}
    metadata = {"name": "chat", "namespace": place.namespace}
    return yaml.safe_dump({"metadata": metadata, "spec": spec, "variants": {"h100": {}}})


def printed(place: Place, folder: Path, *options: str) -> list[Manifest]:
    file = folder / "policy.yaml"
    file.write_text(policy(place))
    shown = CliRunner().invoke(app, ["keda", "--policy", str(file), *options])
    assert shown.exit_code == 0, shown.stderr
    return list(yaml.safe_load_all(shown.stdout))


def kept(place: Place, manifest: Manifest) -> Manifest:
    """The spec as the API server has it after it was applied."""
    place.apply(manifest)
    kind = place.dynamic.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
    found: Manifest = kind.get(manifest["metadata"]["name"], place.namespace).to_dict()["spec"]
    return found


def within(asked: Any, found: Any) -> bool:
    """Whether all that was asked for was kept; the server may add what it has by default."""
    if isinstance(asked, dict):
        return isinstance(found, dict) and all(key in found and within(asked[key], found[key]) for key in asked)
    if isinstance(asked, list):
        return len(asked) == len(found) and all(map(within, asked, found))
    return bool(asked == found)


@pytest.mark.usefixtures("keda_definitions")
@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="as it is"),
        pytest.param(
            ("--authentication", "cluster/mimir", "--auth-mode", "bearer", "--tenant", "llm", "--matcher", 'c="a"'),
            id="with all that KEDA is told of a Prometheus",
        ),
    ],
)
def test_keda_s_definition_takes_every_scaled_object_and_drops_nothing(
    place: Place, tmp_path: Path, options: tuple[str, ...]
) -> None:
    made = printed(place, tmp_path, *options)

    assert [one["kind"] for one in made] == ["ScaledObject", "ScaledObject"]
    for manifest in made:
        assert within(manifest["spec"], kept(place, manifest))


def test_the_api_server_takes_every_hpa_and_drops_nothing(place: Place, tmp_path: Path) -> None:
    made = printed(place, tmp_path, "--hpa")

    assert [one["kind"] for one in made] == ["HorizontalPodAutoscaler", "HorizontalPodAutoscaler"]
    for manifest in made:
        assert within(manifest["spec"], kept(place, manifest))


def misspell_the_fallback(spec: Manifest) -> None:
    spec["fallback"]["behavior"] = "keepCurrent"


def invent_a_field(spec: Manifest) -> None:
    spec["tolerance"] = "0"


def forget_the_target(spec: Manifest) -> None:
    del spec["scaleTargetRef"]


@pytest.mark.usefixtures("keda_definitions")
@pytest.mark.parametrize("break_it", [misspell_the_fallback, invent_a_field, forget_the_target])
def test_the_definition_refuses_what_keda_would_not_understand(
    place: Place, tmp_path: Path, break_it: Callable[[Manifest], None]
) -> None:
    manifest = printed(place, tmp_path)[0]
    break_it(manifest["spec"])

    with pytest.raises(ApiException):
        place.apply(manifest)
