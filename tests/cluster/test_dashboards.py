"""What `aiops dashboards` writes for Grafana's sidecar: the real API server takes it, and the label finds it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cluster.place import Place

PROGRAM = [sys.executable, "-c", "from aiops.cli.main import main; main()"]
pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_the_sidecar_finds_every_dashboard_whole(place: Place, tmp_path: Path) -> None:
    subprocess.run([*PROGRAM, "dashboards", "--out", str(tmp_path), "--format", "configmap"], check=True)
    place.apply(*(yaml.safe_load(path.read_text()) for path in sorted(tmp_path.iterdir())))

    found = place.core.list_namespaced_config_map(place.namespace, label_selector="grafana_dashboard=1").items
    dashboards = [json.loads(text) for one in found for text in one.data.values()]

    assert len(dashboards) == len(list(tmp_path.iterdir())) == 6
    assert {one["uid"] for one in dashboards} == {one.metadata.name for one in found}
