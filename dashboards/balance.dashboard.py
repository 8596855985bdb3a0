"""One replica against its peers: what is hot, what idles, and how the router spreads the load."""

from dashboards._selectors import ANNOTATIONS, CLUSTER, ENGINE, FLEET_VARIABLES, MODEL, PLACE, POOL, standing_out
from dashboards._values import Dashboard, Line, Panel, Query, Row

NO_ROUTER = "no llm-d router is scraped"
NO_GPUS = "no DCGM exporter is scraped"
TOP = "The ten that stand out, and what their peers do."


def findings(*kinds: str) -> Query:
    """Findings of some kinds, named by their replica or pool."""
    return Query(
        f'max by (kind, model_name, pool, replica) (aiops_detection_active{{{MODEL},kind=~"{"|".join(kinds)}"}})',
        "{{kind}} {{model_name}} {{pool}} {{replica}}",
    )


FINDINGS = Row(
    "What aiops finds",
    (
        Panel(
            title="Hot replicas and skewed pools",
            description="A replica that is saturated while its peers are not, and pools whose router fills some "
            "replicas while others idle. More replicas do not help: the router would not use them either.",
            unit="none",
            kind="states",
            states={1: ("open", "red")},
            queries=(findings("hotspot", "routing_skew"),),
            may_be_empty="no replica is hot against its peers",
            runbooks=("TokenFactoryReplicaHotspot", "TokenFactoryRoutingSkew"),
        ),
        Panel(
            title="Full pools",
            description="Pools in which requests wait everywhere: these need replicas, or fewer requests.",
            unit="none",
            kind="states",
            states={1: ("full", "orange")},
            queries=(findings("saturation"),),
            may_be_empty="no pool is full as a whole",
            runbooks=("TokenFactorySaturated",),
        ),
    ),
)

LOAD = Row(
    "Load by replica",
    (
        Panel(
            title="Requests waiting by replica",
            description=f"Requests that wait in each engine. {TOP} A line far above the mean is a replica that gets "
            "more than it can do.",
            unit="short",
            minimum=0,
            queries=(
                Query(standing_out("pod:vllm_num_requests_waiting:top10"), "{{pod}}"),
                Query(
                    f"sum(role:vllm_num_requests_waiting:sum{{{ENGINE}}}) / sum(role:vllm_pods:count{{{ENGINE}}})",
                    "mean",
                    "short",
                ),
            ),
            lines=(Line("mean", color="gray", width=2, dash=6),),
        ),
        Panel(
            title="KV cache in use by replica",
            description=f"Share of KV blocks that running requests hold. {TOP}",
            unit="percentunit",
            minimum=0,
            maximum=1,
            queries=(
                Query(standing_out("pod:vllm_kv_cache_usage:top10"), "{{pod}}"),
                Query(f"max(role:vllm_kv_cache_usage:median{{{ENGINE}}})", "middle"),
            ),
            lines=(Line("middle", color="gray", width=2, dash=6),),
        ),
        Panel(
            title="Requests running by replica",
            description=f"Requests in the batch of each engine. {TOP}",
            unit="short",
            minimum=0,
            queries=(
                Query(standing_out("pod:vllm_num_requests_running:top10"), "{{pod}}"),
                Query(
                    f"sum(role:vllm_num_requests_running:sum{{{ENGINE}}}) / sum(role:vllm_pods:count{{{ENGINE}}})",
                    "mean",
                ),
            ),
            lines=(Line("mean", color="gray", width=2, dash=6),),
        ),
        Panel(
            title="Mean time between tokens by replica",
            description="The slowest ten that run anything, and the middle one of their model and role; with "
            "several chosen, of the slowest. A replica that is slow without a queue has a sick GPU or a neighbour.",
            unit="s",
            minimum=0,
            queries=(
                Query(standing_out("pod:vllm_inter_token_latency_seconds_mean5m:top10"), "{{pod}}"),
                Query(f"max(role:vllm_inter_token_latency_seconds_mean5m:median{{{ENGINE}}})", "middle"),
            ),
            lines=(Line("middle", color="gray", width=2, dash=6),),
            runbooks=("TokenFactoryReplicaSlow",),
        ),
        Panel(
            title="Preemptions by replica",
            description="Requests thrown out of the batch, whose work is done twice; the ten replicas that do most of "
            "it. They tell a KV cache that is too full, where use alone does not.",
            unit="cps",
            kind="bars",
            minimum=0,
            queries=(Query(standing_out("pod:vllm_num_preemptions_rate5m:top10"), "{{pod}}"),),
            may_be_empty="no engine has preempted a request",
            runbooks=("TokenFactoryKVThrashing",),
        ),
        Panel(
            title="Share of replicas with a queue",
            description="Replicas at which anything waits, of all of a model and role. A few of many is the router's "
            "doing, all of them is the fleet's size.",
            unit="percentunit",
            minimum=0,
            maximum=1,
            queries=(
                Query(
                    f"sum by (model_name, llm_d_ai_role) (role:vllm_pods_with_queue:count{{{ENGINE}}}) "
                    f"/ sum by (model_name, llm_d_ai_role) (role:vllm_pods:count{{{ENGINE}}})",
                    "{{model_name}} {{llm_d_ai_role}}",
                ),
            ),
        ),
    ),
)

