"""What aiops decided and why, what it had expected, and whether it is well."""

from dashboards._panels import Annotation, Dashboard, Line, Panel, Query, Row, Variable

MODEL = 'namespace=~"$namespace",model_name=~"$model"'
POOL = f'{MODEL},pool=~"$pool"'
FORECAST = "aiops_forecast_tokens_per_second"
NEEDS_HISTORY = "nothing is scored until a forecast's horizon has passed"


def counted(selector: str, by: str, window: str) -> str:
    """Count a counter's events, the first of a series included: ``increase`` alone misses the one that makes it."""
    grown = f"sum by ({by}) (increase({selector}[{window}])) > 0"
    return f"({grown}) or (sum by ({by}) ({selector}) unless sum by ({by}) ({selector} offset {window}))"


def fan(metric: str, selector: str) -> tuple[Query, ...]:
    """Demand as it came, and the quantiles that were forecast for this moment one horizon ago."""
    ago = f'{selector}{"," if selector else ""}horizon="$horizon"'
    return (
        Query(f"sum(aiops_demand_{metric}_per_second{{{selector}}})", "demand"),
        *(
            Query(f'sum(aiops_forecast_{metric}_per_second{{{ago},quantile="{level}"}} offset $horizon)', f"P{percent}")
            for level, percent in (("0.1", 10), ("0.5", 50), ("0.9", 90))
        ),
    )


FAN_LINES = (
    Line("demand", color="blue", width=2),
    Line("P10", color="orange", width=0, in_legend=False),
    Line("P50", color="orange", dash=6),
    Line("P90", color="orange", width=0, fill_below_to="P10"),
)
FAN_NOTE = (
    "The band is what was forecast for this moment one horizon ago, not what one would say with hindsight; demand "
    "should leave it upwards one time in ten. With several models chosen, quantiles are summed: too wide a band."
)

REPLICAS = Row(
    "Replicas",
    (
        Panel(
            title="Replicas of $pool",
            description="What the plan asks for (recommended, in every mode), what was asked of Kubernetes (desired, "
            "not in observe mode), what its target is set to (current) and what serves (ready), within "
            "the policy's bounds.",
            unit="short",
            kind="steps",
            repeat="pool",
            minimum=0,
            queries=tuple(
                Query(f"sum(aiops_{kind}_replicas{{{POOL}}})", kind)
                for kind in ("recommended", "desired", "current", "ready", "min", "max")
            ),
            lines=(
                Line("recommended", color="orange", width=2),
                Line("desired", color="red", dash=6),
                Line("current", color="blue"),
                Line("ready", color="green", width=2),
                Line("min", color="gray", width=0, in_legend=False),
                Line("max", color="gray", width=0, fill_below_to="min", in_legend=False),
            ),
        ),
        Panel(
            title="Decisions that change something, by reason",
            description="Cycles in which the plan wanted another number of replicas than there are. A decision counts "
            "once for each reason that applied. Bars that go on and on: the change is wanted but not "
            "carried out.",
            unit="short",
            kind="bars",
            queries=(
                Query(
                    counted(
                        f'aiops_decisions_total{{{POOL},direction!="hold"}}', "direction, reason", "$__rate_interval"
                    ),
                    "{{direction}}: {{reason}}",
                ),
            ),
            may_be_empty="nothing had to change within the range",
        ),
        Panel(
            title="What limited the decision",
            description="The rules that kept the plan from what demand asked for: bounds, budgets, steps, "
            "stabilization, missing metrics. A rule shows from the first time it applied.",
            unit="none",
            kind="states",
            states={0: ("free", "transparent"), 1: ("limited", "orange")},
            queries=(Query(f"max by (pool, limit) (aiops_decision_limited{{{POOL}}})", "{{pool}}: {{limit}}"),),
            may_be_empty="no rule has limited a plan since aiops started",
        ),
    ),
)

