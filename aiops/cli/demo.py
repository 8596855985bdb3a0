"""aiops demo: a simulated factory meets a morning, with the loop on it; nothing else is needed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import structlog
import typer
from rich.progress import Progress

from aiops import __version__
from aiops.act.emit import Emitter
from aiops.act.journal import Journal
from aiops.act.log import CycleLog, set_up_log
from aiops.act.recorder import EvidenceRecorder
from aiops.backtest.baselines.static import smallest_static
from aiops.backtest.demo_world import MIDNIGHT, demo_world
from aiops.backtest.replay import Replay, World, replay
from aiops.cli.clock import WallClock
from aiops.cli.connect import JsonOption, duration
from aiops.cli.shell import CommandError, err, print_json, telling
from aiops.cli.show import console
from aiops.control.lead import Alone
from aiops.control.loop import Loop, Turn
from aiops.model.refs import ModelRef
from aiops.serve.api import create_app
from aiops.serve.fleet import fleet_router
from aiops.serve.health import Health
from aiops.serve.server import Server
from aiops.simulate.actuator import FactoryActuator
from aiops.simulate.factory import Factory
from aiops.simulate.observer import FactoryObserver
from aiops.simulate.summary import ModelTotals

_BEFORE_THE_RAMP = timedelta(hours=7, minutes=30)
_CYCLE = timedelta(seconds=15)
_PAST = timedelta(days=3)


class Scaler(StrEnum):
    """Who sets the replicas of a headless demo."""

    AIOPS = "aiops"
    STATIC = "static"


def demo(
    headless: Annotated[bool, typer.Option("--headless", help="No page: run as fast as it goes, then print.")] = False,
    span: Annotated[str | None, typer.Option("--for", help="How much virtual time; 24h when headless.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the load and of the cold starts.")] = 1,
    speed: Annotated[float, typer.Option(min=0.1, max=600, help="How many times real time the factory runs.")] = 60.0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the page is; 0 takes a free port.")] = 8080,
    scaler: Annotated[
        Scaler, typer.Option(help="static: the fewest constant replicas with at least the loop's attainment.")
    ] = Scaler.AIOPS,
    cold: Annotated[bool, typer.Option("--cold", help="Start without the three days of history.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the loop on a simulated factory: a chat model on aggregated replicas, a RAG model on prefill/decode pairs.

    The page shows demand against its forecast, the replicas, and each decision with its reasons. The factory's engines
    answer under /fleet as vLLM does, with Prometheus service discovery at /fleet/targets.

    Exit codes: 0 done, 1 bad input, 2 wrong usage.

    Examples:

      aiops demo

      aiops demo --speed 120 --port 9000

      aiops demo --headless --for 24h --seed 1 --json

      aiops demo --headless --for 24h --seed 1 --scaler static
    """
    length = None if span is None else duration(span)
    if length is not None and length <= timedelta(0):
        raise typer.BadParameter(f"--for {span} is no time at all")
    if not headless and (as_json or scaler is Scaler.STATIC):
        raise typer.BadParameter("--json and --scaler static belong to --headless")
    with telling(as_json):
        past = timedelta(0) if cold else _PAST
        if headless:
            _headless(demo_world(seed, past), length or timedelta(hours=24), scaler, as_json)
        else:
            _live(demo_world(seed, past, MIDNIGHT + _BEFORE_THE_RAMP), speed, port, length)


# --- headless ---


def _headless(world: World, length: timedelta, scaler: Scaler, as_json: bool) -> None:
    with _progress("the loop", length) as on_turn:
        run = replay(world, length, on_turn=on_turn)
    if scaler is Scaler.AIOPS:
        result = {"scaler": "aiops", **_result(world, run)}
    else:
        result = {"scaler": "static", **_static(world, length, run)}
    if as_json:
        print_json(result)
    else:
        console().print(_sentence(result))


def _result(world: World, run: Replay) -> dict[str, Any]:
    cost, fate = run.cost, run.fate
    return {
        "seed": world.seed,
        "duration_s": cost.duration_s,
        "requests": fate.requests.requests,
        "finished": fate.requests.finished,
        "hits": fate.requests.hits,
        "attainment_ratio": fate.requests.hit_ratio,
        "replica_hours": round(cost.replica_hours, 6),
        "gpu_hours": round(cost.gpu_hours, 6),
        "scale_events": cost.scale_events,
        "cancelled_orders": cost.cancelled_orders,
        "cycles": run.tally.cycles,
        "decisions": sum(run.tally.decisions.values()),
        "decisions_by_direction": dict(run.tally.decisions),
        "decisions_by_reason": dict(run.tally.reasons),
        "models": {
            str(served.ref): _model(served, paid) for served, paid in zip(fate.models, cost.models, strict=True)
        },
    }


