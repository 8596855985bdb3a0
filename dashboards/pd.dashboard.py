"""Prefill and decode as one decision: their ratio, which of them limits, and what goes from one to the other."""

from dashboards._selectors import ANNOTATIONS, ENGINE, FLEET_VARIABLES, MODEL, PLACE, POOL
from dashboards._values import Dashboard, Line, Panel, Query, Row

NO_PAIRS = "no model has prefill and decode apart"
NO_NIXL = "no engine hands KV over with NIXL"
_ROLE = "model_name, role"

RATIO = Row(
    "The ratio",
    (
        Panel(
            title="Decode replicas a prefill replica",
            description="As it is and as the plan wants it, within the band that the policy allows. With several "
            "models chosen, the widest.",
            unit="suffix: ×",
            minimum=0,
            queries=tuple(
                Query(f'max(aiops_pd_ratio{{{MODEL},kind="{kind}"}})', kind)
                for kind in ("current", "desired", "min", "max")
            ),
            lines=(
                Line("current", color="blue", width=2),
                Line("desired", color="orange", dash=6),
                Line("min", color="gray", width=0, in_legend=False),
                Line("max", color="gray", width=0, fill_below_to="min", in_legend=False),
            ),
            may_be_empty=NO_PAIRS,
        ),
        Panel(
            title="Utilization by role",
            description="Work over the replicas that serve, by role, and the limit up to which a replica may be "
            "filled. The role that is nearer to its limit is the one to add.",
            unit="percentunit",
            minimum=0,
            queries=(
                Query(
                    f"sum by ({_ROLE}) (aiops_work_replicas{{{MODEL}}}) "
                    f"/ (sum by ({_ROLE}) (aiops_ready_replicas{{{POOL}}}) > 0)",
                    "{{model_name}} {{role}}",
                ),
                Query(f"min by ({_ROLE}) (aiops_utilization_limit_ratio{{{MODEL}}})", "limit {{model_name}} {{role}}"),
            ),
            runbooks=("TokenFactoryPDImbalanced",),
        ),
        Panel(
            title="Replicas by role",
            description="What the plan recommends and what serves, by role.",
            unit="short",
            kind="steps",
            minimum=0,
            queries=(
                Query(
                    f"sum by ({_ROLE}) (aiops_recommended_replicas{{{POOL}}})", "{{model_name}} {{role}} recommended"
                ),
                Query(f"sum by ({_ROLE}) (aiops_ready_replicas{{{POOL}}})", "{{model_name}} {{role}} ready"),
            ),
        ),
        Panel(
            title="Tokens a replica",
            description="Prompt tokens computed by each prefill replica and output tokens made by each decode replica, "
            "means. Where both do both, they share the time.",
            unit="suffix: tok/s",
            minimum=0,
            queries=(
                Query(
                    "sum by (llm_d_ai_role) (role_source:vllm_prompt_tokens:rate5m"
                    f'{{{ENGINE},source="local_compute",llm_d_ai_role!="decode"}}) '
                    f"/ on (llm_d_ai_role) sum by (llm_d_ai_role) (role:vllm_pods:count{{{ENGINE}}})",
                    "prompt tokens, {{llm_d_ai_role}}",
                ),
                Query(
                    "sum by (llm_d_ai_role) "
                    f'(role:vllm_generation_tokens:rate5m{{{ENGINE},llm_d_ai_role!="prefill"}}) '
                    f"/ on (llm_d_ai_role) sum by (llm_d_ai_role) (role:vllm_pods:count{{{ENGINE}}})",
                    "output tokens, {{llm_d_ai_role}}",
                ),
            ),
        ),
    ),
)

SIDES = Row(
    "Each side",
    (
        Panel(
            title="Wait in the engines' queues",
            description="Mean seconds from arrival at an engine to its batch, by role. Waiting at prefill is paid in "
            "TTFT; waiting at decode too, after the hand-over.",
            unit="s",
            width=8,
            minimum=0,
            queries=(
                Query(
                    f"max by (llm_d_ai_role) (role:vllm_request_queue_time_seconds:mean5m{{{ENGINE}}})",
                    "{{llm_d_ai_role}}",
                ),
            ),
        ),
        Panel(
            title="Requests waiting by role",
            description="By reason: capacity has no room; deferred waits for its KV, which on decode replicas means "
            "slow hand-overs and no need of replicas.",
            unit="short",
            width=8,
            minimum=0,
            queries=(
                Query(
                    f"sum by (llm_d_ai_role, reason) (role_reason:vllm_num_requests_waiting:sum{{{ENGINE}}})",
                    "{{llm_d_ai_role}}: {{reason}}",
                ),
            ),
        ),
        Panel(
            title="Requests running by role",
            description="Requests in the batches of all replicas of a role.",
            unit="short",
            width=8,
            minimum=0,
            queries=(
                Query(f"sum by (llm_d_ai_role) (role:vllm_num_requests_running:sum{{{ENGINE}}})", "{{llm_d_ai_role}}"),
            ),
        ),
        Panel(
            title="KV cache in use by role",
            description="Mean and fullest replica. Decode fills first: it holds a request until its last token.",
            unit="percentunit",
            width=8,
            minimum=0,
            maximum=1,
            queries=(
                Query(f"max by (llm_d_ai_role) (role:vllm_kv_cache_usage:avg{{{ENGINE}}})", "mean {{llm_d_ai_role}}"),
                Query(
                    f"max by (llm_d_ai_role) (role:vllm_kv_cache_usage:max{{{ENGINE}}})", "fullest {{llm_d_ai_role}}"
                ),
            ),
        ),
        Panel(
            title="Preemptions by role",
            description="Requests thrown out of a batch for want of KV blocks; their work is done again.",
            unit="cps",
            width=8,
            minimum=0,
            queries=(
                Query(f"sum by (llm_d_ai_role) (role:vllm_num_preemptions:rate5m{{{ENGINE}}})", "{{llm_d_ai_role}}"),
            ),
        ),
        Panel(
            title="What GPUs are busy with, by role",
            description="Tensor cores (prompts) and memory (decode), as the share of time in which they worked. Tensor "
            "cores idle on decode replicas, memory on prefill: that is why they are apart.",
            unit="percentunit",
            width=8,
            minimum=0,
            maximum=1,
            queries=tuple(
                Query(
                    f"sum by (llm_d_ai_role) (role:dcgm_{metric}:avg{{{ENGINE}}} * role:vllm_pods:count) "
                    f"/ sum by (llm_d_ai_role) (role:vllm_pods:count and role:dcgm_{metric}:avg{{{ENGINE}}})",
                    f"{part} {{{{llm_d_ai_role}}}}",
                )
                for metric, part in (("pipe_tensor_active", "tensor cores"), ("dram_active", "memory"))
            ),
            may_be_empty="no DCGM exporter is scraped",
        ),
    ),
)

