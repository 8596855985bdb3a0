"""What the recorded day shows, as a page: the figures, each move with its reason, and who left."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.cluster.live import Settings
from tests.cluster.recording import Decided, Mark, PodSeen, Recording, ReplicasSet, Sample


@dataclass(frozen=True, slots=True)
class Step:
    """One more chat replica: when the load needed it and when it was ready, in seconds; None: never."""

    replicas: int
    needed_s: float
    ready_s: float | None

    @property
    def early_s(self) -> float | None:
        return None if self.ready_s is None else self.needed_s - self.ready_s


@dataclass(frozen=True, slots=True)
class Report:
    """A recorded day, with what the chat model needed over time."""

    recording: Recording
    needed: Sequence[tuple[float, float]]
    settings: Settings
    greatest_lag_s: float
    unanswered: int

    def steps(self) -> Iterator[Step]:
        """Each replica that the morning needed beyond those that were there at first."""
        pool = self.settings.deployment
        samples = self.recording.of(Sample, pool)
        highest = max(wanted for _, wanted in self.needed)
        for count in range(self.settings.replicas + 1, int(highest) + 1):
            needed_s = next(at_s for at_s, wanted in self.needed if wanted >= count)
            yield Step(count, needed_s, next((one.t_s for one in samples if one.ready >= count), None))

    def figures(self) -> dict[str, Any]:
        """The run in numbers."""
        summary = self.recording.summary()
        steps = list(self.steps())
        margins = [step.early_s for step in steps if step.early_s is not None]
        return {
            **summary,
            "steps": [(step.replicas, step.needed_s, step.ready_s) for step in steps],
            "least_margin_s": round(min(margins), 1) if margins else None,
            "never_ready": sum(step.ready_s is None for step in steps),
            "requests_in_flight_at_the_end": self.unanswered,
            "engines_behind_the_clock_s": round(self.greatest_lag_s, 2),
        }

    def markdown(self) -> str:
        """The page."""
        parts = [self._about(), self._results(), self._morning(), self._leavers(), self._log()]
        return "\n".join(line for part in parts for line in (*part, ""))

    def _about(self) -> Iterator[str]:
        settings, (least_s, most_s) = self.settings, self.settings.cold_start_s
        yield "# A recorded day on a real control plane"
        yield ""
        yield (
            "Made by `make cluster-demo`: etcd, API server, controller manager, scheduler, KWOK and Prometheus are "
            "real, the engines on the pods are simulated, and aiops runs in `mode: act` with its own token and the "
            "rights that `deploy/` grants."
        )
        yield ""
        yield (
            f"The day takes {self.recording.end_s / 60:.0f} minutes: {settings.night_req_per_s:g} requests/s at night, "
            f"{settings.peak_req_per_s:g} at noon, {settings.ramp_s / 60:g} minutes from one to the other, so its "
            f"morning is some twenty times as steep as one is. Replicas are ready {least_s:g} to {most_s:g} s after "
            "they are ordered. The loop turns every 5 s and has no history; as the day is shorter, so are the policy's "
            "steps and its stabilization (two minutes)."
        )
        yield ""
        yield (
            "Until a forecast knows its own errors, growth that is under way is carried on over the lead time. Until "
            "it has seen a day, its tail is believed up to twice the present: its errors are those of so steep a day."
        )
        yield ""
        yield "![Replicas, what waited, time to first token](images/cluster-demo.svg)"

    def _results(self) -> Iterator[str]:
        figures = self.figures()
        yield "| what | figure |"
        yield "|---|---|"
        for pool, told in figures["pools"].items():
            replicas, waited = told["replicas"], told["greatest_waiting"] or {}
            yield (
                f"| {pool}: replicas at first, at most, at last; written by | {replicas['first']}, {replicas['most']}, "
                f"{replicas['last']}; {', '.join(f'{by} {n} times' for by, n in told['moves']['by'].items())} |"
            )
            yield f"| {pool}: most requests waiting at once | {waited.get('requests')}, after {waited.get('t_s')} s |"
        for model, told in figures["models"].items():
            yield f"| {model}: requests answered, failed | {told['answered']:,}, {told['failed']} |"
        yield f"| least time between a chat replica being ready and being needed | {figures['least_margin_s']} s |"
        yield f"| changes of `spec.replicas` that the recording missed | {self._unseen()} |"
        yield f"| how far the simulated engines fell behind the clock | {figures['engines_behind_the_clock_s']} s |"

    def _unseen(self) -> int:
        return sum(self.recording.unseen(pool) for pool in self.recording.pools)

    def _morning(self) -> Iterator[str]:
        yield "## The morning: needed and ready"
        yield ""
        yield (
            "A replica is needed when one fewer could not serve what arrives at the objectives' bound, by the sizes "
            "that requests turned out to have."
        )
        yield ""
        yield "| chat replica | needed after | ready after | early by |"
        yield "|---|---|---|---|"
        for step in self.steps():
            ready = "never" if step.ready_s is None else f"{step.ready_s:.0f} s"
            early = "" if step.early_s is None else f"{step.early_s:.0f} s"
            yield f"| {step.replicas} | {step.needed_s:.0f} s | {ready} | {early} |"

    def _leavers(self) -> Iterator[str]:
        yield "## Who left"
        yield ""
        yield "Those without a cost were replaced by the rollout, which asks nobody."
        yield ""
        yield "| after | pod | deletion cost | requests it had | fewest on another |"
        yield "|---|---|---|---|---|"
        for pool in self.recording.pools:
            for one in self.recording.victims(pool):
                yield (
                    f"| {one.t_s:.0f} s | {one.pod} | {_known(one.deletion_cost)} | {_known(one.running)} | "
                    f"{_known(one.fewest_elsewhere)} |"
                )

    def _log(self) -> Iterator[str]:
        yield "## Each move and its reasons"
        yield ""
        yield "```"
        told: dict[str, tuple[object, ...]] = {}
        for event in self.recording.events:
            if isinstance(event, Mark):
                yield f"{event.t_s:6.0f} s  == {event.text}"
            elif isinstance(event, ReplicasSet):
                before = told.get(f"replicas {event.pool}")
                if before != (event.replicas,):
                    told[f"replicas {event.pool}"] = (event.replicas,)
                    yield f"{event.t_s:6.0f} s  {event.pool}: spec.replicas {event.replicas}, by {event.by}"
            elif isinstance(event, Decided) and told.get(event.pool) != (event.desired, event.reasons):
                told[event.pool] = (event.desired, event.reasons)
                yield (
                    f"{event.t_s:6.0f} s  {event.pool}: has {event.current}, needs {event.needed}, shall have "
                    f"{event.desired}: {', '.join(event.reasons)}{_error(event)}"
                )
            elif isinstance(event, PodSeen) and event.state == "unplaced":
                yield f"{event.t_s:6.0f} s  {event.pool}: {event.pod} is {event.reason}"
        yield "```"


def _known(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _error(event: Decided) -> str:
    return f" (refused: {event.error})" if event.error else ""