def _model(served: ModelTotals, paid: ModelTotals) -> dict[str, Any]:
    return {
        "requests": served.requests.requests,
        "hits": served.requests.hits,
        "attainment_ratio": served.requests.hit_ratio,
        "pools": {
            pool.pool.name: {
                "replica_hours": round(pool.replica_hours, 6),
                "gpu_hours": round(pool.gpu_hours, 6),
                "scale_events": pool.scale_events,
            }
            for pool in paid.pools
        },
    }


def _static(world: World, length: timedelta, run: Replay) -> dict[str, Any]:
    """Search the smallest constant fleet of each model that reaches what the loop reached."""

    def told(ref: ModelRef, counts: tuple[int, ...]) -> None:
        err.print(f"static: {ref}: trying {' + '.join(map(str, counts))}", markup=False, highlight=False)

    try:
        fleets = [
            smallest_static(world, spec, length, model.requests.hit_ratio or 0.0, told)
            for spec, model in zip(world.specs, run.fate.models, strict=True)
        ]
    except ValueError as error:
        raise CommandError(str(error)) from error
    requests = sum(fleet.replay.fate.requests.requests for fleet in fleets)
    beside = _result(world, run)
    return {
        "seed": world.seed,
        "duration_s": length.total_seconds(),
        "requests": requests,
        "attainment_ratio": sum(fleet.replay.fate.requests.hits for fleet in fleets) / requests if requests else None,
        "replica_hours": sum(fleet.replay.cost.replica_hours for fleet in fleets),
        "gpu_hours": sum(fleet.replay.cost.gpu_hours for fleet in fleets),
        "scale_events": 0,
        "decisions": 0,
        "replicas": {pool.name: count for fleet in fleets for pool, count in fleet.replicas.items()},
        "simulated_runs": sum(fleet.runs for fleet in fleets),
        "aiops": {key: beside[key] for key in ("attainment_ratio", "replica_hours", "gpu_hours")},
    }


def _sentence(result: dict[str, Any]) -> str:
    attainment = result["attainment_ratio"]
    return (
        f"{result['scaler']}: {result['requests']} requests in {result['duration_s'] / 3600:g} h of virtual time, "
        f"{'none' if attainment is None else format(attainment, '.2%')} within the objectives, on "
        f"{result['replica_hours']:.1f} replica-hours ({result['gpu_hours']:.1f} GPU-hours), "
        f"{result['scale_events']} scale events"
    )


@contextmanager
def _progress(what: str, length: timedelta) -> Iterator[Any]:
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=length / _CYCLE)

        def on_turn(_: Turn) -> None:
            bar.advance(task)

        yield on_turn


# --- live ---


@dataclass(frozen=True)
class _PacedClock:
    """Virtual time that passes ``speed`` times as fast as real time; a signal breaks it off."""

    factory: Factory
    wall: WallClock
    speed: float
    lock: threading.Lock

    def now(self) -> datetime:
        return self.factory.now

    def sleep(self, seconds: float) -> bool:
        """Let the factory run in small steps, so that its engines' metrics move smoothly."""
        steps = max(1, round(seconds / self.speed / 0.25))
        began, until = self.wall.now(), self.factory.now
        for step in range(1, steps + 1):
            with self.lock:
                self.factory.advance(until + timedelta(seconds=seconds * step / steps))
            due = began + timedelta(seconds=seconds / self.speed * step / steps)
            if not self.wall.sleep((due - self.wall.now()).total_seconds()):
                return False
        return True


def _live(world: World, speed: float, port: int, length: timedelta | None) -> None:
    log = CycleLog(set_up_log(json_lines=False, level="warning"))
    factory, lock, wall = world.factory(), threading.Lock(), WallClock()
    journal, emitter = Journal.memory(), Emitter(__version__, _CYCLE.total_seconds())
    health = Health(_CYCLE.total_seconds() / speed)
    app = create_app(journal, emitter, health, lambda: world.policies, title="aiops demo")
    app.include_router(fleet_router(factory, lock))
    loop = Loop(
        FactoryObserver(factory),
        FactoryActuator(factory),
        EvidenceRecorder(journal, emitter, log, lambda: world.policies),
        Alone(),
        lambda: world.policies,
        on_stage=emitter.stage,
    )
    try:
        with Server(app, port=port) as server, wall.on_signals():
            err.print(f"the factory runs at {speed:g} times real time; the page is at [bold]{server.url}[/]")
            err.print("end it with Ctrl-C")
            loop.run_forever(
                _PacedClock(factory, wall, speed, lock),
                world.state(),
                _CYCLE.total_seconds(),
                until=None if length is None else world.start + length,
                on_turn=lambda turn: health.cycle_ended(turn.cycle),
            )
    except OSError as error:
        raise CommandError(str(error)) from error
    finally:
        journal.close()
    structlog.get_logger().info("the demo ended")
