"""Pages of metrics on many loopback addresses: one listener for each, all in one thread."""

import asyncio
import ipaddress
import threading
from collections.abc import Callable, Coroutine, Iterable
from http import HTTPStatus
from types import TracebackType
from typing import Any

import structlog
from aiohttp import web

Address = tuple[str, int]
"""An IP address and a port."""

_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
_STOP_S = 10.0


class PodFleet:
    """Answers ``GET /metrics`` on each of the addresses of :meth:`listen_on`; ``read`` writes the page of an address.

    On an address that is not listened on connections are refused; where ``read`` knows nothing (None) a connection
    that is still open gets a 404 and ends. Only loopback addresses are listened on, so that nothing is reachable from
    other machines; any other, and one that is in use, is told in the log and left out.

    A listener for each and not one for all of 127.0.0.0/8: a socket for all addresses would be open to the network too,
    would keep others from the port on every address, and could not refuse a connection to a pod that is not there.
    """

    def __init__(self, read: Callable[[Address], str | None]) -> None:
        self._read = read
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pods' metrics", daemon=True)
        self._runner: web.ServerRunner | None = None
        self._sites: dict[Address, web.TCPSite] = {}
        self._wanted: frozenset[Address] = frozenset()
        self._told: set[Address] = set()
        self._changes = asyncio.Lock()
        self._log = structlog.get_logger()

    def listen_on(self, addresses: Iterable[Address]) -> None:
        """Listen on these addresses from now on, and on no others; does not wait until that is so."""
        wanted = frozenset(addresses)
        if wanted != self._wanted or self._told:
            self._wanted = wanted
            asyncio.run_coroutine_threadsafe(self._change(wanted), self._loop)

    def start(self) -> None:
        """Begin to serve, in the background."""
        self._thread.start()
        self._do(self._set_up())

    def stop(self) -> None:
        """Stop listening, and close all connections."""
        self._do(self._tear_down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_S)
        self._loop.close()

    def __enter__(self) -> "PodFleet":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _do(self, deed: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(deed, self._loop).result(_STOP_S)

    async def _set_up(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await self._runner.setup()

    async def _tear_down(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _change(self, wanted: frozenset[Address]) -> None:
        async with self._changes:
            for address in self._sites.keys() - wanted:
                await self._sites.pop(address).stop()
            self._told &= wanted
            for address in wanted - self._sites.keys():
                await self._listen(address)

    async def _listen(self, address: Address) -> None:
        assert self._runner is not None, "the fleet has been started"  # noqa: S101
        host, port = address
        site = web.TCPSite(self._runner, host, port)
        try:
            if not ipaddress.ip_address(host).is_loopback:
                raise ValueError(f"{host} is no loopback address; others would reach it from outside this machine")
            await site.start()
        except (ValueError, OSError) as error:
            if address not in self._told:
                self._log.warning("nobody listens for a pod", address=f"{host}:{port}", error=str(error))
            self._told.add(address)
            return
        self._told.discard(address)
        self._sites[address] = site

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        local = request.transport.get_extra_info("sockname") if request.transport is not None else None
        if request.path != "/metrics":
            return web.Response(status=HTTPStatus.NOT_FOUND, text="the metrics are at /metrics\n")
        page = None if local is None else self._read((local[0], local[1]))
        if page is None:
            gone = web.Response(status=HTTPStatus.NOT_FOUND, text="there is no pod at this address\n")
            gone.force_close()
            return gone
        return web.Response(body=page.encode(), headers={"Content-Type": _TEXT_FORMAT})
