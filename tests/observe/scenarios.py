"""The pages that the observer's tests serve, before and after a change, and the labels of their targets."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.observe.world import engine_page
from tests.parts import shared_data

POD_B, POD_C = "chat-7d9f8b6c5d-bbbbb", "chat-7d9f8b6c5d-ccccc"
RECORDED = {
    "moves": ("light", "saturated"),
    "preempts": ("preempting", "preempting_after"),
    "reset": ("saturated", "light"),
    "old": ("light|old", "saturated|old"),
}
_OLD_NAMES = {
    "vllm:kv_cache_usage_perc": "vllm:gpu_cache_usage_perc",
    "vllm:prefix_cache": "vllm:gpu_prefix_cache",
    "vllm:inter_token_latency_seconds": "vllm:time_per_output_token_seconds",
}


def recorded(name: str) -> str:
    """A recorded scrape of vLLM; ``|old`` gives it the names of vLLM 0.8."""
    scrape, _, variant = name.partition("|")
    text = shared_data("vllm_metrics", f"vllm-0.32.0_{scrape}.prom").read_text()
    for new, old in _OLD_NAMES.items() if variant else ():
        text = text.replace(new, old)
    return text


def totals(text: str) -> dict[str, float]:
    """The values of a scrape by series name, added up over labels; buckets by name and bound."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = f'{sample.name}{{le="{sample.labels["le"]}"}}' if "le" in sample.labels else sample.name
            found[name] = found.get(name, 0.0) + sample.value
    return found


def _size(name: str, total: float, count: float) -> dict[str, float]:
    return {f"vllm:request_{name}_tokens_sum": total, f"vllm:request_{name}_tokens_count": count}


def _twins(tokens: float) -> dict[str, float]:
    names = ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total", "vllm:gpu_cache_usage_perc")
    return dict(zip(names, (tokens, tokens, 0.7), strict=True))


def _prefill(finished: float, running: float, looked_up: float) -> str:
    prefix = {"vllm:prefix_cache_queries_total": looked_up, "vllm:prefix_cache_hits_total": looked_up / 4}
    return engine_page(
        running=running, waiting=4, finished=finished, counters=prefix | _size("generation", finished, finished)
    )


def _decode(finished: float, running: float) -> str:
    # Every prompt was transferred: hits there are none of the cache's own.
    prefix = {"vllm:prefix_cache_queries_total": finished * 9, "vllm:prefix_cache_hits_total": finished * 9}
    sizes = _size("generation", 100 * finished, finished)
    return engine_page(running=running, waiting=1, finished=finished, counters=prefix | sizes)


def _router(model: str, routed: float, queue: float, refused: float, ttft: tuple[float, float] = (0, 0)) -> str:
    labels = f'model_name="{model}",target_model_name="{model}",fairness_id="f",priority="0"'
    pool = 'priority="0",inference_pool="pool"'
    return f"""\
llm_d_epp_request_total{{{labels}}} {routed}
inference_objective_request_total{{model_name="{model}",target_model_name="{model}"}} {routed}
llm_d_epp_flow_control_queue_size{{{labels},inference_pool="pool"}} {queue}
llm_d_epp_flow_control_requests_total{{{pool},outcome="Dispatched"}} {routed}
llm_d_epp_flow_control_requests_total{{{pool},outcome="RejectedCapacity"}} {refused}
llm_d_epp_request_ttft_seconds_bucket{{{labels},streaming="true",le="2"}} {ttft[0]}
llm_d_epp_request_ttft_seconds_bucket{{{labels},streaming="true",le="+Inf"}} {ttft[1]}
"""


def _ranks() -> str:
    pages = [
        engine_page(rank="0", running=3, waiting=1, kv_usage=0.4),
        engine_page(rank="1", running=4, waiting=2, kv_usage=0.9),
    ]
    sizes = [
        f'vllm:cache_config_info{{engine="{rank}",block_size="16",num_gpu_blocks="100"}} 1\n' for rank in ("0", "1")
    ]
    return "".join(pages + sizes)


_KSM = """\
kube_deployment_spec_replicas{namespace="ksm",deployment="chat"} 5
kube_deployment_spec_replicas{namespace="zero",deployment="chat"} 0
kube_deployment_spec_replicas{namespace="woken",deployment="chat"} 0
kube_pod_owner{namespace="ksm",pod="oddly-named",owner_kind="ReplicaSet",owner_name="rs"} 1
kube_pod_owner{namespace="ksm",pod="another",owner_kind="ReplicaSet",owner_name="rs2"} 1
kube_replicaset_owner{namespace="ksm",replicaset="rs",owner_kind="Deployment",owner_name="chat"} 1
kube_replicaset_owner{namespace="ksm",replicaset="rs2",owner_kind="Deployment",owner_name="canary"} 1
kube_pod_status_ready{namespace="restarting",pod="chat-7d9f8b6c5d-ccccc",condition="true"} 0
kube_pod_status_ready{namespace="restarting",pod="chat-7d9f8b6c5d-bbbbb",condition="true"} 1
"""

_IDLE = engine_page()
_BUSY = engine_page(running=2, waiting=1)
_MANY = {f"many-{n}": _IDLE for n in range(12)}

