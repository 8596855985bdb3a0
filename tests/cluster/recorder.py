"""Writes down a run: every write of ``spec.replicas``, the pods, the requests, and what aiops decided.

``with recorder(place, prometheus.url, file) as run:`` around whatever scales the Deployments of a place; afterwards
``read_recording(file)``. Of aiops itself ``run.listen_to(page)`` is told, of what is done to it ``run.mark(words)``.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from kubernetes import client

from aiops.observe.cluster_owners import last_writer
from aiops.observe.cluster_pods import read_pod
from aiops.simulate.kernel.layout import COMPLETED, PREFILLED, Records
from aiops.simulate.requests import PS
from aiops.simulate.served_model import ServedModel
from tests.cluster.control_plane import new_client
from tests.cluster.follow import Following, Json
from tests.cluster.live import Live
from tests.cluster.place import Place
from tests.cluster.recording import Decided, Event, Mark, PodSeen, ReplicasSet, Sample, Served, line_of
from tests.parts import http_text

_EVERY_S = 1.0
_BIN_S = 15.0
OBJECTIVE_S = 2.5  # of the time to first token, as policies have it by default
_GAUGES = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:kv_cache_usage_perc": "kv_usage_ratio",
}
_LATEST_DECISIONS = 60
Gauges = dict[str, dict[str, float]]
"""By metric, then by pod."""


@contextmanager
def recorder(place: Place, prometheus_url: str, file: Path, live: Live | None = None) -> Iterator["Recorder"]:
    """Record a place until the block ends; with ``live``, also what its users felt, from the factory's own books."""
    # By lines: what was written can be read while the run goes on.
    with file.open("w", buffering=1) as lines, ExitStack() as stack:
        run = Recorder(place, prometheus_url, lambda event: lines.write(f"{line_of(event)}\n"))
        books = [] if live is None else _books(live, stack)
        run.start()
        try:
            yield run
        finally:
            run.stop()
            for book in books:
                for served in book.bins(run.began_s):
                    run.write(served)


@dataclass(slots=True)
class _Pod:
    """A pod as it was seen last."""

    pool: str
    state: str
    reason: str = ""
    cost: int | None = None


