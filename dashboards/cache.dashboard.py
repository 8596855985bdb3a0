"""What engines need not compute again, and what it takes until a new replica serves."""

from dashboards._selectors import ANNOTATIONS, ENGINE, FLEET_VARIABLES, MODEL, PLACE, POOL, mean, standing_out
from dashboards._values import Dashboard, Panel, Query, Row

NO_ROUTER = "no llm-d router is scraped"
NO_STATE = "kube-state-metrics is not scraped"
_RATE = "[$__rate_interval]"


def hit_ratio(hits: str, queries: str, by: str) -> str:
    """Tokens found over tokens looked up; nothing where nothing was looked up."""
    return f"sum by ({by}) ({hits}) / (sum by ({by}) ({queries}) > 0)"


def lately(part: str) -> str:
    """Median seconds of a part of the starts of the last six hours: of a pool, or the mean of the pools' medians."""
    return f'avg(pool:kube_pod_start_{part}_seconds:median{{{PLACE},pool=~"$pool"}})'


CACHE = Row(
    "Prefix cache",
    (
        Panel(
            title="Prefix hits by model",
            description="Share of the prompt tokens looked up that the engine still had. It falls with every replica "
            "that is added and every one that is removed.",
            unit="percentunit",
            minimum=0,
            maximum=1,
            drill="aiops-cache",
            queries=(
                Query(
                    hit_ratio(
                        f"role:vllm_prefix_cache_hits:rate5m{{{ENGINE}}}",
                        f"role:vllm_prefix_cache_queries:rate5m{{{ENGINE}}}",
                        "model_name, llm_d_ai_role",
                    ),
                    "{{model_name}} {{llm_d_ai_role}}",
                ),
            ),
            runbooks=("TokenFactoryPrefixHitsFell",),
        ),
        Panel(
            title="Replicas with the fewest prefix hits",
            description="The ten replicas that find least of what they look up. New ones climb within minutes; one "
            "that stays low never gets prompts that it knows.",
            unit="percentunit",
            minimum=0,
            maximum=1,
            queries=(Query(standing_out("pod:vllm_prefix_cache_hits_ratio_rate5m:bottom10"), "{{pod}}"),),
        ),
        Panel(
            title="Prefix hits of young and of settled replicas",
            description="Replicas younger than half an hour against all older ones. The gap is what scaling up costs, "
            "and how long it lasts.",
            unit="percentunit",
            minimum=0,
            maximum=1,
            queries=(
                Query(
                    hit_ratio(
                        f"role_age:vllm_prefix_cache_hits:rate5m{{{ENGINE}}}",
                        f"role_age:vllm_prefix_cache_queries:rate5m{{{ENGINE}}}",
                        "model_name, age",
                    ),
                    "{{model_name}} {{age}}",
                ),
            ),
            may_be_empty=NO_STATE,
        ),
        Panel(
            title="Cold caches",
            description="Replicas that aiops finds cold: old enough to be warm, and far below what their peers find.",
            unit="none",
            kind="states",
            states={1: ("cold", "blue")},
            queries=(
                Query(
                    f'max by (model_name, pool, replica) (aiops_detection_active{{{MODEL},kind="cold_cache"}})',
                    "{{model_name}} {{pool}} {{replica}}",
                ),
            ),
            may_be_empty="no cache is cold",
            runbooks=("TokenFactoryColdCache",),
        ),
        Panel(
            title="Where prompt tokens come from",
            description="Computed here, found in the local cache, or handed over by another replica. Only what is "
            "computed is work of prefill; on decode replicas the hand-over is normal.",
            unit="suffix: tok/s",
            kind="stacked",
            minimum=0,
            queries=(Query(f"sum by (source) (role_source:vllm_prompt_tokens:rate5m{{{ENGINE}}})", "{{source}}"),),
        ),
        Panel(
            title="Cached share as users get it",
            description="Prompt tokens that engines report as cached, over all prompt tokens, by the router's count.",
            unit="percentunit",
            minimum=0,
            maximum=1,
            queries=(
                Query(
                    hit_ratio(
                        f"rate(llm_d_epp_request_cached_tokens_sum{{{MODEL}}}{_RATE})",
                        f"rate(llm_d_epp_request_input_tokens_sum{{{MODEL}}}{_RATE})",
                        "model_name",
                    ),
                    "{{model_name}}",
                ),
            ),
            may_be_empty=NO_ROUTER,
        ),
        Panel(
            title="What the router believes to be cached",
            description="Mean share of a prompt that the router expects to find at the endpoint it picks. Far above "
            "what engines find: its index is stale, and it routes by it.",
            unit="percentunit",
            width=8,
            minimum=0,
            maximum=1,
            queries=(Query(mean("llm_d_epp_prefix_indexer_hit_ratio", PLACE), "believed"),),
            may_be_empty="no llm-d router with a prefix scorer is scraped",
        ),
        Panel(
            title="Shared cache",
            description="Share of the tokens asked of a cache outside the engine that it had. Decode replicas are left "
            "out: each prompt that is handed over to them is a hit.",
            unit="percentunit",
            width=8,
            minimum=0,
            maximum=1,
            queries=(
                Query(
                    hit_ratio(
                        f'role:vllm_external_prefix_cache_hits:rate5m{{{ENGINE},llm_d_ai_role!="decode"}}',
                        f'role:vllm_external_prefix_cache_queries:rate5m{{{ENGINE},llm_d_ai_role!="decode"}}',
                        "model_name",
                    ),
                    "{{model_name}}",
                ),
            ),
            may_be_empty="no engine has a KV connector to a shared cache",
        ),
        Panel(
            title="Life of a KV block",
            description="Medians: from the allocation of a block to its eviction, and how long it had idled by then. "
            "Lives shorter than the pause between two turns of a chat make hits rare.",
            unit="s",
            width=8,
            minimum=0,
            queries=(
                Query(
                    "histogram_quantile(0.5, sum by (le) "
                    f"(role_le:vllm_kv_block_lifetime_seconds_bucket:rate5m{{{ENGINE}}}))",
                    "life",
                ),
                Query(
                    "histogram_quantile(0.5, sum by (le) "
                    f"(role_le:vllm_kv_block_idle_before_evict_seconds_bucket:rate5m{{{ENGINE}}}))",
                    "idle before eviction",
                ),
            ),
            may_be_empty="engines run without --kv-cache-metrics",
        ),
    ),
)

