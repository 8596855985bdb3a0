"""aiops on the testbed as on any cluster: a process with its ServiceAccount's token and what deploy/ grants."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.act.granted import ACCOUNT
from tests.cluster.place import Place
from tests.cluster.program import Program

SIGHT_AND_SCALE = ("observe", "act", "cluster/nodes.yaml", "cluster/pods.yaml")
LEASE = "controller/leader-election.yaml"
RIGHTS = (*SIGHT_AND_SCALE, LEASE)
_AIOPS = str(Path(sys.executable).with_name("aiops"))


@dataclass(frozen=True, slots=True)
class Controller:
    """An aiops that runs; its ``program`` may be killed. ``page`` is where its console and its API are."""

    program: Program
    page: str
    journal: Path


@contextmanager
def controller(
    place: Place,
    prometheus_url: str,
    folder: Path,
    policy: str,
    *,
    name: str = "aiops",
    interval: str = "2s",
    window: str = "8s",
    listen: str = "127.0.0.1:0",
    options: Sequence[str] = (),
) -> Iterator[Controller]:
    """Run aiops until the block ends. Its rights are to be granted before, such as by ``grant(place, *RIGHTS)``.

    Rates are over ``window``, at least four scrapes. Several of different names compete for one Lease.
    """
    folder.mkdir(parents=True, exist_ok=True)
    policies, journal = folder / f"{name}.policy.yaml", folder / f"{name}.journal.db"
    policies.write_text(policy)
    flags = {
        "policy": policies,
        "prometheus": prometheus_url,
        "kubeconfig": place.plane.kubeconfig(ACCOUNT, place.namespace),
        "lease": f"{place.namespace}/aiops",
        "interval": interval,
        "window": window,
        "history": "1h",
        "listen": listen,
        "journal": journal,
    }
    command = [_AIOPS, "run", *(f"--{flag}={value}" for flag, value in flags.items()), *options]
    program = Program(name, command, folder)
    program.start()
    try:
        program.wait_until(lambda: _page(program.log), "says where its page is", 120.0)
        yield Controller(program, _page(program.log), journal)
    finally:
        program.stop()


def _page(log: Path) -> str:
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return next((str(line["page"]) for line in lines if "page" in line), "")
