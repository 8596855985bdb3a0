"""The switch for everything, thrown and taken back while aiops runs."""

from pathlib import Path

import pytest

from tests.act.granted import writes
from tests.cluster.place import Place
from tests.cluster.scrape import PodPrometheus
from tests.cluster.test_acting import aiops_run, asked, reasons_of, served
from tests.parts import http_text, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]

__all__ = ["served"]  # a fixture


def switch(folder: Path, position: str) -> None:
    (folder / "fleet.yaml").write_text(f"kind: FleetPolicy\nspec: {{writes: {position}}}\n")


def test_nothing_is_written_while_the_switch_is_off_whatever_the_load(
    served: Place, prometheus: PodPrometheus, tmp_path: Path
) -> None:
    switch(tmp_path, "off")
    with aiops_run(served, prometheus, tmp_path, options=[f"--policy={tmp_path / 'fleet.yaml'}"]) as page:
        wait_for(lambda: "writes_off" in reasons_of(page), "the switch is seen", timeout_s=180.0)
        wait_for(lambda: "demand" in reasons_of(page) or "backlog" in reasons_of(page), "more is needed", 180.0)
        off = (asked(served), writes(served), "aiops_writes_off 1.0" in http_text(f"{page}/metrics"))
        switch(tmp_path, "on")
        wait_for(lambda: asked(served) > 2, "what the load needs is ordered", timeout_s=120.0)
        on = "aiops_writes_off 0.0" in http_text(f"{page}/metrics")

    assert off == (2, [], True)
    assert on