class Recorder:
    """Three threads: the Deployments, the pods, and whatever has to be asked for time and again."""

    def __init__(self, place: Place, prometheus_url: str, write: Any) -> None:
        self._write, self._lock = write, threading.Lock()
        self._namespace, self._prometheus_url = place.namespace, prometheus_url
        self._began, self.began_s = datetime.now(UTC), time.monotonic()
        self._pages: dict[str, int] = {}
        self._told: dict[str, Decided] = {}
        self._pools: dict[str, tuple[int, int]] = {}
        self._pods: dict[str, _Pod] = {}
        self._gauges: Gauges = {}
        # A client of its own, which the watches may hold as long as they like; each of its tries is told by itself.
        api = new_client(place.plane.admin_kubeconfig)
        api.configuration.retries = False
        api.rest_client = type(api.rest_client)(api.configuration)
        self._followed = (
            Following(client.AppsV1Api(api).list_namespaced_deployment, place.namespace, self._deployment),
            Following(client.CoreV1Api(api).list_namespaced_pod, place.namespace, self._pod),
        )
        self._stop = threading.Event()
        self._asking = threading.Thread(target=self._ask, name="recorder", daemon=True)

    def start(self) -> None:
        for followed in self._followed:
            followed.start()
        self._asking.start()

    def stop(self) -> None:
        self._stop.set()
        self._asking.join()
        for followed in self._followed:
            followed.stop()

    def listen_to(self, page: str) -> None:
        """Write down the decisions of an aiops, given the URL of its page."""
        self._pages[page] = -1

    def mark(self, text: str) -> None:
        """Write down what is done to the run."""
        self.write(Mark(t_s=self.now_s, text=text))

    @property
    def now_s(self) -> float:
        return time.monotonic() - self.began_s

    def write(self, event: Event) -> None:
        with self._lock:
            self._write(event)

    def _deployment(self, item: Json, gone: bool) -> None:
        metadata, replicas = item["metadata"], int(item["spec"].get("replicas", 1))
        pool, seen = metadata["name"], (replicas, int(metadata["generation"]))
        if not gone and self._pools.get(pool) != seen:
            self._pools[pool] = seen
            by, _ = last_writer(metadata)
            self.write(ReplicasSet(t_s=self.now_s, pool=pool, replicas=replicas, generation=seen[1], by=by))

    def _pod(self, item: Json, gone: bool) -> None:
        view, pool = read_pod(item).view, _pool_of(item["metadata"])
        known = self._pods.get(view.name)
        state = "ready" if view.ready_at else "unready" if known and known.state in ("ready", "unready") else "ordered"
        state = "unplaced" if state == "ordered" and view.pending_reason else state
        state = "gone" if gone else "leaving" if view.deleting_since else state
        seen = _Pod(pool, state, view.pending_reason, view.deletion_cost)
        if known == seen:
            return
        if gone:
            self._pods.pop(view.name, None)
        else:
            self._pods[view.name] = seen
        running = self._gauges.get("running", {})
        others = [name for name, pod in self._pods.items() if (pod.pool, pod.state) == (pool, "ready")]
        fewest = min((running[name] for name in others if name in running), default=None)
        self.write(
            PodSeen(
                t_s=self.now_s,
                pool=pool,
                pod=view.name,
                state=state,
                reason=seen.reason,
                deletion_cost=seen.cost,
                running=running.get(view.name),
                fewest_elsewhere=fewest if state == "leaving" else None,
            )
        )

    def _ask(self) -> None:
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            due_s = max(due_s + _EVERY_S, time.monotonic())
            self._gauges = self._scraped()
            self._sample()
            self._listen(last=False)
        self._listen(last=True)

    def _scraped(self) -> Gauges:
        names, found = "|".join(_GAUGES), {name: {} for name in _GAUGES.values()}
        query = urlencode({"query": f'{{__name__=~"{names}",namespace="{self._namespace}"}}'})
        try:
            rows = json.loads(http_text(f"{self._prometheus_url}/api/v1/query?{query}"))["data"]["result"]
        except (OSError, ValueError, KeyError):
            return {}
        for row in rows:
            found[_GAUGES[row["metric"]["__name__"]]][row["metric"]["pod"]] = float(row["value"][1])
        return found

    def _sample(self) -> None:
        pods = dict(self._pods)
        for pool in dict(self._pools):
            mine = {name: pod.state for name, pod in pods.items() if pod.pool == pool}
            states = list(mine.values())
            values = {name: [value for pod, value in by.items() if pod in mine] for name, by in self._gauges.items()}
            running, waiting, usage = (values.get(name) for name in _GAUGES.values())
            self.write(
                Sample(
                    t_s=self.now_s,
                    pool=pool,
                    ready=states.count("ready"),
                    starting=sum(state in ("ordered", "unready", "unplaced") for state in states),
                    unplaced=states.count("unplaced"),
                    leaving=states.count("leaving"),
                    running=sum(running) if running else None,
                    waiting=sum(waiting) if waiting else None,
                    kv_usage_ratio=max(usage) if usage else None,
                )
            )

    def _listen(self, *, last: bool) -> None:
        """Take the decisions of the cycles that have ended: what came of the newest one is not known yet."""
        for page, taken in list(self._pages.items()):
            try:
                rows = json.loads(http_text(f"{page}/api/v1/decisions?limit={_LATEST_DECISIONS}"))
            except (OSError, ValueError):
                continue
            newest = max((row["number"] for row in rows), default=0)
            done = [row for row in rows if taken < row["number"] < newest + last]
            for row in sorted(done, key=lambda row: row["number"]):
                self._decided(row)
                self._pages[page] = row["number"]

    def _decided(self, row: Json) -> None:
        decision, outcome = row["decision"], row.get("outcome") or {}
        work = next((one["value"] for one in decision.get("inputs", ()) if one["name"] == "work now"), None)
        told = Decided(
            t_s=(datetime.fromisoformat(row["at"]) - self._began).total_seconds(),
            pool=decision["pool"]["name"],
            current=decision["current"],
            needed=decision["needed"],
            desired=decision["desired"],
            reasons=tuple(decision["reasons"]),
            work=work,
            error=outcome.get("error", ""),
        )
        before = self._told.get(told.pool)
        if before is None or replace(before, t_s=told.t_s, work=work) != told:
            self._told[told.pool] = told
            self.write(told)


