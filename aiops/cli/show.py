"""A cycle as tables for people."""

from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from aiops.model.cycle import Cycle, ModelCycle
from aiops.model.decision import Decision, Provenance
from aiops.model.forecast import ForecastBasis, ForecastSkill, Window

_VICTIMS = 5
_STYLE = {"up": "green", "down": "cyan", "hold": ""}


def console() -> Console:
    """Make the console for results; a pipe, which has no width of its own, gets one in which no name is cut."""
    plain = Console(markup=False, emoji=False, highlight=False)
    return plain if plain.is_terminal else Console(markup=False, emoji=False, highlight=False, width=200)


def plan_table(cycle: Cycle, width: int) -> RenderableType:
    """Show what a cycle would have every pool be, and why, on a console of ``width`` columns."""
    narrow = width < 160
    table = Table(title=f"plan at {_time(cycle.at)}", title_justify="left")
    for name in ("model", "pool", "role"):
        table.add_column(name, no_wrap=not narrow, overflow="fold")
    for name in ("current", "needed", "desired"):
        table.add_column(name, justify="right")
    for name in ("reason", "demand", "forecast", "capacity"):
        table.add_column(name, overflow="fold")
    for model in cycle.models:
        for decision in model.decisions:
            table.add_row(*_row(model, decision))
    off = "writing is switched off: the FleetPolicy says writes: off"
    notes = [Text(off, style="bold red")] if cycle.fleet.writes_off else []
    notes += [Text(f"blind: {model.ref}: {model.blind}", style="bold red") for model in cycle.models if model.blind]
    notes += [Text(f"{found.severity}: {found.kind}: {found.note}", style="yellow") for found in cycle.detections]
    notes += [Text(line, style="yellow") for model in cycle.models for line in _unplaced(model)]
    notes += [
        Text(f"no policy: {ref} is served, and nothing here plans it; write a policy with spec.model: {ref.model}")
        for ref in cycle.unmanaged
    ]
    return Group(table, *notes)


def _unplaced(model: ModelCycle) -> list[str]:
    """Tell the replicas that found no node."""
    return [
        f"no node: {pool.unplaced} replicas of {pool.pool}: {pool.unplaced_reason}"
        for pool in model.pools
        if pool.unplaced
    ]


def _row(model: ModelCycle, decision: Decision) -> tuple[RenderableType, ...]:
    marks = {summary.pool: "*" for summary in model.pools if summary.current_inferred}
    current = "?" if decision.current is None else f"{decision.current}{marks.get(decision.pool, '')}"
    desired = "?" if decision.desired is None else str(decision.desired)
    return (
        str(model.ref),
        decision.pool.name,
        str(decision.role),
        current,
        "" if decision.needed is None else str(decision.needed),
        Text(desired, style=_STYLE[decision.direction]),
        ", ".join(decision.reasons),
        _demand(model),
        _forecast(model, decision),
        _capacity(model, decision),
    )


def _demand(model: ModelCycle) -> str:
    if model.demand is None:
        return ""
    parts = [f"{model.demand.requests_per_s:.2f} req/s"]
    if model.demand.input_tok_per_s is not None and model.demand.output_tok_per_s is not None:
        parts.append(f"{model.demand.input_tok_per_s:.0f} in, {model.demand.output_tok_per_s:.0f} out tok/s")
    if model.demand.backlog_requests:
        parts.append(f"{model.demand.backlog_requests:.0f} waiting")
    return ", ".join(parts)


def _forecast(model: ModelCycle, decision: Decision) -> str:
    ahead = next((entry for entry in decision.inputs if entry.name == "work forecast at the lead time"), None)
    now = next((entry for entry in decision.inputs if entry.name == "work now"), None)
    if now is None or now.value is None:
        return ""
    if ahead is None or ahead.value is None:
        return f"work {now.value:.2f}, no forecast yet"
    return f"work {now.value:.2f} → {ahead.value:.2f} in {model.lead_time_s:.0f} s"


def _capacity(model: ModelCycle, decision: Decision) -> str:
    found = next((entry for entry in model.capacities if entry.role is decision.role), None)
    if found is None:
        return ""
    text = f"{found.utilization_limit_ratio:.0%} ({found.basis})"
    return text if found.replica_tok_per_s is None else f"{found.replica_tok_per_s:.0f} tok/s a replica at {text}"


def legend(cycle: Cycle) -> str:
    """Explain the marks of a plan table; empty where none is used."""
    inferred = any(pool.current_inferred for model in cycle.models for pool in model.pools)
    return "* counted from live engines: no cluster says how many are asked for" if inferred else ""


