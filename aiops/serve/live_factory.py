"""A simulated factory that serves on the pods of a cluster, in real time."""

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from types import TracebackType
from typing import Protocol

from aiops.model.refs import ModelRef
from aiops.serve.pod_fleet import Address, PodFleet
from aiops.simulate.exposition.gateway import Gateway
from aiops.simulate.followed import FollowedFactory, SeenPod

PORT = 8000
_TICK_S = 0.2


class Pods(Protocol):
    """The pods of a cluster, as :class:`aiops.serve.pod_watch.PodWatch` gives them."""

    @property
    def version(self) -> int:
        """A number that grows with every change of the pods."""

    def pods(self) -> list[SeenPod]:
        """Give the pods there are."""

    def send_away(self, pods: Iterable[SeenPod]) -> None:
        """Delete pods that have nothing left to do; those that stay are given again."""


class LiveFactory:
    """Advances a followed factory with the clock, lets it follow the pods, and serves its metrics.

    Each ready pod answers at its own address and ``port``; ``routers`` says where the router of a model does. A pod
    that was asked to go and has answered its requests is deleted. ``lock`` is to be held by whoever reads the factory.
    The factory's time begins with :meth:`start`.
    """

    def __init__(
        self, followed: FollowedFactory, pods: Pods, routers: Mapping[ModelRef, Address] | None = None,
        *, port: int = PORT,
    ) -> None:  # fmt: skip
        self.lock = threading.Lock()
        self._followed = followed
        self._pods = pods
        self._port = port
        gateways = {model.ref: Gateway(model) for model in followed.factory.models}
        unknown = (routers or {}).keys() - gateways.keys()
        if unknown:
            raise ValueError(f"no model {sorted(map(str, unknown))}; there are {sorted(map(str, gateways))}")
        self._routers = {address: gateways[ref] for ref, address in (routers or {}).items()}
        self._fleet = PodFleet(self._page)
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="factory")
        self._run: Future[None] | None = None
        self._began_s = 0.0

    @property
    def lag_s(self) -> float:
        """How far the factory is behind the clock; more than a second means that the machine is too slow for it."""
        return time.monotonic() - self._began_s - self._followed.factory.now_s

    @property
    def runs(self) -> bool:
        """Whether it still runs; if it does not, :meth:`stop` raises what ended it."""
        return self._run is not None and not self._run.done()

    def start(self) -> None:
        """Begin to serve, in the background."""
        factory = self._followed.factory
        # The first step loads or compiles the engines' code, which takes its time.
        factory.advance(factory.start + timedelta(microseconds=1))
        self._fleet.start()
        self._began_s = time.monotonic()
        self._run = self._thread.submit(self._work)

    def stop(self) -> None:
        """End serving. Raises what ended the factory before, if anything did."""
        self._stop.set()
        self._thread.shutdown()
        self._fleet.stop()
        if self._run is not None:
            self._run.result()

    def __enter__(self) -> "LiveFactory":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _work(self) -> None:
        seen, due_s = -1, time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            due_s = max(due_s + _TICK_S, time.monotonic())
            version = self._pods.version
            with self.lock:
                self._advance()
                if version != seen:
                    self._followed.follow(self._pods.pods())
                exited, addresses = self._followed.exited(), self._followed.addresses()
            seen = version
            routers = [address for address, gateway in self._routers.items() if gateway.answers]
            self._fleet.listen_on([*((address, self._port) for address in addresses), *routers])
            self._pods.send_away(exited)

    def _advance(self) -> None:
        factory = self._followed.factory
        factory.advance(factory.start + timedelta(seconds=time.monotonic() - self._began_s))

    def _page(self, address: Address) -> str | None:
        with self.lock:
            gateway = self._routers.get(address)
            if gateway is not None:
                return gateway.exposition() if gateway.answers else None
            return self._followed.exposition(address[0]) if address[1] == self._port else None
