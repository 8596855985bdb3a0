"""aiops run: the loop, until it is told to stop."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import structlog
import typer

from aiops import __version__
from aiops.act.emit import Emitter
from aiops.act.forecast_file import ForecastFileError, ForecastSaver, read_forecasts
from aiops.act.journal import Journal
from aiops.act.log import CycleLog, set_up_log
from aiops.act.recorder import EvidenceRecorder
from aiops.cli.clock import WallClock
from aiops.cli.cluster import NO_CLUSTER, ContextOption, KubeconfigOption, access_to, world_of
from aiops.cli.connect import (
    CaFileOption,
    MatcherOption,
    PasswordFileOption,
    PolicyOption,
    PrometheusOption,
    TenantOption,
    TokenFileOption,
    UserOption,
    client_for,
    duration,
    policy_failure,
)
from aiops.cli.shell import CommandError, telling
from aiops.control.loop import Loop, Turn
from aiops.model.policy import Mode, PolicySet
from aiops.observe.history import read_history
from aiops.observe.kubernetes import KubernetesAccess
from aiops.observe.observer import PrometheusObserver
from aiops.observe.policies import PolicyError, PolicyWatch
from aiops.observe.prometheus import PrometheusClient, PrometheusError
from aiops.plan import State, begin, recall
from aiops.serve.api import create_app
from aiops.serve.health import Health
from aiops.serve.server import Server

_SAVED_EVERY = timedelta(minutes=5)
_MARGIN = timedelta(minutes=2)
"""What is read of the past beyond the gap, so that its bins are whole."""
JournalOption = Annotated[
    Path | None,
    typer.Option("--journal", envvar="AIOPS_JOURNAL", help="The file with the evidence (SQLite).", show_default=False),
]


def default_journal() -> Path:
    """Give the journal's place where none is named: the user's state folder."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "aiops" / "journal.db"


def run(
    policy: PolicyOption,
    prometheus: PrometheusOption = None,
    interval: Annotated[str, typer.Option(help="How often a cycle begins.")] = "15s",
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the page, the API and /metrics are served.")
    ] = "127.0.0.1:9095",
    journal: JournalOption = None,
    forecasts: Annotated[
        Path | None,
        typer.Option(
            "--forecasts",
            envvar="AIOPS_FORECASTS",
            help="The file in which the forecasters' memory outlives a restart; beside the journal if not given.",
            show_default=False,
        ),
    ] = None,
    history: Annotated[str, typer.Option(help="How far back the forecast reads at the start.")] = "14d",
    window: Annotated[str, typer.Option(help="Rates are over this window; at least four scrapes.")] = "1m",
    stop_after: Annotated[str | None, typer.Option("--for", help="End by itself after this long.")] = None,
    log_format: Annotated[str, typer.Option(help="json, or console for people.")] = "json",
    bearer_token_file: TokenFileOption = None,
    user: UserOption = None,
    password_file: PasswordFileOption = None,
    ca_file: CaFileOption = None,
    tenant: TenantOption = None,
    matcher: MatcherOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    lease: Annotated[
        str,
        typer.Option(metavar="[NAMESPACE/]NAME", help="Of several processes, the one that holds this Lease writes."),
    ] = "aiops",
    deletion_cost: Annotated[
        bool,
        typer.Option(
            "--deletion-cost",
            help="Say which pods of a Deployment leave first: those with the fewest requests. Needs list and patch of "
            "pods (deploy/deletion-cost).",
        ),
    ] = False,
) -> None:
    """Run the loop: observe, emit, and act on a cluster. It serves a page, a JSON API, /metrics and the probes.

    Policies are read anew when their files change; broken ones keep the last good. SIGTERM ends the loop after the
    cycle under way. Without sight nothing moves, and the loop goes on. A cluster is connected where --kubeconfig names
    one, and in a pod; without one, the present replicas are counted from what Prometheus knows.

    Exit codes: 0 ended as asked, 1 bad input, 2 wrong usage.

    Examples:

      aiops run --policy policies/ --prometheus http://127.0.0.1:9090

      aiops run --policy /etc/aiops/policies --prometheus https://thanos.example --bearer-token-file /var/run/token

      aiops run --policy policies/ --prometheus http://127.0.0.1:9090 --interval 5s --for 10m --log-format console

      aiops run --policy policies/ --prometheus http://127.0.0.1:9090 --kubeconfig ~/.kube/config
    """
    beat, span, rate_window = duration(interval), duration(history), duration(window)
    end = None if stop_after is None else duration(stop_after)
    host, port = _address(listen)
    if log_format not in ("json", "console"):
        raise typer.BadParameter(f"--log-format is json or console, not {log_format!r}")
    if beat <= timedelta(0):
        raise typer.BadParameter(f"--interval {interval} is no time at all")
    with (
        telling(as_json=False),
        access_to(kubeconfig, context) as access,
        client_for(prometheus, bearer_token_file, user, password_file, ca_file, tenant, matcher) as client,
    ):
        watch = _watched(policy, connected=access is not None)
        wired = _Run(watch, client, access, lease, deletion_cost, beat, span, rate_window)
        evidence = journal or default_journal()
        wired.until_stopped(evidence, forecasts or evidence.with_suffix(".forecasts"), host, port, end, log_format)


