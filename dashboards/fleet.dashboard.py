"""All models at a glance: what they serve, whether users are well, what it costs, and what is wrong."""

from dashboards._selectors import ANNOTATIONS, BY_MODEL, CLUSTER, FLEET_VARIABLES, MODEL, PLACE, POOL, USERS, budget
from dashboards._values import Dashboard, Line, Panel, Query, Row

_SERVED = f"sum(role:vllm_generation_tokens:rate5m{{{USERS}}})"
NO_ROUTER = "no llm-d router is scraped"
NO_GPUS = "no DCGM exporter is scraped"
NO_PRICE = "no variant of the policies names a price"

NOW = Row(
    "Now",
    (
        Panel(
            title="Output tokens",
            description="Tokens that users get, of all models chosen. The one token that a prefill replica makes of "
            "each request is left out.",
            unit="suffix: tok/s",
            kind="number",
            width=4,
            queries=(Query(_SERVED, "served"),),
        ),
        Panel(
            title="Prompt tokens computed",
            description="Prompt tokens that engines had to compute: neither cached nor handed over by another replica. "
            "This is the work of prefill.",
            unit="suffix: tok/s",
            kind="number",
            width=4,
            queries=(
                Query(f'sum(role_source:vllm_prompt_tokens:rate5m{{{MODEL},source="local_compute"}})', "computed"),
            ),
        ),
        Panel(
            title="Replicas that serve",
            description="Ready replicas of all pools that aiops looks after.",
            unit="short",
            kind="number",
            width=4,
            queries=(Query(f"sum(aiops_ready_replicas{{{POOL}}})", "ready"),),
        ),
        Panel(
            title="GPUs held",
            description="GPUs that containers hold, of those that the nodes offer; both of the whole cluster.",
            unit="percentunit",
            kind="number",
            width=4,
            queries=(
                Query(
                    f"sum(cluster:kube_gpus_held:sum{{{CLUSTER}}})"
                    f" / sum(cluster:kube_gpus_allocatable:sum{{{CLUSTER}}})",
                    "held",
                ),
            ),
            may_be_empty="kube-state-metrics is not scraped",
        ),
        Panel(
            title="Output tokens a joule",
            description="The same as output tokens a second for each watt, over all roles of the models chosen.",
            unit="suffix: tok/J",
            kind="number",
            width=4,
            decimals=3,
            queries=(Query(f"{_SERVED} / sum(model:dcgm_power_watts:sum{{{MODEL}}})", "tokens a joule"),),
            may_be_empty=NO_GPUS,
            runbooks=("TokenFactoryEnergyWaste",),
        ),
        Panel(
            title="USD a million output tokens",
            description="Price of all replicas that are paid for, over the output tokens that they make now. At night "
            "it rises: the same replicas make less.",
            unit="currencyUSD",
            kind="number",
            width=4,
            decimals=2,
            queries=(Query(f"1e6 * (sum(aiops_cost_usd_per_hour{{{POOL}}}) / 3600) / ({_SERVED} > 0)", "a million"),),
            may_be_empty=NO_PRICE,
        ),
    ),
    height=5,
)

MODELS = Row(
    "Models",
    (
        Panel(
            title="Models at a glance",
            description="The latest of each model. Waiting requests beside a KV cache far from full: look at balance "
            "first. A model without a first column has no policy.",
            unit="short",
            kind="table",
            width=24,
            queries=(
                Query(f"sum by ({BY_MODEL}) (aiops_recommended_replicas{{{POOL}}})", "Recommended"),
                Query(f"sum by ({BY_MODEL}) (aiops_ready_replicas{{{POOL}}})", "Ready"),
                Query(f"sum by ({BY_MODEL}) (role:vllm_num_requests_running:sum{{{MODEL}}})", "Running"),
                Query(f"sum by ({BY_MODEL}) (role:vllm_num_requests_waiting:sum{{{MODEL}}})", "Waiting"),
                Query(f"max by ({BY_MODEL}) (role:vllm_kv_cache_usage:max{{{MODEL}}})", "Fullest KV", "percentunit"),
                Query(
                    f"histogram_quantile(0.95, sum by (le, {BY_MODEL}) "
                    f"(role_le:vllm_time_to_first_token_seconds_bucket:rate5m{{{USERS}}}))",
                    "TTFT p95",
                    "s",
                ),
                Query(
                    f"histogram_quantile(0.95, sum by (le, {BY_MODEL}) "
                    f"(role_le:vllm_inter_token_latency_seconds_bucket:rate5m{{{USERS}}}))",
                    "ITL p95",
                    "s",
                ),
                Query(
                    f"sum by ({BY_MODEL}) (role:vllm_generation_tokens:rate5m{{{USERS}}})", "Output", "suffix: tok/s"
                ),
                Query(f"sum by ({BY_MODEL}) (aiops_cost_usd_per_hour{{{POOL}}})", "An hour", "currencyUSD"),
            ),
            drill="aiops-model",
        ),
        Panel(
            title="Requests asked for",
            description="Requests that arrive at each model, those that wait at the router included, as aiops counts "
            "demand. What is served can be less.",
            unit="reqps",
            minimum=0,
            drill="aiops-decisions",
            queries=(Query(f"sum by (model_name) (aiops_demand_requests_per_second{{{MODEL}}})", "{{model_name}}"),),
        ),
        Panel(
            title="Requests answered",
            description="Requests that ended at an engine, for whatever reason, those that users broke off included.",
            unit="reqps",
            minimum=0,
            drill="aiops-model",
            queries=(
                Query(
                    f"sum by (model_name) (role_finished_reason:vllm_request_success:rate5m{{{USERS}}})",
                    "{{model_name}}",
                ),
            ),
        ),
    ),
)


