"""The checks themselves: each finds what it is there for, in a query and in a dashboard that was spoilt on purpose."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import promql_parser as promql
import pytest

from dashboards.generate import generated
from tests.dashboards.checks import complaints, expressions, panel_complaints, panels, query_complaints
from tests.dashboards.known import known, units_in
from tests.dashboards.promql import names
from tests.dashboards.units import shown_as, unit_of

FILES = {path.stem: json.loads(text) for path, text in generated().items()}
KNOWN = known()


@pytest.mark.parametrize(
    ("expr", "complaint"),
    [
        pytest.param(
            "sum(vllm:gpu_cache_usage_perc)", "an old name of vllm:kv_cache_usage_perc", id="a name of the past"
        ),
        pytest.param("sum(rate(vllm:num_preemptions[5m]))", "nobody exposes", id="a counter without its _total"),
        pytest.param("rate(vllm:iteration_tokens_total[5m])", "nobody exposes", id="a histogram called total"),
        pytest.param("sum(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION)", "not wrapped", id="a counter that no name betrays"),
        pytest.param("sum by (pods) (vllm:num_requests_waiting)", "have no label pods", id="a label to group by"),
        pytest.param("sum(up) / on (gpu) up", "a side has no label gpu", id="a label to join on"),
        pytest.param('sum({namespace="a"})', "without a name", id="every series there is"),
        pytest.param("sum by (cluster) (vllm:cache_config_info{model_name='a'})", "has no label model_name", id="trap"),
    ],
)
def test_the_rules_for_queries_find_what_is_broken(expr, complaint):
    found = list(query_complaints(expr, KNOWN))
    assert any(complaint in one for one in found), found


@pytest.mark.parametrize(
    ("expr", "shown", "right"),
    [
        pytest.param("sum(rate(vllm:generation_tokens_total[5m]))", "suffix: tok/s", True, id="tokens a second"),
        pytest.param("sum(rate(vllm:generation_tokens_total[5m]))", "reqps", False, id="tokens are no requests"),
        pytest.param("sum(increase(vllm:generation_tokens_total[5m]))", "suffix: tok/s", False, id="growth is no rate"),
        pytest.param("sum(rate(vllm:request_queue_time_seconds_sum[5m]))", "s", False, id="seconds a second"),
        pytest.param(
            "sum(rate(vllm:request_queue_time_seconds_sum[5m])) / sum(rate(vllm:request_queue_time_seconds_count[5m]))",
            "s", True, id="a mean",
        ),
        pytest.param(
            "histogram_quantile(0.9, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[5m])))",
            "s", True, id="a quantile",
        ),
        pytest.param("sum(rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[5m]))", "watt", False, id="milliwatts"),
        pytest.param("sum(rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[5m])) / 1000", "watt", True, id="watts"),
        pytest.param("max(vllm:kv_cache_usage_perc)", "percent", False, id="_perc goes from 0 to 1"),
        pytest.param("avg(DCGM_FI_DEV_GPU_UTIL)", "percentunit", False, id="this one goes to 100"),
        pytest.param("time() - max(aiops_loop_last_success_timestamp_seconds)", "s", True, id="an age"),
        pytest.param("sum(kube_pod_status_ready)", "short", True, id="truths are counted"),
        pytest.param("sum(aiops_cost_usd_per_hour)", "currencyUSD", True, id="money"),
        pytest.param("0 * sum(rate(llm_d_epp_request_total[5m]))", "reqps", True, id="nought of something"),
    ],
)  # fmt: skip
def test_a_unit_is_told_from_the_query(expr, shown, right):
    unit = unit_of(promql.parse(expr), units_in(KNOWN))
    assert unit is not None
    assert shown_as(unit, shown) is right


def _spoil(change: Callable[[str], str]) -> dict[str, Any]:
    spoilt: dict[str, Any] = json.loads(change(json.dumps(FILES["aiops-decisions"])))
    return spoilt


def _with_panel(title: str, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    spoilt = deepcopy(FILES["aiops-decisions"])
    change(next(panel for panel in panels(spoilt) if panel["title"].startswith(title)))
    return spoilt


@pytest.mark.parametrize(
    ("spoilt", "complaint"),
    [
        pytest.param(
            _spoil(lambda text: text.replace("aiops_lead_time_seconds", "aiops_lead_seconds")),
            "nobody exposes aiops_lead_seconds",
            id="a metric that nobody exposes",
        ),
        pytest.param(
            _spoil(lambda text: text.replace("sum by (le, stage)", "sum by (stage)")), "le", id="a quantile without le"
        ),
        pytest.param(
            _with_panel("Lead time", lambda panel: panel["fieldConfig"]["defaults"].update(unit="ms")),
            "shown as 'ms'",
            id="another unit",
        ),
        pytest.param(_spoil(lambda text: text.replace("horizon=", "ahead=")), "no label ahead", id="another label"),
        pytest.param(
            _spoil(lambda text: text.replace("$__rate_interval", "5m")), "fixed rate window", id="a fixed window"
        ),
        pytest.param(
            _spoil(lambda text: text.replace("max(aiops_loop_queries)", "rate(aiops_loop_queries[1m])")),
            "is a gauge",
            id="the rate of a gauge",
        ),
        pytest.param(
            _spoil(lambda text: text.replace("max(aiops_loop_queries)", "max(aiops_decisions_total)")),
            "not wrapped in a rate",
            id="a counter as it is",
        ),
        pytest.param(
            _with_panel("Cost", lambda panel: panel["gridPos"].update(x=0)), "overlaps", id="one panel upon another"
        ),
        pytest.param(
            _with_panel(
                "Cost", lambda panel: panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0].update(value=0)
            ),
            "null",
            id="a threshold that begins at zero",
        ),
        pytest.param(
            _with_panel("Cost", lambda panel: panel.update(description="")), "description", id="no description"
        ),
        pytest.param(
            _with_panel("Cost", lambda panel: panel["targets"][0].update(datasource="Prometheus")),
            "data source",
            id="a data source by name",
        ),
        pytest.param(_with_panel("Cost", lambda panel: panel.update(id=1)), "same id", id="two panels with one id"),
        pytest.param(
            _with_panel("Cost", lambda panel: panel.update(span=6)), "stale key span", id="a key of Grafana 5"
        ),
        pytest.param(
            _spoil(lambda text: text.replace("sum by (kind", "sum by kind")), "Forecast ahead", id="no PromQL"
        ),
    ],
)
def test_the_rules_find_what_is_broken(spoilt, complaint):
    assert any(complaint in found for found in complaints(spoilt, KNOWN)), complaints(spoilt, KNOWN)


# The same for every panel and every query: whatever is broken, wherever, is found.


@pytest.mark.parametrize("uid", FILES)
def test_no_panel_may_show_another_unit_than_its_queries_measure(uid):
    missed = []
    for panel in panels(FILES[uid]):
        for unit in {"ms", "bytes", "percent", "celsius", "s", "suffix: tok/s"} - {_unit(panel)}:
            spoilt = deepcopy(panel)
            spoilt["fieldConfig"]["defaults"]["unit"] = unit
            for override in spoilt["fieldConfig"]["overrides"]:
                override["properties"] = [one for one in override["properties"] if one["id"] != "unit"]
            if not list(panel_complaints(spoilt, KNOWN)):
                missed.append((panel["title"], unit))
    assert missed == []


def _unit(panel):
    unit: str = panel["fieldConfig"]["defaults"]["unit"]
    return unit


@pytest.mark.parametrize("uid", FILES)
def test_no_metric_may_be_renamed_and_no_label_lost(uid):
    spoilt = [
        (title, name, re.sub(rf"(?<![\w:]){re.escape(name)}(?![\w:])", f"{name}s", expr))
        for title, expr in expressions(FILES[uid])
        for name in names(expr)
    ]
    spoilt += [
        (title, label, re.sub(rf"([{{,]){label}([=!])", rf"\1{label}s\2", expr))
        for title, expr in expressions(FILES[uid])
        for label in re.findall(r"[{,](\w+)[=!]", expr)
    ]
    assert [(title, what) for title, what, expr in spoilt if not list(query_complaints(expr, KNOWN))] == []
    assert len(spoilt) > 20


@pytest.mark.parametrize("uid", FILES)
def test_no_quantile_may_lose_its_buckets(uid):
    found = [(title, expr) for title, expr in expressions(FILES[uid]) if "histogram_quantile" in expr]
    for title, expr in found:
        without = re.sub(r"by \(le(, )?", "by (", expr)
        assert any("le" in one for one in query_complaints(without, KNOWN)), title
    assert found or uid in ("aiops-balance", "aiops-pd")
