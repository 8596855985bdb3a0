"""The Grafana dashboards that aiops carries, as the files that Grafana or its sidecar take."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import yaml

from aiops.observe.packaged import packaged

SIDECAR_LABEL = "grafana_dashboard"
FOLDER_ANNOTATION = "grafana_folder"


class DashboardFormat(StrEnum):
    """For whom the files are."""

    JSON = "json"
    CONFIGMAP = "configmap"


def dashboard_files(
    form: DashboardFormat = DashboardFormat.JSON,
    *,
    datasource: str | None = None,
    console: str | None = None,
    namespace: str | None = None,
) -> dict[str, str]:
    """Give the text of each file under its name.

    ``datasource`` is the name or uid of the Prometheus that is chosen at first, ``console`` the address of aiops' own
    page that links lead to. A ConfigMap carries the label that Grafana's sidecar looks for, and stays small enough for
    ``kubectl apply``.
    """
    files = {}
    for path in sorted(packaged("dashboards", "json").glob("*.json")):
        dashboard = _set(json.loads(path.read_text(encoding="utf-8")), datasource, console)
        text = json.dumps(dashboard, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        if form is DashboardFormat.JSON:
            files[path.name] = text
        else:
            files[f"{path.stem}.yaml"] = _config_map(path.stem, text, namespace)
    return files


def _set(dashboard: dict[str, Any], datasource: str | None, console: str | None) -> dict[str, Any]:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    if datasource is not None:
        variables["datasource"]["current"] = {"text": datasource, "value": datasource}
    if console is not None:
        variables["console"]["query"] = console.rstrip("/")
    return dashboard


class _Block(str):
    """A text of several lines, to be written as it is."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes dashboards as blocks, so that people can read and compare them."""


_Dumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")
)


def _config_map(name: str, text: str, namespace: str | None) -> str:
    metadata: dict[str, Any] = {
        "name": name,
        "labels": {"app.kubernetes.io/name": "aiops", SIDECAR_LABEL: "1"},
        "annotations": {FOLDER_ANNOTATION: "aiops"},
    }
    if namespace is not None:
        metadata["namespace"] = namespace
    document: Mapping[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {f"{name}.json": _Block(text)},
    }
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