HAND_OVER = Row(
    "From prefill to decode",
    (
        Panel(
            title="How requests are served",
            description="Share of requests that the router splits between a prefill and a decode replica, or leaves "
            "with one.",
            unit="percentunit",
            width=8,
            minimum=0,
            maximum=1,
            queries=(
                Query(
                    "sum by (decision_type) "
                    f"(rate(llm_d_epp_disagg_decision_total{{{MODEL}}}[$__rate_interval])) "
                    f"/ scalar(sum(rate(llm_d_epp_disagg_decision_total{{{MODEL}}}[$__rate_interval])))",
                    "{{decision_type}}",
                ),
            ),
            may_be_empty=NO_PAIRS,
        ),
        Panel(
            title="Saturation by stage",
            description="The router's own measure of how full a stage is: above 1 it holds requests back. Exactly 1 "
            "for long means that it sees no fresh metrics.",
            unit="percentunit",
            width=8,
            minimum=0,
            thresholds=((None, "green"), (1, "red")),
            queries=(
                Query(
                    f"max by (inference_pool, stage) (llm_d_epp_flow_control_pool_saturation{{{PLACE}}})",
                    "{{inference_pool}} {{stage}}",
                ),
            ),
            may_be_empty="no llm-d router with flow control is scraped",
        ),
        Panel(
            title="Prompt tokens waiting, as seconds of prefill",
            description="Uncached prompt tokens in flight over those that prefill computes a second: how long it would "
            "take to work off what is there.",
            unit="s",
            width=8,
            minimum=0,
            queries=(
                Query(
                    f"sum(namespace:llm_d_epp_inflight_tokens:sum{{{PLACE}}}) "
                    "/ (sum(role_source:vllm_prompt_tokens:rate5m"
                    f'{{{PLACE},source="local_compute"}}) > 0)',
                    "to work off",
                ),
            ),
            may_be_empty="no llm-d router with InFlightLoadProducer is scraped",
        ),
        Panel(
            title="Duration of a KV transfer",
            description="Means, from the start of a transfer to its end, as decode replicas measure it.",
            unit="s",
            width=8,
            minimum=0,
            queries=(
                Query(f"max by (model_name) (role:vllm_nixl_xfer_time_seconds:mean5m{{{ENGINE}}})", "{{model_name}}"),
            ),
            may_be_empty=NO_NIXL,
            runbooks=("TokenFactoryPDTransferSlow",),
        ),
        Panel(
            title="KV bytes handed over",
            description="Bytes a second that decode replicas fetch from prefill replicas.",
            unit="Bps",
            width=8,
            minimum=0,
            queries=(
                Query(f"sum by (model_name) (role:vllm_nixl_bytes_transferred:rate5m{{{ENGINE}}})", "{{model_name}}"),
            ),
            may_be_empty=NO_NIXL,
        ),
        Panel(
            title="Transfers that failed or came too late",
            description="Failed transfers, and KV that a prefill replica gave up before anybody had fetched it. The "
            "prompt is then computed once more, or the request fails.",
            unit="cps",
            width=8,
            minimum=0,
            queries=(
                Query(f"sum(role:vllm_nixl_num_failed_transfers:rate5m{{{ENGINE}}})", "failed"),
                Query(f"sum(role:vllm_nixl_num_kv_expired_reqs:rate5m{{{ENGINE}}})", "expired"),
            ),
            may_be_empty=NO_NIXL,
            runbooks=("TokenFactoryPDTransferFailing",),
        ),
        Panel(
            title="Requests that wait for their KV",
            description="By stage of the transfer: not started, under way, or there and waiting for room.",
            unit="short",
            kind="stacked",
            width=24,
            minimum=0,
            queries=(Query(f"sum by (stage) (role_stage:vllm_num_requests_kv_fetch:sum{{{ENGINE}}})", "{{stage}}"),),
            may_be_empty="engines are older than vLLM 0.33",
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="aiops-pd",
    title="aiops / Prefill and decode",
    description="Prefill and decode as one decision: their ratio, which of them limits, and what goes between them.",
    variables=FLEET_VARIABLES,
    annotations=ANNOTATIONS,
    rows=(RATIO, SIDES, HAND_OVER),
)
