"""aiops in mode emit beside the real KEDA: who scrapes it, what carries its number out, and what came of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from typer.testing import CliRunner

from aiops.cli.main import app
from tests.act.granted import ACCOUNT, grant
from tests.cluster.control_plane import ControlPlane
from tests.cluster.controller import Controller, controller
from tests.cluster.live import router
from tests.cluster.manifests import Manifest
from tests.cluster.place import Place
from tests.cluster.recording import Recording, ReplicasSet
from tests.cluster.scrape import PodPrometheus

PORTS = (9095, 9096)
# All that mode emit needs: it writes nothing but its Lease.
RIGHTS = ("observe", "controller/leader-election.yaml", "cluster/nodes.yaml", "cluster/pods.yaml")


def aiops_job(plane: ControlPlane) -> dict[str, object]:
    """How deploy/monitoring has aiops scraped, for processes that are no pods."""
    targets = [f"{plane.block.server}:{port}" for port in PORTS]
    return {"job_name": "aiops", "honor_labels": True, "static_configs": [{"targets": targets}]}


def any_router_job(plane: ControlPlane) -> dict[str, object]:
    """How a router is scraped whose series name no namespace: that of whoever has it at the time."""
    host, port = router(plane)
    return {"job_name": "router", "static_configs": [{"targets": [f"{host}:{port}"]}]}


def scaled_objects(
    policy: str, folder: Path, prometheus: PodPrometheus, change: Callable[[Manifest], None] = lambda _: None
) -> list[Manifest]:
    """What aiops keda prints for a policy, each with a change."""
    file = folder / "printed.policy.yaml"
    file.write_text(policy)
    shown = CliRunner().invoke(app, ["keda", "--policy", str(file), "--prometheus-address", prometheus.url])
    assert shown.exit_code == 0, shown.stderr
    made = list(yaml.safe_load_all(shown.stdout))
    for manifest in made:
        change(manifest)
    return made


@contextmanager
def emitting(
    place: Place,
    prometheus: PodPrometheus,
    folder: Path,
    policy: str,
    *,
    port: int = PORTS[0],
    interval: str = "2s",
    window: str = "8s",
) -> Iterator[Controller]:
    """Run aiops where Prometheus scrapes it, with no right to write."""
    grant(place, *RIGHTS)
    listen, name = f"{place.plane.block.server}:{port}", f"aiops-{port}"
    how = {"name": name, "interval": interval, "window": window, "listen": listen}
    with controller(place, prometheus.url, folder, policy, **how) as started:
        yield started


def wrote_only_its_lease(place: Place) -> bool:
    """Whether all that aiops changed is the Lease by which it leads, as the audit log has it."""
    calls = place.plane.calls(ACCOUNT, place.namespace)
    changed = {call["objectRef"]["resource"] for call in calls if call["verb"] not in ("get", "list", "watch")}
    return changed - {"selfsubjectaccessreviews"} == {"leases"}


def exported(prometheus: PodPrometheus, pool: str, within: str = "30m") -> list[tuple[float, int]]:
    """Every number that Prometheus scraped for a pool, by time, whoever exported it."""
    rows = prometheus.query(f'aiops_desired_replicas{{pool="{pool}"}}[{within}]')
    return sorted((float(at_s), int(value)) for row in rows for at_s, value in row["values"])


def unasked(run: Recording, pool: str, began_s: float, numbers: Sequence[tuple[float, int]]) -> list[ReplicasSet]:
    """The changes of ``spec.replicas`` that nobody had asked for.

    What was written must be a number that was exported before, and none from before the last one that was written.
    """
    wrong, first = [], 0
    for _, write in run.moves(pool):
        asked = [
            place
            for place, (at_s, number) in enumerate(numbers)
            if place >= first and number == write.replicas and at_s <= began_s + write.t_s
        ]
        if asked:
            first = asked[0]
        else:
            wrong.append(write)
    return wrong
