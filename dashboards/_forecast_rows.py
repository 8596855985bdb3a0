"""Demand against what was forecast for it, what it means in replicas, and how good the forecast was."""

from dashboards._selectors import MODEL
from dashboards._values import Line, Panel, Query, Row

FORECAST = "aiops_forecast_tokens_per_second"
NEEDS_HISTORY = "nothing is scored until a forecast's horizon has passed"


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
            width=6,
            minimum=0,
            queries=(Query(f"sum by (model_name, role) (aiops_work_replicas{{{MODEL}}})", "{{model_name}} {{role}}"),),
        ),
        Panel(
            title="Utilization limit",
            description="The highest utilization of a replica at which the objectives still hold, as planned with.",
            unit="percentunit",
            width=6,
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
            width=6,
            minimum=0,
            queries=(Query(f"max by (model_name) (aiops_lead_time_seconds{{{MODEL}}})", "{{model_name}}"),),
        ),
        Panel(
            title="Shifts of demand",
            description="Level after a lasting shift over the level before, for a day after it was noticed: of "
            "requests, of tokens a request, of output against prompt tokens.",
            unit="suffix: ×",
            minimum=0,
            width=6,
            queries=(
                Query(
                    f"max by (model_name, kind) (aiops_demand_shift_ratio{{{MODEL}}})",
                    "{{model_name}} {{kind}}",
                ),
            ),
            may_be_empty="demand has shown no lasting shift within a day",
            runbooks=("TokenFactoryDemandShift",),
        ),
    ),
)

SKILL = Row(
    "How good the forecast was",
    (
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
            runbooks=("AiopsForecastMiscalibrated",),
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
        Panel(
            title="Coverage of what the plan stands on",
            description="The same for work, the number that replicas are counted from: at the time at which a replica "
            "ordered now would serve (lead), and until one that is removed now could be back (down).",
            unit="percentunit",
            minimum=0,
            maximum=1,
            thresholds=((None, "red"), (0.8, "green")),
            queries=(
                Query(
                    f'min by (model_name, kind, horizon) (aiops_forecast_coverage_ratio{{{MODEL},kind=~"work_.*"}})',
                    "{{model_name}} {{kind}}, {{horizon}}",
                ),
            ),
            may_be_empty=NEEDS_HISTORY,
        ),
        Panel(
            title="Skill of what the plan stands on",
            description="1 minus the error of the forecast of work over that of the last value, at the same two times. "
            "Below 0 a scaler that only looks at now would have done better.",
            unit="percentunit",
            maximum=1,
            thresholds=((None, "red"), (0, "green")),
            queries=(
                Query(
                    f'min by (model_name, kind, horizon) (aiops_forecast_skill_ratio{{{MODEL},kind=~"work_.*"}})',
                    "{{model_name}} {{kind}}, {{horizon}}",
                ),
            ),
            may_be_empty=NEEDS_HISTORY,
        ),
    ),
)