def _pool_of(metadata: Json) -> str:
    """The name of the Deployment of a pod, by that of its ReplicaSet; of anything else, of its owner."""
    owner = next((one for one in metadata.get("ownerReferences") or () if one.get("controller")), None)
    if owner is None:
        return ""
    name: str = owner["name"]
    return name.rpartition("-")[0] if owner["kind"] == "ReplicaSet" else name


@dataclass(slots=True)
class _Book:
    """The requests of a model that ended since the book was opened."""

    model: ServedModel
    opened_s: float
    """In seconds of the clock that only grows, when the factory's time was 0."""
    ended: list[Records] = field(default_factory=list)

    def bins(self, began_s: float) -> Iterator[Served]:
        """What was felt, by the time at which requests arrived, in seconds since ``began_s``."""
        rows = np.concatenate(self.ended) if self.ended else np.empty(0, [])
        if not len(rows):
            return
        # The first half of a pair is told by itself, and again with the whole.
        rows = rows[rows["kind"] != PREFILLED]
        number = _bin(rows["arrival"] / PS + self.opened_s - began_s)
        waiting = self._waiting(rows, began_s)
        for place in np.unique(number[number >= 0]):
            here = rows[number == place]
            done = here[here["kind"] == COMPLETED]
            ttft_s = (done["first_token"] - done["arrival"]) / PS
            middle, slow = np.quantile(ttft_s, (0.5, 0.95)) if len(ttft_s) else (None, None)
            yield Served(
                t_s=float(place * _BIN_S),
                model=self.model.ref.model,
                over_s=_BIN_S,
                answered=len(done),
                failed=len(here) - len(done),
                late=int(np.count_nonzero(ttft_s > OBJECTIVE_S)),
                waited=waiting.get(int(place), 0),
                ttft_p50_s=None if middle is None else float(middle),
                ttft_p95_s=None if slow is None else float(slow),
            )

    def _waiting(self, rows: Records, began_s: float) -> dict[int, int]:
        """The most that waited at once in each bin: had arrived, and were not in any engine's batch before."""
        begun = np.where(rows["scheduled"] >= 0, rows["scheduled"], rows["finish"])
        at, steps = np.concatenate([rows["arrival"], begun]), np.repeat([1, -1], len(rows))
        order = np.lexsort((steps, at))
        number = _bin(at[order] / PS + self.opened_s - began_s)
        most: dict[int, int] = {}
        for place, count in zip(number.tolist(), np.cumsum(steps[order]).tolist(), strict=True):
            most[place] = max(most.get(place, 0), count)
        return most


def _bin(at_s: Records) -> Records:
    return np.floor(at_s / _BIN_S).astype(int)


def _books(live: Live, stack: ExitStack) -> list[_Book]:
    """Open a book for each model, closed with the stack."""
    books = []
    with live.serving.lock:
        opened_s = time.monotonic() - live.followed.factory.now_s
        for model in live.followed.factory.models:
            book = _Book(model, opened_s)
            books.append(book)
            before = model.on_outcomes
            model.on_outcomes = _both(before, book.ended)
            stack.callback(setattr, model, "on_outcomes", before)
    return books


def _both(before: Any, ended: list[Records]) -> Any:
    def take(rows: Records) -> None:
        before(rows)
        ended.append(rows[["arrival", "scheduled", "first_token", "finish", "kind"]].copy())

    return take