def _burn(slo: str, what: str) -> Panel:
    late = f"max by ({BY_MODEL}) (model:{slo}_late:ratio_rate1h{{{MODEL}}})"
    return Panel(
        title=f"{what}: how fast the budget burns",
        description=f"Share of late {what} within the last hour over the share that the objective allows. At 1 it is "
        "used up just in time, at 14.4 a month's budget is gone in two days.",
        unit="suffix: ×",
        kind="ranks",
        width=6,
        decimals=1,
        thresholds=((None, "green"), (1, "yellow"), (6, "orange"), (14.4, "red")),
        queries=(Query(f"{late} / on ({BY_MODEL}) {budget(slo)}", "{{model_name}}"),),
        drill="aiops-model",
        runbooks=(f"TokenFactory{what}BurnFast",),
    )


def _left(slo: str, what: str) -> Panel:
    late = f"max by ({BY_MODEL}) (avg_over_time(model:{slo}_late:ratio_rate1h{{{MODEL}}}[30d:1h]))"
    return Panel(
        title=f"{what}: budget left of 30 days",
        description="What the objective still allows to be missed, of all that it allows in 30 days; an hour counts "
        "as an hour, however few its requests were. Below 0 the objective was missed.",
        unit="percentunit",
        kind="ranks",
        width=6,
        maximum=1,
        thresholds=((None, "red"), (0, "orange"), (0.25, "green")),
        queries=(Query(f"1 - {late} / on ({BY_MODEL}) {budget(slo)}", "{{model_name}}"),),
        drill="aiops-model",
        runbooks=(f"TokenFactory{what}BurnSlow",),
    )


OBJECTIVES = Row(
    "Objectives", (_burn("ttft", "TTFT"), _left("ttft", "TTFT"), _burn("itl", "ITL"), _left("itl", "ITL")), height=6
)

CAPACITY = Row(
    "Capacity and cost",
    (
        Panel(
            title="Replicas: recommended and ready",
            description="What the plan asks for and what serves, by model. A gap that stays is a replica that does not "
            "come, or a mode that does not act.",
            unit="short",
            kind="steps",
            minimum=0,
            drill="aiops-decisions",
            queries=(
                Query(f"sum by (model_name) (aiops_recommended_replicas{{{POOL}}})", "{{model_name}} recommended"),
                Query(f"sum by (model_name) (aiops_ready_replicas{{{POOL}}})", "{{model_name}} ready"),
            ),
        ),
        Panel(
            title="GPUs of the cluster",
            description="What the nodes offer, what containers hold, and what the replicas of aiops' pools take or "
            "wait for: more than is offered where pods have no node.",
            unit="short",
            kind="steps",
            minimum=0,
            queries=(
                Query(f"sum(cluster:kube_gpus_allocatable:sum{{{CLUSTER}}})", "offered"),
                Query(f"sum(cluster:kube_gpus_held:sum{{{CLUSTER}}})", "held"),
                Query(f"sum(aiops_gpus{{{POOL}}})", "of aiops' pools"),
            ),
            lines=(Line("offered", color="gray", dash=6),),
            may_be_empty="kube-state-metrics is not scraped",
        ),
        Panel(
            title="Time in which GPUs work",
            description="Share of time in which anything ran on the GPUs of each model. It says nothing of how full "
            "they were: that is the utilization on the prefill and decode dashboard.",
            unit="percentunit",
            width=8,
            minimum=0,
            maximum=1,
            queries=(Query(f"max by (model_name) (model:dcgm_gr_engine_active:avg{{{MODEL}}})", "{{model_name}}"),),
            may_be_empty=NO_GPUS,
        ),
        Panel(
            title="Power",
            description="Power of the GPUs that each model holds, from their energy counters.",
            unit="watt",
            kind="stacked",
            width=8,
            minimum=0,
            queries=(Query(f"sum by (model_name) (model:dcgm_power_watts:sum{{{MODEL}}})", "{{model_name}}"),),
            may_be_empty=NO_GPUS,
        ),
        Panel(
            title="Cost an hour",
            description="Price of all replicas that are paid for: serving, starting and draining. Pools whose variant "
            "names no price are left out.",
            unit="currencyUSD",
            kind="stacked",
            width=8,
            minimum=0,
            queries=(Query(f"sum by (model_name) (aiops_cost_usd_per_hour{{{POOL}}})", "{{model_name}}"),),
            may_be_empty=NO_PRICE,
        ),
    ),
)