DEMAND = Row(
    "Demand and forecast",
    (
        Panel(
            title="Prompt tokens: demand against the forecast made $horizon ago",
            description=f"Prompt tokens that arrive, cached ones included. {FAN_NOTE}",
            unit="suffix: tok/s",
            minimum=0,
            queries=fan("tokens", f'{MODEL},kind="input"'),
            lines=FAN_LINES,
        ),
        Panel(
            title="Output tokens: demand against the forecast made $horizon ago",
            description=f"Output tokens that the arrivals ask for, by the recent length of an answer. {FAN_NOTE}",
            unit="suffix: tok/s",
            minimum=0,
            queries=fan("tokens", f'{MODEL},kind="output"'),
            lines=FAN_LINES,
        ),
        Panel(
            title="Requests: demand against the forecast made $horizon ago",
            description=f"Requests that arrive, those that wait included. {FAN_NOTE}",
            unit="reqps",
            minimum=0,
            queries=fan("requests", MODEL),
            lines=FAN_LINES,
        ),
        Panel(
            title="Forecast ahead: P90 by horizon",
            description="What is expected now for one horizon ahead, at the quantile that nine in ten stay below.",
            unit="suffix: tok/s",
            minimum=0,
            queries=(
                Query(f'sum by (kind, horizon) ({FORECAST}{{{MODEL},quantile="0.9"}})', "{{kind}} in {{horizon}}"),
            ),
        ),
        Panel(
            title="Work: replicas kept busy",
            description="Demand as replica-seconds a second: 1 keeps one replica busy exactly at its objective. "
            "Divided by the utilization limit, it is the number of replicas that the present needs.",
            unit="short",
            width=8,
            minimum=0,
            queries=(Query(f"sum by (model_name, role) (aiops_work_replicas{{{MODEL}}})", "{{model_name}} {{role}}"),),
        ),
        Panel(
            title="Utilization limit",
            description="The highest utilization of a replica at which the objectives still hold, as planned with.",
            unit="percentunit",
            width=8,
            minimum=0,
            maximum=1,
            queries=(
                Query(
                    f"min by (model_name, role) (aiops_utilization_limit_ratio{{{MODEL}}})", "{{model_name}} {{role}}"
                ),
            ),
        ),
        Panel(
            title="Lead time",
            description="Seconds from a decision until its replicas serve, at the P90 that the plan waits for. A peak "
            "that ends sooner buys nothing.",
            unit="s",
            width=8,
            minimum=0,
            queries=(Query(f"max by (model_name) (aiops_lead_time_seconds{{{MODEL}}})", "{{model_name}}"),),
        ),
        Panel(
            title="Coverage of the P90 (0.9 is right)",
            description="Share of recent actuals at or below the P90 that was forecast for them. Far below 0.9 the "
            "plan is too tight, at 1.0 it wastes replicas.",
            unit="percentunit",
            width=8,
            minimum=0,
            maximum=1,
            thresholds=((None, "red"), (0.8, "green")),
            queries=(
                Query(
                    f'min by (model_name, kind) (aiops_forecast_coverage_ratio{{{MODEL},horizon="$horizon"}})',
                    "{{model_name}} {{kind}}",
                ),
            ),
            may_be_empty=NEEDS_HISTORY,
        ),
        Panel(
            title="Error of the forecast (WAPE)",
            description="Sum of absolute errors over the sum of actuals, lately. Unlike a percentage error it does "
            "not blow up at night.",
            unit="percentunit",
            width=8,
            minimum=0,
            queries=(
                Query(
                    f'max by (model_name, kind) (aiops_forecast_wape_ratio{{{MODEL},horizon="$horizon"}})',
                    "{{model_name}} {{kind}}",
                ),
            ),
            may_be_empty=NEEDS_HISTORY,
        ),
        Panel(
            title="Skill over repeating the last value",
            description="1 minus the forecast's error over that of the last value. 0 is no better than doing nothing, "
            "below 0 is worse.",
            unit="percentunit",
            width=8,
            maximum=1,
            thresholds=((None, "red"), (0, "green")),
            queries=(
                Query(
                    f'min by (model_name, kind) (aiops_forecast_skill_ratio{{{MODEL},horizon="$horizon"}})',
                    "{{model_name}} {{kind}}",
                ),
            ),
            may_be_empty=NEEDS_HISTORY,
        ),
    ),
)

