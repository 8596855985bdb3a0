"""How Grafana would ask a Prometheus that holds two hours of what aiops emits."""

import json
import urllib.parse
from datetime import UTC, datetime, timedelta
from typing import Any

from tests import parts
from tests.dashboards.emitted import STEP_S
from tests.dashboards.promql import filled_in

# One to three hours ago, always at the same place in everything that repeats: whenever the tests run, the two hours
# before look the same.
ENDS = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 7200 * 7200, UTC) - timedelta(hours=1)
CYCLES = 2 * 3600 // STEP_S


def ask(url: str, expr: str, *, hours: float = 1.0) -> list[dict[str, Any]]:
    """The series that an expression gives over the last hours before ENDS, as Grafana would ask."""
    query = {
        "query": filled_in(expr),
        "start": (ENDS - timedelta(hours=hours)).timestamp(),
        "end": ENDS.timestamp(),
        "step": STEP_S,
    }
    answer = json.loads(parts.http_text(f"{url}/api/v1/query_range?{urllib.parse.urlencode(query)}"))
    assert answer["status"] == "success"
    found: list[dict[str, Any]] = answer["data"]["result"]
    return [series for series in found if any(value != "NaN" for _, value in series["values"])]