def _watched(paths: list[Path], *, connected: bool) -> PolicyWatch:
    try:
        watch = PolicyWatch(paths)
    except PolicyError as error:
        raise policy_failure(error) from error
    for policy in watch.current().policies:
        if policy.spec.mode in (Mode.ACT, Mode.ACT_UP) and not connected:
            raise CommandError(f"policy {policy.metadata.name!r}: {NO_CLUSTER}")
    return watch


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise typer.BadParameter(f"{text!r} is no address; write HOST:PORT, such as 127.0.0.1:9095")
    return host.strip("[]"), int(port)


@dataclass(frozen=True)
class _Run:
    """One run of the loop, wired to the world."""

    watch: PolicyWatch
    client: PrometheusClient
    access: KubernetesAccess | None
    lease: str
    victims: bool
    interval: timedelta
    history: timedelta
    window: timedelta

    def until_stopped(
        self, journal_path: Path, forecasts: Path, host: str, port: int, end: timedelta | None, log_format: str
    ) -> None:
        log = CycleLog(set_up_log(json_lines=log_format == "json"))
        clock = WallClock()
        emitter = Emitter(__version__, self.interval.total_seconds())
        health = Health(self.interval.total_seconds())
        policies = _Policies(self.watch, emitter)
        journal = _open(journal_path)
        kept = _kept(forecasts, policies.held(), clock.now(), self.history)
        begun = _recalled(kept, journal, clock.now())
        history = _History(self.client, policies.held, self.history, clock.now, kept)
        saver = ForecastSaver(forecasts, _SAVED_EVERY)
        metrics = PrometheusObserver(self.client, policies.held, clock.now, window=self.window)
        told_of_lease = _Changes("the Lease is neither got nor kept")

        def turned(turn: Turn) -> None:
            world.settle()
            told_of_lease(world.problem())
            health.cycle_ended(turn.cycle)
            if history.learned is not None:
                saver.turned(turn.state, history.learned, turn.cycle.at)

        server = Server(create_app(journal, emitter, health, policies.held), host=host, port=port)
        try:
            with (
                world_of(self.access, metrics, policies.held, clock.now, self.lease, victims=self.victims) as world,
                server,
                clock.on_signals(),
            ):
                loop = Loop(
                    world.observer,
                    world.actuator,
                    EvidenceRecorder(journal, emitter, log, policies.held, world.elector.leads),
                    world.elector,
                    policies.renewed,
                    prepare=history,
                    on_stage=emitter.stage,
                )
                structlog.get_logger().info("aiops runs", page=server.url, journal=journal.name)
                until = None if end is None else clock.now() + end
                last = loop.run_forever(clock, begun, self.interval.total_seconds(), until=until, on_turn=turned)
            if history.learned is not None:
                saver.close(last, history.learned)
        except OSError as error:
            raise CommandError(str(error)) from error
        finally:
            journal.close()
        structlog.get_logger().info("aiops ended")


