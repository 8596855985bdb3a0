"""One model as its users see it: latencies against the objectives, where time goes, and what is asked of it."""

from dashboards._selectors import (
    ANNOTATIONS,
    ENGINE,
    FLEET_VARIABLES,
    MODEL,
    PLACE,
    POOL,
    QUANTILES,
    USERS,
    budget,
    mean,
    quantiles,
)
from dashboards._values import Dashboard, Line, Panel, Query, Row

NO_ROUTER = "no llm-d router is scraped"
SEVERAL = "With several models chosen, all are taken together."
_ROUTER_TTFT = f"model_le:llm_d_epp_request_ttft_seconds_bucket:rate5m{{{MODEL}}}"
_ENGINE_TTFT = f"role_le:vllm_time_to_first_token_seconds_bucket:rate5m{{{ENGINE}}}"
_ITL = f"role_le:vllm_inter_token_latency_seconds_bucket:rate5m{{{USERS}}}"


def objective(slo: str) -> Query:
    """The policy's bound on a latency, as a line."""
    return Query(f'max(aiops_slo_target_seconds{{{MODEL},slo="{slo}"}})', "objective")


def late(slo: str, title: str, what: str) -> Panel:
    """The share that comes later than the objective, short and long, against what may."""
    shares = (
        Query(f"max by (model_name) (model:{slo}_late:ratio_rate{window}{{{MODEL}}})", f"{{{{model_name}}}} {window}")
        for window in ("5m", "1h")
    )
    return Panel(
        title=title,
        description=f"Share of {what} that came later than the policy's bound, in five minutes and in an hour, and the "
        "share that the objective allows. It is measured at the bucket's bound nearest to the policy's.",
        unit="percentunit",
        width=8,
        minimum=0,
        queries=(*shares, Query(f"max({budget(slo)})", "allowed")),
        lines=(Line("allowed", color="gray", dash=6),),
        runbooks=tuple(f"TokenFactory{slo.upper()}Burn{speed}" for speed in ("Fast", "Slow")),
    )


FIRST_TOKEN = Row(
    "Time to first token",
    (
        Panel(
            title="TTFT as users see it",
            description="From the arrival at the router to the first token of streamed answers, the router's queue "
            f"included. {SEVERAL}",
            unit="s",
            logarithmic=True,
            queries=(*quantiles(_ROUTER_TTFT), objective("ttft")),
            lines=QUANTILES,
            may_be_empty=NO_ROUTER,
        ),
        Panel(
            title="TTFT of the engines",
            description="From the arrival at an engine to the first token, by role. A decode replica starts counting "
            "once the prompt is computed elsewhere, so its times leave prefill out.",
            unit="s",
            logarithmic=True,
            queries=(
                *quantiles(_ENGINE_TTFT, "llm_d_ai_role", " {{llm_d_ai_role}}", (0.5, 0.95)),
                objective("ttft"),
            ),
            lines=QUANTILES,
        ),
        late("ttft", "Late first tokens", "first tokens"),
        Panel(
            title="Where the time to first token goes",
            description="Means: held at the router, waiting at an engine, computing the prompt. What waits needs "
            "replicas or routing, what computes needs faster or fewer prompt tokens.",
            unit="s",
            kind="stacked",
            width=8,
            minimum=0,
            queries=(
                Query(
                    mean("llm_d_epp_flow_control_request_queue_duration_seconds", f'{MODEL},outcome="Dispatched"'),
                    "router's queue",
                ),
                Query(f"max(role:vllm_request_queue_time_seconds:mean5m{{{ENGINE}}})", "engine's queue"),
                Query(f"max(role:vllm_request_prefill_time_seconds:mean5m{{{ENGINE}}})", "prefill"),
            ),
        ),
        Panel(
            title="How TTFT is distributed",
            description="Streamed requests a second in each of the router's buckets. Two bands are two kinds of "
            "requests, or two kinds of replicas.",
            unit="s",
            kind="heatmap",
            width=8,
            queries=(Query(f"sum by (le) ({_ROUTER_TTFT})", "{{le}}"),),
            may_be_empty=NO_ROUTER,
        ),
    ),
)

BETWEEN_TOKENS = Row(
    "Time between tokens",
    (
        Panel(
            title="ITL, by token",
            description="From one token to the next, one sample a token: long answers weigh more. Below 10 ms vLLM "
            f"does not tell apart. {SEVERAL}",
            unit="s",
            logarithmic=True,
            queries=(*quantiles(_ITL), objective("itl")),
            lines=QUANTILES,
        ),
        Panel(
            title="Time per output token, by request",
            description="The mean of each streamed request, as the router measures it: every request weighs the same. "
            "Far above the ITL: a few long answers hide many slow short ones.",
            unit="s",
            minimum=0,
            queries=tuple(
                quantiles(
                    f"rate(llm_d_epp_request_streaming_tpot_seconds_bucket{{{MODEL}}}[$__rate_interval])",
                )
            ),
            lines=QUANTILES,
            may_be_empty=NO_ROUTER,
        ),
        late("itl", "Late tokens", "tokens"),
        Panel(
            title="From arrival to the end",
            description=f"Duration of whole requests at the router. It grows with the length of answers. {SEVERAL}",
            unit="s",
            width=8,
            minimum=0,
            queries=tuple(quantiles(f"rate(llm_d_epp_request_duration_seconds_bucket{{{MODEL}}}[$__rate_interval])")),
            lines=QUANTILES,
            may_be_empty=NO_ROUTER,
        ),
        Panel(
            title="How ITL is distributed",
            description="Tokens a second in each of vLLM's buckets. A second band above the first one is what prompts "
            "or preemptions do to those who already read.",
            unit="s",
            kind="heatmap",
            width=8,
            queries=(Query(f"sum by (le) ({_ITL})", "{{le}}"),),
        ),
    ),
)