FINDINGS = Row(
    "Findings and signals",
    (
        Panel(
            title="Findings",
            description="What aiops finds wrong: a replica hot against its peers, skewed routing, a saturated pool, a "
            "cold prefix cache, blindness. Each finding is named by its replica or its pool where it has "
            "one.",
            unit="none",
            kind="states",
            states={1: ("open", "orange")},
            queries=(
                Query(
                    f"max by (model_name, kind, pool, replica) (aiops_detection_active{{{MODEL}}})",
                    "{{kind}} {{model_name}} {{pool}} {{replica}}",
                ),
            ),
            may_be_empty="nothing is found wrong",
        ),
        Panel(
            title="State of each signal",
            description="Whether a metric can be believed. Zero is a number; absent, stale and mismatched are none, "
            "and replicas are held where they are needed.",
            unit="none",
            kind="states",
            states={
                0: ("ok", "green"),
                1: ("zero", "blue"),
                2: ("absent", "gray"),
                3: ("stale", "orange"),
                4: ("mismatch", "red"),
            },
            queries=(
                Query(
                    "max by (model_name, signal) ("
                    + " or ".join(
                        f'{code} * aiops_signal_state{{{MODEL},state="{state}"}}'
                        for code, state in enumerate(("zero", "absent", "stale", "mismatch"), start=1)
                    )
                    + ")",
                    "{{model_name}} {{signal}}",
                ),
            ),
        ),
        Panel(
            title="Mode",
            description="What aiops may do about each model: observe (writes nothing), emit (the number goes out for "
            "KEDA or an HPA) or act.",
            unit="none",
            kind="states",
            states={1: ("in force", "blue")},
            queries=(Query(f"max by (model_name, mode) (aiops_mode{{{MODEL}}}) == 1", "{{model_name}}: {{mode}}"),),
        ),
        Panel(
            title="Cost",
            description="Price an hour of all replicas that are paid for: serving, starting and draining. Pools whose "
            "variant names no price are left out.",
            unit="currencyUSD",
            minimum=0,
            queries=(Query(f"sum by (model_name) (aiops_cost_usd_per_hour{{{POOL}}})", "{{model_name}} an hour"),),
            may_be_empty="no variant of the policies names a price",
        ),
    ),
)

LOOP = Row(
    "The loop itself",
    (
        Panel(
            title="Intervals since the last cycle that saw the world",
            description="Beyond five the loop is stalled or blind: all else here stands still, and replicas stay.",
            unit="suffix: intervals",
            kind="number",
            width=6,
            thresholds=((None, "green"), (5, "red")),
            queries=(
                Query(
                    "(time() - max(aiops_loop_last_success_timestamp_seconds)) / max(aiops_loop_interval_seconds)",
                    "age",
                ),
            ),
        ),
        Panel(
            title="Cycle time, P95 by stage",
            description="Seconds that each stage of a cycle takes, against the interval at which cycles start.",
            unit="s",
            width=10,
            minimum=0,
            queries=(
                Query(
                    "histogram_quantile(0.95, sum by (le, stage) "
                    "(rate(aiops_loop_duration_seconds_bucket[$__rate_interval])))",
                    "{{stage}}",
                ),
                Query("max(aiops_loop_interval_seconds)", "interval"),
            ),
            lines=(Line("interval", color="gray", dash=6),),
        ),
        Panel(
            title="PromQL queries of a cycle",
            description="Constant, whatever the number of models and replicas.",
            unit="short",
            width=8,
            minimum=0,
            queries=(Query("max(aiops_loop_queries)", "queries"),),
        ),
        Panel(
            title="Errors by stage",
            description="Cycles in which a stage failed. The loop goes on with the next cycle and holds replicas "
            "meanwhile.",
            unit="short",
            kind="bars",
            width=16,
            queries=(Query(counted("aiops_loop_errors_total", "stage", "$__rate_interval"), "{{stage}}"),),
            may_be_empty="no stage has failed",
        ),
        Panel(
            title="Policy files",
            description="1 while the files on disk are broken and the last good policies are used.",
            unit="none",
            kind="number",
            width=8,
            states={0: ("as on disk", "green"), 1: ("broken: last good ones used", "red")},
            queries=(Query("max(aiops_policy_load_failed)", "policies"),),
        ),
    ),
)

# A change that is wanted for an hour is one event: only its first cycle is marked.
_CHANGES = "aiops_decisions_total{{" + POOL + ',direction="{direction}"}}'


def _began(direction: str) -> str:
    by, changes = "namespace, model_name, pool, reason", _CHANGES.format(direction=direction)
    return f"({counted(changes, by, '2m')}) unless sum by ({by}) (increase({changes}[2m] offset 2m)) > 0"


DASHBOARD = Dashboard(
    uid="aiops-decisions",
    title="aiops / Decisions and forecast",
    description="What aiops decided and why, what it had expected, what it finds wrong, and whether it is well.",
    variables=(
        Variable("namespace", "Namespace", "label_values(aiops_mode, namespace)"),
        Variable("model", "Model", 'label_values(aiops_mode{namespace=~"$namespace"}, model_name)'),
        Variable("pool", "Pool", f"label_values(aiops_ready_replicas{{{MODEL}}}, pool)"),
        Variable("horizon", "Forecast horizon", "10m,30m", kind="list"),
    ),
    annotations=(
        Annotation("More replicas wanted", _began("up"), "green", "{{pool}}: more replicas wanted", "{{reason}}"),
        Annotation("Fewer replicas wanted", _began("down"), "blue", "{{pool}}: fewer replicas wanted", "{{reason}}"),
    ),
    rows=(REPLICAS, DEMAND, FINDINGS, LOOP),
)
