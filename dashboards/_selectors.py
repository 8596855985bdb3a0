"""What the dashboards share: how they select, what is chosen at the top, and the marks on their time axes."""

from dashboards._values import Annotation, Line, Query, Variable

CLUSTER = 'cluster=~"$cluster"'
PLACE = f'{CLUSTER},namespace=~"$namespace"'
MODEL = f'{PLACE},model_name=~"$model"'
ENGINE = f'{MODEL},llm_d_ai_role=~"$role"'
# What users see: a prefill replica answers the same request with one token, which must not count twice.
USERS = f'{MODEL},llm_d_ai_role!="prefill"'
POOL = f'{MODEL},role=~"$role",pool=~"$pool"'
BY_MODEL = "cluster, namespace, model_name"

CONSOLE = Variable("console", "", "http://localhost:9095", kind="constant")
"""Where aiops' own page is: until ``aiops dashboards --console`` says it, as ``kubectl port-forward`` has it."""


def variables(counted: str, role: str) -> tuple[Variable, ...]:
    """The choices at the top; ``counted`` is a metric with all models, ``role`` its label for the role of a replica."""
    return (
        Variable("cluster", "Cluster", "label_values(up, cluster)"),
        Variable("namespace", "Namespace", f"label_values({counted}{{{CLUSTER}}}, namespace)"),
        Variable("model", "Model", f"label_values({counted}{{{PLACE}}}, model_name)"),
        Variable("role", "Role", f"label_values({counted}{{{MODEL}}}, {role})"),
        Variable("pool", "Pool", f"label_values(aiops_ready_replicas{{{MODEL}}}, pool)"),
        CONSOLE,
    )


FLEET_VARIABLES = variables("role:vllm_pods:count", "llm_d_ai_role")


def budget(slo: str) -> str:
    """What the objective on a latency allows to be missed, as a share of the requests, by model."""
    return f'(1 - max by ({BY_MODEL}) (aiops_slo_objective_ratio{{{MODEL},slo="{slo}"}}))'


def counted(selector: str, by: str, window: str) -> str:
    """Count a counter's events, the first of a series included: ``increase`` alone misses the one that makes it."""
    grown = f"sum by ({by}) (increase({selector}[{window}])) > 0"
    return f"({grown}) or (sum by ({by}) ({selector}) > 0 unless sum by ({by}) ({selector} offset {window}))"


def _began(direction: str) -> str:
    # A change that is wanted for an hour is one event: only its first cycle is marked.
    by, changes = "namespace, model_name, pool, reason", f'aiops_decisions_total{{{POOL},direction="{direction}"}}'
    return f"({counted(changes, by, '2m')}) unless sum by ({by}) (increase({changes}[2m] offset 2m)) > 0"


ANNOTATIONS = (
    Annotation("More replicas wanted", _began("up"), "green", "{{pool}}: more replicas wanted", "{{reason}}"),
    Annotation("Fewer replicas wanted", _began("down"), "blue", "{{pool}}: fewer replicas wanted", "{{reason}}"),
    Annotation(
        "Critical alerts",
        "max by (alertname, namespace, model_name) "
        f'(ALERTS{{{PLACE},alertstate="firing",team="aiops",severity="critical"}})',
        "red",
        "{{alertname}}",
        "{{namespace}} {{model_name}}",
    ),
)

QUANTILES = (
    Line("p50", color="green"),
    Line("p95", color="orange", width=2),
    Line("p99", color="red"),
    Line("objective", color="gray", dash=6),
)


def quantiles(
    buckets: str, by: str = "", legend: str = "", levels: tuple[float, ...] = (0.5, 0.95, 0.99)
) -> list[Query]:
    """Quantiles of recorded bucket rates: all together, or ``by`` a label that is named in the ``legend``."""
    kept = f"le, {by}" if by else "le"
    return [
        Query(f"histogram_quantile({level}, sum by ({kept}) ({buckets}))", f"p{level * 100:g}{legend}")
        for level in levels
    ]


def standing_out(recorded: str, by: str = "pod", selector: str = ENGINE) -> str:
    """The ten that stand out of what is chosen, from the ten that rules record of each part of it."""
    pick, join = ("bottomk", "min") if recorded.endswith(":bottom10") else ("topk", "max")
    return f"{pick}(10, {join} by ({by}) ({recorded}{{{selector}}}))"


def mean(histogram: str, selector: str, by: str = "") -> str:
    """The mean of what a histogram of few series counted; nothing where it counted nothing."""
    kept = f" by ({by})" if by else ""
    total, count = (
        f"sum{kept} (rate({histogram}_{part}{{{selector}}}[$__rate_interval]))" for part in ("sum", "count")
    )
    return f"{total} / ({count} > 0)"