REQUESTS = Row(
    "Requests",
    (
        Panel(
            title="Requests by how they ended",
            description="stop and length are answers; abort is a user who left, or a timeout. Latencies know nothing "
            "of those who left before the first token.",
            unit="reqps",
            kind="stacked",
            width=8,
            minimum=0,
            queries=(
                Query(
                    f"sum by (finished_reason) (role_finished_reason:vllm_request_success:rate5m{{{USERS}}})",
                    "{{finished_reason}}",
                ),
            ),
        ),
        Panel(
            title="Share of requests that failed",
            description="Requests that ended in an error or were refused, in five minutes and in an hour. What users "
            "broke off and what they asked wrongly is not counted.",
            unit="percentunit",
            width=8,
            minimum=0,
            queries=tuple(
                Query(
                    f"max by (model_name) (model:requests_failed:ratio_rate{window}{{{MODEL}}})",
                    f"{{{{model_name}}}} {window}",
                )
                for window in ("5m", "1h")
            ),
            runbooks=("TokenFactoryAvailabilityBurnFast", "TokenFactoryAvailabilityBurnSlow"),
        ),
        Panel(
            title="Requests that got no answer",
            description="Refused or evicted by the router (of all models of its pool), failed, or refused by a full "
            "engine. None of them is in any latency.",
            unit="reqps",
            width=8,
            minimum=0,
            queries=(
                Query(
                    "sum by (outcome) (inference_pool_outcome:llm_d_epp_flow_control_requests:rate5m"
                    f'{{{PLACE},outcome!="Dispatched"}})',
                    "router: {{outcome}}",
                ),
                Query(
                    f"sum by (error_code) (model_error_code:llm_d_epp_request_error:rate5m{{{MODEL}}})",
                    "error: {{error_code}}",
                ),
                Query(
                    f"sum by (reason) (role_reason:vllm_admission_rejections:rate5m{{{MODEL}}})",
                    "engine: {{reason}}",
                ),
            ),
            may_be_empty="nothing was refused and nothing failed",
            runbooks=("TokenFactoryRouterRefusing",),
        ),
        Panel(
            title="Running and waiting",
            description="Requests in the engines' batches, waiting there by reason (capacity: no room; deferred: their "
            "KV is on its way), and held at the router.",
            unit="short",
            minimum=0,
            queries=(
                Query(f"sum(role:vllm_num_requests_running:sum{{{ENGINE}}})", "running"),
                Query(
                    f"sum by (reason) (role_reason:vllm_num_requests_waiting:sum{{{ENGINE}}})",
                    "waiting: {{reason}}",
                ),
                Query(f"sum(model:llm_d_epp_flow_control_queue_size:sum{{{MODEL}}})", "held at the router"),
            ),
        ),
        Panel(
            title="Tokens asked for and served",
            description="Output tokens that arrivals ask for, as aiops counts demand, and those that engines make. "
            "Asked for above served: a queue grows.",
            unit="suffix: tok/s",
            minimum=0,
            queries=(
                Query(f'sum(aiops_demand_tokens_per_second{{{MODEL},kind="output"}})', "asked for"),
                Query(f"sum(role:vllm_generation_tokens:rate5m{{{USERS}}})", "served"),
            ),
            lines=(Line("asked for", color="orange", dash=6), Line("served", color="blue", width=2)),
        ),
        Panel(
            title="Prompt tokens a request",
            description="Lengths of prompts, of requests that ended: they come late by the duration of a request.",
            unit="short",
            minimum=0,
            queries=tuple(
                quantiles(f"role_le:vllm_request_prompt_tokens_bucket:rate5m{{{USERS}}}", levels=(0.5, 0.95))
            ),
            lines=QUANTILES,
        ),
        Panel(
            title="Output tokens a request",
            description="Lengths of answers, of requests that ended.",
            unit="short",
            minimum=0,
            queries=tuple(
                quantiles(f"role_le:vllm_request_generation_tokens_bucket:rate5m{{{USERS}}}", levels=(0.5, 0.95))
            ),
            lines=QUANTILES,
        ),
        Panel(
            title="Replicas by pool",
            description="Ready replicas of each of the model's pools, against what the plan recommends.",
            unit="short",
            kind="steps",
            minimum=0,
            drill="aiops-decisions",
            queries=(
                Query(f"sum by (pool) (aiops_ready_replicas{{{POOL}}})", "{{pool}} ready"),
                Query(f"sum by (pool) (aiops_recommended_replicas{{{POOL}}})", "{{pool}} recommended"),
            ),
        ),
        Panel(
            title="Fullest KV cache",
            description="KV blocks of running requests at the fullest replica and at the middle one, by role. Warm "
            "blocks that nobody uses read as free. Full alone is fine; full with waiting requests is not.",
            unit="percentunit",
            minimum=0,
            maximum=1,
            drill="aiops-balance",
            queries=(
                Query(
                    f"max by (llm_d_ai_role) (role:vllm_kv_cache_usage:max{{{ENGINE}}})", "fullest {{llm_d_ai_role}}"
                ),
                Query(
                    f"max by (llm_d_ai_role) (role:vllm_kv_cache_usage:median{{{ENGINE}}})",
                    "middle {{llm_d_ai_role}}",
                ),
            ),
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="aiops-model",
    title="aiops / Model and objectives",
    description="One model as its users see it: latencies against the objectives, where time goes, and what is asked.",
    variables=FLEET_VARIABLES,
    annotations=ANNOTATIONS,
    rows=(FIRST_TOKEN, BETWEEN_TOKENS, REQUESTS),
)