ROUTING = Row(
    "Routing",
    (
        Panel(
            title="Imbalance of the KV cache",
            description="Use of the fullest replica over that of the middle one, by model and role. 1 is even; above 3 "
            "some replicas carry the load of others.",
            unit="suffix: ×",
            minimum=0,
            thresholds=((None, "green"), (3, "orange")),
            queries=(
                Query(
                    f"max by (model_name, llm_d_ai_role) (role:vllm_kv_cache_usage:max{{{ENGINE}}}) "
                    f"/ (max by (model_name, llm_d_ai_role) (role:vllm_kv_cache_usage:median{{{ENGINE}}}) > 0.01)",
                    "{{model_name}} {{llm_d_ai_role}}",
                ),
            ),
            runbooks=("TokenFactoryRoutingSkew",),
            may_be_empty="the middle replica is all but empty",
        ),
        Panel(
            title="Share of requests against a fair share",
            description="Requests that the router sends to an endpoint over the mean of all endpoints of its model. "
            "1 is fair. Where prefixes decide, more than 1 is right as long as nothing waits. The ten that get most.",
            unit="suffix: ×",
            minimum=0,
            thresholds=((None, "green"), (3, "orange")),
            queries=(
                Query(
                    standing_out(
                        "endpoint:llm_d_epp_scheduler_attempts_share_rate5m:top10",
                        "endpoint_name",
                        f'{PLACE},target_model_name=~"$model"',
                    ),
                    "{{endpoint_name}}",
                ),
            ),
            may_be_empty=NO_ROUTER,
        ),
        Panel(
            title="Prompt tokens in flight by endpoint",
            description="Uncached prompt tokens that the router has sent to an endpoint and that have not ended "
            "there; the ten endpoints with most, in the chosen namespaces.",
            unit="short",
            minimum=0,
            queries=(
                Query(
                    standing_out("endpoint:llm_d_epp_inflight_tokens:top10", "endpoint_name", PLACE),
                    "{{endpoint_name}}",
                ),
            ),
            may_be_empty="no llm-d router with InFlightLoadProducer is scraped",
        ),
        Panel(
            title="Spread of requests as the router sees it",
            description="Standard deviation over the endpoints of a pool, of requests that wait and that run.",
            unit="short",
            minimum=0,
            width=6,
            queries=(
                Query(f"max by (name) (llm_d_epp_std_dev_queue_size{{{PLACE}}})", "{{name}} waiting"),
                Query(f"max by (name) (llm_d_epp_std_dev_running_requests{{{PLACE}}})", "{{name}} running"),
            ),
            may_be_empty=NO_ROUTER,
        ),
        Panel(
            title="Spread of KV use as the router sees it",
            description="Standard deviation over the endpoints of a pool, of the share of KV blocks in use.",
            unit="percentunit",
            minimum=0,
            width=6,
            queries=(Query(f"max by (name) (llm_d_epp_std_dev_kv_cache_utilization{{{PLACE}}})", "{{name}}"),),
            may_be_empty=NO_ROUTER,
        ),
    ),
)

HARDWARE = Row(
    "Hardware",
    (
        Panel(
            title="Replicas whose GPUs idle",
            description="The ten replicas whose GPUs ran least, of all in the chosen namespaces. One that idles while "
            "others queue is not routed to, asleep, or not ready.",
            unit="percentunit",
            width=8,
            minimum=0,
            maximum=1,
            queries=(Query(standing_out("pod:dcgm_gr_engine_active_avg:bottom10", selector=PLACE), "{{pod}}"),),
            may_be_empty=NO_GPUS,
            runbooks=("GPUIdleWaste",),
        ),
        Panel(
            title="Slowest clocks",
            description="The ten lowest clocks of the GPUs' multiprocessors. One below its peers is throttled, by heat "
            "or by its power limit.",
            unit="hertz",
            width=8,
            minimum=0,
            queries=(
                Query(
                    standing_out("gpu:dcgm_sm_clock_mhz:bottom10", "hostname, gpu", CLUSTER) + " * 1e6",
                    "{{hostname}} GPU {{gpu}}",
                ),
            ),
            may_be_empty=NO_GPUS,
            runbooks=("GPUThermalThrottling",),
        ),
        Panel(
            title="Last XID error by GPU",
            description="The code of the last error that the driver told of, which stays until it is loaded anew. It "
            "is no count. 48, 74, 79, 94, 95 and 119 mean that the GPU must be drained.",
            unit="none",
            width=8,
            queries=(
                Query(
                    standing_out("gpu:dcgm_xid_errors:top10", "hostname, gpu", CLUSTER),
                    "{{hostname}} GPU {{gpu}}",
                ),
            ),
            may_be_empty=NO_GPUS,
            runbooks=("GPUXidCritical",),
        ),
        Panel(
            title="Replicas that aiops plans with",
            description="Ready replicas by pool, and those that start or drain: a replica that just came is cold, and "
            "one that drains takes nothing. Those without a node were ordered, and nobody has room for them.",
            unit="short",
            kind="steps",
            width=24,
            minimum=0,
            queries=(
                Query(f"sum by (pool) (aiops_ready_replicas{{{POOL}}})", "{{pool}} ready"),
                Query(f"sum by (pool) (aiops_starting_replicas{{{POOL}}})", "{{pool}} starting"),
                Query(f"sum by (pool) (aiops_draining_replicas{{{POOL}}})", "{{pool}} draining"),
                Query(f"sum by (pool) (aiops_unplaced_replicas{{{POOL}}})", "{{pool}} without a node"),
            ),
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="aiops-balance",
    title="aiops / Balance",
    description="One replica against its peers: what is hot, what idles, and how the router spreads the load.",
    variables=FLEET_VARIABLES,
    annotations=ANNOTATIONS,
    rows=(FINDINGS, LOAD, ROUTING, HARDWARE),
)
