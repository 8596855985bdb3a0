"""aiops dashboards: write the Grafana dashboards, as files or as ConfigMaps for Grafana's sidecar."""

from pathlib import Path
from typing import Annotated

import typer

from aiops.cli.connect import JsonOption
from aiops.cli.shell import err, failing, print_json, telling, whole
from aiops.observe.dashboard_files import DashboardFormat, dashboard_files


def dashboards(
    out_folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write to.")],
    file_format: Annotated[
        DashboardFormat, typer.Option("--format", help="Dashboards as JSON, or ConfigMaps that carry them.")
    ] = DashboardFormat.JSON,
    datasource: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The Prometheus in Grafana that is chosen at first, by its name or uid."),
    ] = None,
    console: Annotated[
        str | None, typer.Option(metavar="URL", help="Where people reach aiops' page; links and runbooks lead there.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(metavar="NAME", help="The namespace of the ConfigMaps, where Grafana looks for them.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the Grafana dashboards: fleet, model, balance, cache, prefill and decode, decisions.

    They are for Grafana 11 or later: from a folder that it provisions, or through its sidecar, which takes ConfigMaps
    with the label grafana_dashboard. They read series that the rules of alerts/ record, so Prometheus needs those too.
    Links lead to http://localhost:9095, where kubectl port-forward has the page, unless --console says where it is.

    Exit codes: 0 done, 1 the folder cannot be written, 2 wrong usage.

    Examples:

      aiops dashboards --out /var/lib/grafana/dashboards/aiops

      aiops dashboards --out manifests/ --format configmap --namespace monitoring && kubectl apply -f manifests/

      aiops dashboards --out boards/ --datasource Thanos --console https://aiops.example.com
    """
    if console is not None and not console.startswith(("http://", "https://")):
        raise typer.BadParameter(f"--console {console} is no address; write one such as https://aiops.example.com")
    if namespace is not None and file_format is not DashboardFormat.CONFIGMAP:
        raise typer.BadParameter("--namespace is for ConfigMaps; add --format configmap, or leave it out")
    with telling(as_json):
        with failing(f"{out_folder} cannot be written"):
            texts = dashboard_files(file_format, datasource=datasource, console=console, namespace=namespace)
            out_folder.mkdir(parents=True, exist_ok=True)
            for name, text in texts.items():
                with whole(out_folder / name) as part:
                    part.write_text(text, encoding="utf-8")
        if as_json:
            print_json({"files": [str(out_folder / name) for name in texts]})
            return
        err.print(f"{len(texts)} files are in {out_folder}", markup=False, highlight=False, soft_wrap=True)
