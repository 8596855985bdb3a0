"""The alerts and dashboards on simulated weeks, in a real Prometheus: what is told of troubles, and what looking costs.

python benchmarks/mixin.py [--seeds 11,12,13] [--hours 168]: for each seed a week with troubles and a clean one; recall,
precision and time to fire by kind, and the pages of the clean weeks. The rules were tuned on other seeds. A troubled
week is held by a Prometheus 2 and a 3: what of all panels and rules shows nothing in either, though it should, is told.
python benchmarks/mixin.py --cost [--replicas 10000]: series touched, samples read and milliseconds of each dashboard.
python benchmarks/mixin.py --panels DIR: half a day's panel data, one JSON file a dashboard.
Prints JSON. Needs the programs ``prometheus`` and ``promtool``.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

sys.path.insert(0, str(Path(__file__).parents[1]))

from _mixin_cost import cost

from tests.cluster.build import PROMETHEUS, build, tell
from tests.mixin.panels import LOOK_S, dashboards, evaluated, may_be_empty, names_asked_for, silent_panels, silent_rules
from tests.mixin.recording import Week
from tests.mixin.rules import read_rules
from tests.mixin.score import Judged, judge, summary
from tests.mixin.server import Store, stores
from tests.mixin.troubles import HALF_A_DAY_HOURS, draw_half_a_day, draw_week


def week(seed: int, hours: float, clean: bool, programs: Mapping[str, Path | None]) -> dict[str, Any]:
    """Judge one week, as each Prometheus of ``programs`` tells it: the first in full, others by their ratios."""
    began, plan = time.perf_counter(), draw_week(seed, hours, clean=clean)
    with tempfile.TemporaryDirectory() as folder:
        held = stores(Week(plan, seed, names_asked_for()), hours, Path(folder), programs)
        kept = {major: replace(store, program=programs[major]) for major, store in held.items()}
        judged = {major: judge(plan.troubles, store.evaluate(read_rules())) for major, store in kept.items()}
        looks = {} if clean else {major: look(store) for major, store in kept.items()}
    first, *others = judged
    return {
        "seed": seed,
        "clean": clean,
        "wall_s": round(time.perf_counter() - began, 1),
        **summary(judged[first]),
        "others": {major: {name: summary(judged[major])[name] for name in _RATIOS} for major in others},
        "looks": looks,
        "judged": judged[first],
    }


def look(store: Store) -> dict[str, Any]:
    """Ask every panel's queries and every rule over the whole time; give what shows nothing and is not listed."""
    panels, rules = may_be_empty()
    with store.running() as asked:
        shown = [evaluated(asked, dashboard, step_s=LOOK_S) for dashboard in dashboards()]
        silent = {one["uid"]: silent_panels(one) for one in shown}
        return {
            "panels": sum(len(one["panels"]) for one in shown),
            "panels_silent": {
                f"{uid}: {title}": exprs
                for uid, titles in silent.items()
                for title, exprs in titles.items()
                if title not in panels.get(uid, {})
            },
            "rules": sum(not rule.alert for rule in read_rules()),
            "rules_silent": sorted(silent_rules(asked) - set(rules)),
        }


def weeks(seeds: list[int], hours: float) -> dict[str, Any]:
    """Judge a troubled and a clean week of each seed."""
    both = {"2": None, "3": build(PROMETHEUS, tell).programs["prometheus"]}
    rows = Parallel(n_jobs=2)(
        delayed(week)(seed, hours, clean, {"2": None} if clean else both) for seed in seeds for clean in (False, True)
    )
    troubled, clean = ([row.pop("judged") for row in rows if row["clean"] is one] for one in (False, True))
    whole = Judged(*(tuple(one for judged in troubled for one in getattr(judged, name)) for name in _PARTS))
    return {
        "benchmark": "mixin",
        "hours": hours,
        "troubled": summary(whole),
        "clean": {
            "episodes": sum(len(judged.episodes) for judged in clean),
            "pages": sum(one.named["severity"] == "critical" for judged in clean for one in judged.episodes),
        },
        "weeks": rows,
    }


_RATIOS = ("recall_ratio", "episodes", "precision_ratio", "pages", "false")
_PARTS = ("told", "false", "episodes")


def panel_data(folder: Path) -> list[str]:
    """Write what the panels show over half a day with troubles; give the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        day = Week(draw_half_a_day(1), 1, names_asked_for())
        store = stores(day, HALF_A_DAY_HOURS, Path(scratch), ["2"])["2"]
        store.evaluate(read_rules())
        with store.running() as asked:
            for dashboard in dashboards():
                shown = evaluated(asked, dashboard)
                (folder / f"{dashboard['uid']}.json").write_text(json.dumps(shown))
    return sorted(str(path) for path in folder.glob("*.json"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="11,12,13", help="the seeds of the weeks")
    parser.add_argument("--hours", type=float, default=168.0, help="how long a week is")
    parser.add_argument("--cost", action="store_true", help="measure the dashboards' queries instead")
    parser.add_argument("--replicas", type=int, default=10_000, help="of the fleet whose queries are measured")
    parser.add_argument("--panels", type=Path, help="write the panels' data into this folder instead")
    options = parser.parse_args()
    if options.panels is not None:
        result: Any = panel_data(options.panels)
    elif options.cost:
        with tempfile.TemporaryDirectory() as folder:
            result = cost(options.replicas, Path(folder))
    else:
        result = weeks([int(seed) for seed in options.seeds.split(",")], options.hours)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
