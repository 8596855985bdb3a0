"""What ``make cluster`` prints is there: the kubeconfig, the console, Prometheus, and all of it ends with Ctrl-C."""

import re
import signal
import sys
from pathlib import Path

import pytest
from kubernetes import client

from tests.cluster.build import Built
from tests.cluster.control_plane import new_client
from tests.cluster.program import Program
from tests.cluster.scrape import PodPrometheus
from tests.parts import http_text, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_a_cluster_to_look_at_tells_where_everything_is(
    testbed: Built, prometheus: PodPrometheus, tmp_path: Path
) -> None:
    """The fixtures build its parts; they are not the ones that it runs."""
    program = Program("live", [sys.executable, "-m", "tests.cluster.live", "--replicas", "1"], tmp_path)
    program.start()
    try:
        program.wait_until(lambda: "end   Ctrl-C" in program.log.read_text(), "says what it has", 180.0)
        told = program.log.read_text()
        kubeconfig = Path(re.findall(r"KUBECONFIG=(\S+)", told)[0])
        console, theirs = (re.findall(rf"{name}\s+(\S+)", told)[0] for name in ("console", "Prometheus"))
        with new_client(kubeconfig) as admin:
            deployment = client.AppsV1Api(admin).read_namespaced_deployment("chat-8b", "llm")
        page = http_text(console)
        wait_for(lambda: "aiops_current_replicas{" in http_text(f"{console}/metrics"), "aiops sees the replicas")
        ready = http_text(f"{theirs}/-/ready")
    finally:
        program.stop(signal.SIGINT)

    assert deployment.spec.replicas == 1
    assert "<title>aiops</title>" in page
    assert "Ready" in ready
    assert not kubeconfig.exists()