STARTING = Row(
    "Cold start",
    (
        Panel(
            title="Lead time",
            description="Seconds from a decision until its replicas serve, at the P90 that the plan waits for. It is "
            "learned from the starts that are seen.",
            unit="s",
            width=8,
            minimum=0,
            queries=(Query(f"max by (model_name) (aiops_lead_time_seconds{{{MODEL}}})", "{{model_name}}"),),
        ),
        Panel(
            title="Where a start goes",
            description="Medians of the pods that became ready within six hours: until a node had room, until their "
            "init containers were done, and from there until they served (image, weights, compilation, warm-up). Of "
            "several pools the mean of their medians: choose one to see its own.",
            unit="s",
            kind="stacked",
            width=8,
            minimum=0,
            queries=(
                Query(lately("unscheduled"), "waiting for a node"),
                Query(lately("initializing"), "init containers"),
                Query(lately("loading"), "until it serves"),
            ),
            may_be_empty="no pod became ready within six hours",
            runbooks=("TokenFactoryStartSlow",),
        ),
        Panel(
            title="Pods that are not ready",
            description="Seconds since each was bound to a node, or ordered where none has room; the ten longest.",
            unit="s",
            width=8,
            minimum=0,
            queries=(Query(standing_out("pod:kube_pod_not_ready_seconds_max:top10", selector=PLACE), "{{pod}}"),),
            may_be_empty="every pod is ready",
            runbooks=("TokenFactoryStartStuck",),
        ),
        Panel(
            title="Recommended replicas that do not serve yet",
            description="What the plan asks for less what serves. It should last as long as the lead time, no longer.",
            unit="short",
            kind="steps",
            width=8,
            queries=(
                Query(
                    f"sum by (pool) (aiops_recommended_replicas{{{POOL}}}) "
                    f"- sum by (pool) (aiops_ready_replicas{{{POOL}}})",
                    "{{pool}}",
                ),
            ),
            runbooks=("TokenFactoryScaleUpStuck",),
        ),
        Panel(
            title="Pods without a node",
            description="Pods for which the scheduler finds no node: no free GPU of their kind.",
            unit="short",
            kind="steps",
            width=8,
            minimum=0,
            queries=(Query(f"sum by (namespace) (namespace:kube_pod_unschedulable:sum{{{PLACE}}})", "{{namespace}}"),),
            may_be_empty="every pod has a node",
            runbooks=("TokenFactoryPodUnschedulable",),
        ),
        Panel(
            title="Why containers do not run",
            description="Containers that wait, by reason, in the chosen namespaces. ImagePullBackOff and "
            "CrashLoopBackOff do not pass by themselves.",
            unit="short",
            kind="steps",
            width=8,
            minimum=0,
            queries=(
                Query(f"sum by (reason) (namespace_reason:kube_pod_container_waiting:sum{{{PLACE}}})", "{{reason}}"),
            ),
            may_be_empty="no container waits",
        ),
        Panel(
            title="Restarts of containers",
            description="Containers that died and were started anew within five minutes, in the ten pods in which most "
            "did. An engine comes back with an empty cache.",
            unit="short",
            kind="bars",
            width=24,
            minimum=0,
            queries=(
                Query(
                    "topk(10, max by (pod) (max_over_time("
                    f"pod:kube_pod_container_restarts_increase5m:top10{{{PLACE}}}[$__rate_interval])))",
                    "{{pod}}",
                ),
            ),
            may_be_empty="no container has died",
            runbooks=("TokenFactoryEngineRestarting",),
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="aiops-cache",
    title="aiops / Cache and cold start",
    description="What engines need not compute again, and what it takes until a new replica serves.",
    variables=FLEET_VARIABLES,
    annotations=ANNOTATIONS,
    rows=(CACHE, STARTING),
)