def explanation(model: ModelCycle, at: datetime) -> RenderableType:
    """Show one model's decisions with everything that they stand on."""
    parts: list[RenderableType] = [Text(f"{model.ref} at {_time(at)}, mode {model.mode}", style="bold")]
    if model.blind:
        parts.append(Text(f"blind: {model.blind}", style="bold red"))
    for decision in model.decisions:
        parts.append(_decision_head(decision))
        parts += [Text(f"  - {reason.sentence}") for reason in decision.reasons]
        if decision.why_not:
            parts.append(Text(f"  {decision.why_not}"))
        parts += [Text(f"  {line}") for line in _victims(decision)]
        if decision.inputs:
            parts.append(_inputs(decision))
    parts += [Text(line, style="yellow") for line in _unplaced(model)]
    parts += [Text(f"{found.kind}: {found.note}", style="yellow") for found in model.detections]
    parts += [Text(f"cause: {cause.sentence} Next: {cause.next_step}") for cause in model.diagnosis.causes]
    if model.forecasts:
        parts.append(_forecasts(model))
        notes = [*_without_skill(model), *(shift.sentence for shift in model.shifts)]
        parts += [Text(f"  - {note}", style="yellow") for note in notes]
    return Group(*parts)


def _decision_head(decision: Decision) -> Text:
    current = "unknown" if decision.current is None else decision.current
    desired = "unchanged" if decision.desired is None else decision.desired
    head = f"{decision.pool.kind} {decision.pool} ({decision.role}): {current} → {desired}"
    if decision.needed is not None:
        head += f" (needed {decision.needed})"
    return Text(head, style=_STYLE[decision.direction] or "bold")


def _victims(decision: Decision) -> list[str]:
    """Name the replicas that cost least to lose; of many, the first."""
    told = [victim.sentence for victim in decision.victims[:_VICTIMS]]
    more = len(decision.victims) - len(told)
    return [f"costs least to lose: {line}" for line in told] + [f"and {more} more"] * bool(more)


def _inputs(decision: Decision) -> Table:
    table = Table(box=None, padding=(0, 2))
    table.add_column("input")
    table.add_column("value", justify="right")
    table.add_column("")
    table.add_column("how it is known")
    for entry in decision.inputs:
        value = "" if entry.value is None else f"{entry.value:.4g}"
        style = "dim" if entry.provenance is Provenance.MISSING else ""
        table.add_row(entry.name, value, entry.unit, str(entry.provenance), style=style)
    return table


def _forecasts(model: ModelCycle) -> Table:
    table = Table(title="forecast", title_justify="left", box=None, padding=(0, 2))
    for name in ("series", "from now", "q10", "q50", "q90", "basis", "WAPE", "skill", "coverage", "judged", "members"):
        table.add_column(name)
    skills = {(skill.series, skill.window): skill for skill in model.skills}
    for entry in model.forecasts:
        values = [entry.quantile(level) for level in (0.1, 0.5, 0.9)]
        members = ", ".join(f"{name} {share:.0%}" for name, share in entry.weights)
        known = _skill(skills.get((entry.series, entry.window)))
        shown = ["" if value is None else f"{value:.4g}" for value in values]
        table.add_row(entry.series, _span(entry.window), *shown, str(entry.basis), *known, members)
    return table


def _span(window: Window) -> str:
    ends = [window.start_s] if window.start_s == window.end_s else [window.start_s, window.end_s]
    return "–".join(f"{end:.0f}" for end in ends) + " s"


def _skill(skill: ForecastSkill | None) -> tuple[str, ...]:
    """Write what the forecaster knows of itself: the trailing error, against the last value, and how many windows."""
    if skill is None:
        return ("",) * 4
    ratios = (skill.wape_ratio, skill.skill_ratio, skill.coverage_ratio)
    return (*("" if ratio is None else f"{ratio:.0%}" for ratio in ratios), str(skill.points))


def _without_skill(model: ModelCycle) -> list[str]:
    """Say of which series the forecast was lately worse than repeating the last value, and which fall back to that."""
    fallen = [
        f"the forecasters of {entry.series} at {_span(entry.window)} together were worse than repeating the last "
        "value, so that is what is told"
        for entry in model.forecasts
        if entry.basis is ForecastBasis.LAST_VALUE
    ]
    return fallen + [
        f"the forecast of {skill.series} at {_span(skill.window)} has no skill: its error was "
        f"{1.0 - skill.skill_ratio:.2f} times that of repeating the last value"
        for skill in model.skills
        if skill.skill_ratio is not None and skill.skill_ratio < 0.0
    ]


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")
