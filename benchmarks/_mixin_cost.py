"""What looking at dashboards costs with thousands of replicas: as they ship, and without what rules record."""

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.dashboards.promql import selectors
from tests.mixin.multiplied import multiplied
from tests.mixin.panels import dashboards, filled_in, names_asked_for, panels
from tests.mixin.recording import SCRAPE_S, Page, Week, Writer
from tests.mixin.rules import Rule, read_rules, without_recordings
from tests.mixin.server import Asked, Store
from tests.mixin.troubles import Plan, draw_week

_WARM_SCRAPES, _SCRAPES = 15, 16
"""The quarter of an hour that is asked about, after one in which the factory gets under way."""
_SPAN_S = (_SCRAPES - 1) * SCRAPE_S


def cost(replicas: int, folder: Path) -> dict[str, Any]:
    """Measure every dashboard on a fleet of so many replicas."""
    rules = read_rules()
    store = Store(folder, (_WARM_SCRAPES + _SCRAPES) * SCRAPE_S / 3600)
    began = time.perf_counter()
    samples = _write(replicas, folder / "fleet.txt")
    store.fill([folder / "fleet.txt"])
    (folder / "fleet.txt").unlink()
    filled_s = time.perf_counter() - began
    store.evaluate(rules)
    recorded = {rule.name: rule for rule in rules if not rule.alert}
    with store.running() as asked:
        shown = [_of_dashboard(asked, dashboard, recorded) for dashboard in dashboards()]
        paid = _of_rules(asked, recorded)
    return {
        "replicas": replicas,
        "minutes": _SPAN_S / 60,
        "step_s": SCRAPE_S,
        "samples_written": samples,
        "filled_s": round(filled_s, 1),
        "dashboards": shown,
        "one_evaluation_of_the_recording_rules": paid,
    }


def _write(replicas: int, path: Path) -> int:
    week = Week(Plan(draw_week(1, 0, clean=True).specs, ()), 1, names_asked_for())
    writer = Writer(names_asked_for())
    copies: dict[str, int] = {}
    with path.open("w") as file:
        for number, (at_s, pages) in enumerate(week.scrapes((_WARM_SCRAPES + _SCRAPES) * SCRAPE_S / 3600)):
            copies = copies or _copies(pages, replicas)
            if number >= _WARM_SCRAPES:
                writer.scrape(at_s, list(multiplied(pages, copies)), file)
        file.write("# EOF\n")
    return writer.samples


def _copies(pages: list[Page], replicas: int) -> dict[str, int]:
    """One replica of each pool, copied so often that the fleet has so many replicas."""
    pods = [page.labels["pod"] for page in pages if page.labels["job"] == "vllm"]
    firsts = list({pod.rsplit("-", 2)[0]: pod for pod in pods}.values())
    return {pod: (replicas - len(pods)) // len(firsts) for pod in firsts}


def _of_dashboard(asked: Asked, dashboard: Mapping[str, Any], recorded: Mapping[str, Rule]) -> dict[str, Any]:
    exprs = [filled_in(one["expr"], _SPAN_S) for panel in panels(dict(dashboard)) for one in panel["targets"]]
    return {
        "dashboard": dashboard["uid"],
        "queries": len(exprs),
        "as_shipped": _asked(asked, exprs),
        "without_recording_rules": _asked(asked, [without_recordings(expr, recorded, SCRAPE_S) for expr in exprs]),
    }


def _of_rules(asked: Asked, recorded: Mapping[str, Rule]) -> dict[str, Any]:
    """What Prometheus does at each interval so that looking is cheap: every rule once, one after the other."""
    took_ms = {name: _measured(asked, rule.expr, 0)["ms"] for name, rule in recorded.items()}
    slowest = max(took_ms, key=lambda name: took_ms[name])
    return {
        "rules": len(recorded),
        "series_recorded": sum(_count(asked, name) for name in recorded),
        "ms": round(sum(took_ms.values()), 1),
        "slowest": slowest,
        "slowest_ms": round(took_ms[slowest], 1),
    }


def _asked(asked: Asked, exprs: list[str]) -> dict[str, Any]:
    answers = [_measured(asked, expr) for expr in exprs]
    return {
        "series_touched": sum(answer["series"] for answer in answers),
        "samples_read": sum(answer["samples"] for answer in answers),
        "ms": round(sum(answer["ms"] for answer in answers), 1),
        "slowest_ms": round(max(answer["ms"] for answer in answers), 1),
        "refused": sum(answer["refused"] for answer in answers),
    }


def _measured(asked: Asked, expr: str, span_s: float = _SPAN_S) -> dict[str, Any]:
    series = sum(_count(asked, str(selector)) for selector in {str(one) for one, _ in selectors(expr)})
    query = {"query": expr, "start": asked.ends_s - span_s, "end": asked.ends_s, "step": SCRAPE_S, "stats": "all"}
    url = f"{asked.url}/api/v1/query_range?{urllib.parse.urlencode(query)}"
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(url, timeout=600) as answer:  # noqa: S310  # loopback only
            found = json.load(answer)
    except urllib.error.HTTPError:
        return {"series": series, "samples": 0, "ms": 1000 * (time.perf_counter() - began), "refused": 1}
    wall_ms = 1000 * (time.perf_counter() - began)
    return {
        "series": series,
        "samples": found["data"]["stats"]["samples"]["totalQueryableSamples"],
        "ms": wall_ms,
        "refused": 0,
    }


def _count(asked: Asked, selector: str) -> int:
    """The series that a look at the whole span finds: those that stood out for a minute of it, too."""
    # The parser writes a matcher as it was meant, not as it is read.
    readable = re.sub(r"(?s)(offset|@) .*", "", selector).replace("\\", r"\\")
    ever = f"count(present_over_time({readable}[{_SPAN_S + SCRAPE_S:g}s]))"
    found = asked.range(ever, SCRAPE_S, asked.hours * 3600 - SCRAPE_S)
    return int(float(found[0]["values"][-1][1])) if found else 0