BEFORE: dict[str, str | None] = {
    "twins": engine_page(kv_usage=0.5, counters=_twins(100)),
    "nan-b": engine_page(running=float("nan")),
    "nan-c": engine_page(running=3),
    "nothing": engine_page(running=float("nan")),
    "pair": engine_page(running=4, waiting=2, finished=20),
    "ranks": _ranks(),
    "ports-0": engine_page(rank="0", running=1, finished=10),
    "ports-1": engine_page(rank="1", running=1, finished=10),
    "removed-a": _BUSY,
    "removed-b": _BUSY,
    "down-b": _BUSY,
    "down-c": _BUSY,
    "silent": _BUSY,
    **_MANY,
    "young-b": engine_page(running=2),
    "vanish": engine_page(running=9),
    "exported": engine_page(namespace="exported", pod=POD_B) + engine_page(namespace="exported", pod=POD_C),
    "bare": engine_page(model="bare"),
    "stray-b": _IDLE,
    "stray-c": _IDLE,
    "unborn": None,
    "clusters-a": engine_page(running=2),
    "clusters-b": engine_page(running=5),
    "owned": _IDLE,
    "another": _IDLE,
    "restarting-b": _IDLE,
    "restarting-c": _BUSY,
    "ksm": _KSM,
    "pd-p": _prefill(10, 0, 100),
    "pd-d1": _decode(10, 0),
    "pd-d2": _decode(10, 0),
    "roles-1": _IDLE,
    "roles-2": _IDLE,
    "gateway": engine_page(running=5, waiting=1, finished=10),
    "router": _router("m", 100, 0, 2),
    "bypass": engine_page(finished=10),
    "bypass-router": _router("m", 5, 0, 0),
    "refusing": engine_page(extra='vllm:admission_rejections_total{model_name="m",reason="max_num_queued_reqs"} 6'),
    "woken-router": _router("m", 0, 0, 0),
}

AFTER: dict[str, str | None] = {
    "twins": engine_page(kv_usage=0.5, counters=_twins(800)),
    "pair": engine_page(running=4, waiting=2, finished=100),
    "ports-0": engine_page(rank="0", running=2, waiting=1, finished=10),
    "ports-1": engine_page(rank="1", running=3, waiting=1, finished=10),
    "down-c": None,
    "silent": "",
    "many-0": None,
    "young-c": engine_page(running=3, waiting=1, finished=5),
    "vanish": engine_page(running=0),
    "restarting-c": None,
    "pd-p": _prefill(50, 5, 500),
    "pd-d1": _decode(30, 3),
    "pd-d2": _decode(30, 3),
    "gateway": engine_page(running=5, waiting=1, finished=30),
    "router": _router("m", 140, 12, 10, (30, 40)),
    "bypass": engine_page(finished=90),
    "bypass-router": _router("m", 10, 0, 0),
    "refusing": engine_page(extra='vllm:admission_rejections_total{model_name="m",reason="max_num_queued_reqs"} 30'),
    "woken-router": _router("m", 0, 6, 0),
}


def _pod(page: str, namespace: str, pod: str = POD_B, **labels: str) -> dict[str, Any]:
    return {"page": page, "namespace": namespace, "pod": pod, **labels}


def _by_page(*targets: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["page"]: one for one in targets}


TARGETS: dict[str, dict[str, dict[str, Any]]] = {
    "vllm": _by_page(
        *(_pod(page, page) for page in RECORDED),
        *(_pod(page, page) for page in ("twins", "nothing", "pair", "ranks", "silent", "vanish", "unborn")),
        *(_pod(page, page) for page in ("gateway", "bypass", "refusing")),
        *(
            _pod(f"{page}-{letter}", page, pod)
            for page in ("nan", "down", "young", "restarting")
            for letter, pod in (("b", POD_B), ("c", POD_C))
        ),
        *(_pod(page, "many", f"chat-7d9f8b6c5d-{'bcdfghjklmnp'[n] * 5}") for n, page in enumerate(_MANY)),
        _pod("ports-0", "ports"),
        _pod("ports-1", "ports"),
        _pod("exported", "monitoring", "collector-0"),
        {"page": "bare"},
        _pod("stray-b", "stray"),
        _pod("stray-c", "stray", "canary-7d9f8b6c5d-ccccc"),
        _pod("clusters-a", "clusters", cluster="a"),
        _pod("clusters-b", "clusters", POD_C, cluster="b"),
        _pod("owned", "ksm", "oddly-named"),
        _pod("another", "ksm", "another"),
        _pod("pd-p", "pd", "chat-prefill-7d9f8b6c5d-bbbbb"),
        _pod("pd-d1", "pd", "chat-decode-7d9f8b6c5d-bbbbb"),
        _pod("pd-d2", "pd", "chat-decode-7d9f8b6c5d-ccccc"),
        _pod("roles-1", "roles", "one", llm_d_ai_role="prefill"),
        _pod("roles-2", "roles", "two", llm_d_ai_role="decode"),
        _pod("router", "gateway", "epp"),
        _pod("bypass-router", "bypass", "epp"),
        _pod("woken-router", "woken", "epp"),
    ),
    "again": _by_page(_pod("pair", "pair", prometheus_replica="b")),
    "ksm": _by_page({"page": "ksm"}),
    "discovered": _by_page(_pod("removed-a", "removed"), _pod("removed-b", "removed", POD_C)),
}
