"""A living factory with a real Prometheus on it, and aiops as a command."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.parts import free_port, http_text, prometheus, running, wait_for

ROOT = Path(__file__).parents[2]
AIOPS = [str(Path(sys.executable).with_name("aiops"))]


def aiops(
    *arguments: str, timeout_s: float = 180.0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AIOPS, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, **(env or {})},
    )


@dataclass(frozen=True)
class Living:
    """Where Prometheus is, where the demo's page is, and policies that fit the factory."""

    prometheus: str
    demo: str
    policy: Path


def write_policy(folder: Path, mode: str = "emit") -> Path:
    """The demo's policies in another mode; ``run`` writes to no cluster."""
    path = folder / "policies.yaml"
    path.write_text((ROOT / "policies" / "demo.yaml").read_text().replace("mode: act", f"mode: {mode}"))
    return path


@contextmanager
def scraping(demo: str, folder: Path) -> Iterator[str]:
    """A Prometheus that finds the demo's engines by HTTP service discovery."""
    config: dict[str, object] = {
        "job_name": "vllm",
        "http_sd_configs": [{"url": f"{demo}/fleet/targets", "refresh_interval": "1s"}],
    }
    with prometheus(folder / "prometheus", [config]) as url:
        yield url


@contextmanager
def living_factory(folder: Path) -> Iterator[Living]:
    """The demo at the pace of real time, and a Prometheus on it."""
    port = free_port()
    demo = f"http://127.0.0.1:{port}"
    with running([*AIOPS, "demo", "--speed", "1", "--port", str(port), "--cold"], folder / "demo.log"):
        wait_for(lambda: http_text(f"{demo}/fleet/targets"), "the factory answers")
        with scraping(demo, folder) as url:
            # The decode pool is the last of all to finish a request.
            query = 'sum(rate(vllm:request_success_total{llm_d_ai_role="decode"}[8s]))>0'
            wait_for(lambda: '"value"' in http_text(f"{url}/api/v1/query?query={quote(query)}"), "requests finish", 90)
            yield Living(url, demo, write_policy(folder))