class _Changes:
    """Logs a problem when it changes, and once when it is over."""

    def __init__(self, what: str) -> None:
        self._what, self._told = what, ""

    def __call__(self, problem: str) -> None:
        if problem != self._told:
            log = structlog.get_logger()
            if problem:
                log.warning(self._what, problem=problem)
            else:
                log.info(f"it is over: {self._what}")
        self._told = problem


class _Policies:
    """The policies of a cycle: read anew as it begins, and the same for everybody until the next one does."""

    def __init__(self, watch: PolicyWatch, emitter: Emitter) -> None:
        self._watch, self._emitter, self._told = watch, emitter, ""
        self._held = watch.current()

    def renewed(self) -> PolicySet:
        """Follow the files; say once when they are broken, and once when they are good again."""
        self._held = self._watch.current()
        if self._watch.problem != self._told:
            self._told = self._watch.problem
            log = structlog.get_logger()
            if self._told:
                log.error("the policies on disk are broken; the last good ones are used", problem=self._told)
            else:
                log.info("the policies on disk are good again")
        self._emitter.policy_load(bool(self._told))
        return self._held

    def held(self) -> PolicySet:
        """Give the policies of the cycle under way."""
        return self._held


def _open(path: Path) -> Journal:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Journal(path)
    except OSError as error:
        why = error.strerror or error
        raise CommandError(f"cannot write the journal {path}: {why}; name another with --journal") from error


def _kept(path: Path, policies: PolicySet, at: datetime, oldest: timedelta) -> State:
    """Read what the forecasters remembered; nothing where no file is, and where one cannot be used."""
    try:
        kept = read_forecasts(path, policies, at, oldest)
    except FileNotFoundError:
        return State()
    except (ForecastFileError, OSError) as error:
        structlog.get_logger().warning(
            "the saved forecasts are not used; the past is read from Prometheus", file=str(path), why=str(error)
        )
        return State()
    structlog.get_logger().info("saved forecasts read", file=str(path), models=len(kept.models))
    return kept


def _recalled(state: State, journal: Journal, at: datetime) -> State:
    """Go on counting what the fleet loses where the process before this one stopped."""
    last = journal.latest()
    if last is None:
        return state
    recalled = recall(state, last, at)
    removed = sum(mark.replicas for mark in recalled.removals)
    structlog.get_logger().info("journal read", last_cycle=last.at.isoformat(), removed_replicas=removed)
    return recalled


class _History:
    """Reads the past once, as soon as Prometheus answers; tried anew before each cycle until then.

    Where the forecasters of all models are kept, that is what came since. ``learned`` are the policies by which it was
    learned, None before: a state without the past, or by other policies, must not be saved in its place.
    """

    learned: PolicySet | None = None

    def __init__(
        self,
        client: PrometheusClient,
        policies: Callable[[], PolicySet],
        span: timedelta,
        now: Callable[[], datetime],
        kept: State,
    ) -> None:
        self._client, self._policies, self._longest, self._now, self._kept = client, policies, span, now, kept

    def __call__(self, state: State) -> State:
        if self.learned is not None:
            return state
        at, policies = self._now(), self._policies()
        span = self._span(at, policies)
        try:
            histories = read_history(self._client, policies, at, span)
        except PrometheusError as error:
            start = "goes on from what was saved" if self._kept.models else "starts cold"
            structlog.get_logger().warning(f"no history yet; the forecast {start}", error=str(error))
            return state
        self.learned = policies
        models = sum(bool(history.ends_s) for history in histories)
        structlog.get_logger().info("history read", models=models, span_s=span.total_seconds())
        return begin(state, policies, histories, at, self._kept)

    def _span(self, at: datetime, policies: PolicySet) -> timedelta:
        ends_s = [
            min((series.state.end_s or 0.0 for series in self._kept.model(policy.ref).series), default=0.0)
            for policy in policies.policies
        ]
        return min(self._longest, timedelta(seconds=at.timestamp() - min(ends_s, default=0.0)) + _MARGIN)