IN_RANGE = Row(
    "In the chosen time",
    (
        Panel(
            title="Minutes outside the objectives",
            description="Minutes in which more first tokens came late than the objective allows, of all models chosen. "
            "Beside the idle GPU-hours: one can be had for the other.",
            unit="m",
            kind="number",
            width=8,
            decimals=0,
            queries=(
                Query(
                    f"sum(avg_over_time((max by ({BY_MODEL}) (model:ttft_late:ratio_rate5m{{{MODEL}}}) "
                    f"> bool on ({BY_MODEL}) {budget('ttft')})[$__range:1m])) * $__range_s / 60",
                    "outside",
                ),
            ),
        ),
        Panel(
            title="Idle GPU-hours",
            description="GPU-hours that were paid for while nothing ran on the GPU. A fleet without any has no room "
            "for the next minute.",
            unit="suffix: GPU-hours",
            kind="number",
            width=8,
            decimals=1,
            queries=(
                Query(
                    f"sum(avg_over_time(((1 - max by ({BY_MODEL}) (model:dcgm_gr_engine_active:avg{{{MODEL}}})) "
                    f"* on ({BY_MODEL}) sum by ({BY_MODEL}) (aiops_gpus{{{POOL}}}))[$__range:5m])) "
                    "* $__range_s / 3600",
                    "idle",
                ),
            ),
            may_be_empty=NO_GPUS,
            runbooks=("GPUIdleWaste",),
        ),
        Panel(
            title="Cost",
            description="Price of all replicas over the chosen time, as far as their variants name one.",
            unit="currencyUSD",
            kind="number",
            width=8,
            decimals=0,
            queries=(
                Query(
                    f"sum(avg_over_time(sum by ({BY_MODEL}) (aiops_cost_usd_per_hour{{{POOL}}})[$__range:5m])) "
                    "* $__range_s / 3600",
                    "cost",
                ),
            ),
            may_be_empty=NO_PRICE,
        ),
    ),
    height=5,
)

TROUBLE = Row(
    "What is wrong",
    (
        Panel(
            title="Alerts that fire",
            description="Alerts of aiops' rules, by model. Each has a runbook of its name.",
            unit="none",
            kind="states",
            states={1: ("firing", "red")},
            queries=(
                Query(
                    "max by (alertname, severity, model_name) "
                    f'(ALERTS{{{PLACE},alertstate="firing",team="aiops",severity!="none"}})',
                    "{{alertname}} {{model_name}} ({{severity}})",
                ),
            ),
            may_be_empty="no alert fires",
        ),
        Panel(
            title="What aiops finds",
            description="Findings by model and kind: replicas that are hot against their peers, skewed routing, a full "
            "pool, cold caches, blindness. How many there are of a kind is on the balance dashboard.",
            unit="none",
            kind="states",
            states={1: ("open", "orange")},
            drill="aiops-balance",
            queries=(
                Query(f"max by (model_name, kind) (aiops_detection_active{{{MODEL}}})", "{{kind}} {{model_name}}"),
            ),
            may_be_empty="nothing is found wrong",
        ),
    ),
    height=12,
)

DASHBOARD = Dashboard(
    uid="aiops-fleet",
    title="aiops / Fleet",
    description="All models at a glance: what they serve, whether users are well, what it costs, and what is wrong.",
    variables=FLEET_VARIABLES,
    annotations=ANNOTATIONS,
    rows=(NOW, MODELS, OBJECTIVES, CAPACITY, IN_RANGE, TROUBLE),
)
