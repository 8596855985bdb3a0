"""What aiops decided and why, what it had expected, and whether it is well."""

from dashboards._forecast_rows import DEMAND, SKILL
from dashboards._selectors import ANNOTATIONS, MODEL, POOL, counted, variables
from dashboards._values import Dashboard, Line, Panel, Query, Row, Variable

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
            runbooks=("AiopsFlapping",),
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
            runbooks=("AiopsCapped",),
        ),
        Panel(
            title="Changes carried out",
            description="Changes of a pool's replicas that the cluster took. In observe and emit mode there are none: "
            "others write.",
            unit="short",
            kind="bars",
            queries=(
                Query(
                    counted(f"aiops_scale_events_total{{{POOL}}}", "pool, direction", "$__rate_interval"),
                    "{{pool}}: {{direction}}",
                ),
            ),
            may_be_empty="aiops has carried out no change within the range",
        ),
        Panel(
            title="Asked for and not set",
            description="Replicas asked of Kubernetes less those that the target is set to. In act mode it is back at "
            "0 within a cycle; in emit mode as soon as the scaler that reads the number follows.",
            unit="short",
            kind="steps",
            width=8,
            queries=(
                Query(
                    f"sum by (pool) (aiops_desired_replicas{{{POOL}}}) "
                    f"- sum by (pool) (aiops_current_replicas{{{POOL}}})",
                    "{{pool}}",
                ),
            ),
            may_be_empty="the policies are in observe mode, which asks for nothing",
        ),
        Panel(
            title="Replicas that left within the hour",
            description="From all pools that aiops moves, whoever took them, against what the fleet's policy lets go "
            "in an hour. Where nothing more may go, nothing is removed.",
            unit="short",
            kind="steps",
            width=8,
            minimum=0,
            queries=(
                Query("max(aiops_fleet_removed_replicas)", "gone"),
                Query("max(aiops_fleet_removed_replicas) + max(aiops_fleet_removable_replicas)", "allowed"),
            ),
            lines=(Line("gone", color="blue", width=2), Line("allowed", color="gray", dash=6)),
            may_be_empty="no FleetPolicy bounds what may go",
        ),
        Panel(
            title="Writing",
            description="Whether aiops may write at all: one word in the fleet's policy switches all of it off.",
            unit="none",
            kind="states",
            width=8,
            states={0: ("on, as each policy's mode has it", "green"), 1: ("switched off", "orange")},
            queries=(Query("max(aiops_writes_off)", "writing"),),
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
            runbooks=("TokenFactoryRoutingSkew",),
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
            runbooks=("AiopsBlind",),
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
    height=10,
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
            runbooks=("AiopsLoopStalled",),
        ),
        Panel(
            title="Cycle time, P95 by stage",
            description="Seconds that each stage of a cycle takes, against the interval at which cycles start.",
            unit="s",
            width=10,
            logarithmic=True,
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
            width=8,
            queries=(Query(counted("aiops_loop_errors_total", "stage", "$__rate_interval"), "{{stage}}"),),
            may_be_empty="no stage has failed",
            runbooks=("AiopsActuationFailing",),
        ),
        Panel(
            title="Who leads",
            description="Processes of aiops with their versions. One leads and writes, the others watch.",
            unit="none",
            kind="states",
            width=8,
            states={0: ("watches", "blue"), 1: ("leads", "green")},
            queries=(
                Query(
                    "max by (instance, version) (aiops_leader * on (instance) group_left (version) aiops_build_info)",
                    "{{instance}} {{version}}",
                ),
            ),
            runbooks=("AiopsNoLeader",),
        ),
        Panel(
            title="Policy files",
            description="1 while the files on disk are broken and the last good policies are used.",
            unit="none",
            kind="number",
            width=8,
            states={0: ("as on disk", "green"), 1: ("broken: last good ones used", "red")},
            queries=(Query("max(aiops_policy_load_failed)", "policies"),),
            runbooks=("AiopsPolicyBroken",),
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="aiops-decisions",
    title="aiops / Decisions and forecast",
    description="What aiops decided and why, what it had expected, what it finds wrong, and whether it is well.",
    variables=(*variables("aiops_ready_replicas", "role"), Variable("horizon", "Horizon", "10m,30m", kind="list")),
    annotations=ANNOTATIONS,
    rows=(REPLICAS, DEMAND, SKILL, FINDINGS, LOOP),
)
