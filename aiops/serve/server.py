"""The HTTP server, in a thread of its own beside the loop."""

import os
import socket
import threading
from types import TracebackType

import uvicorn
from fastapi import FastAPI

_STOP_S = 5.0


class Server:
    """Serve an app on ``host:port`` from :meth:`start` until :meth:`stop`; port 0 takes a free one.

    Raises OSError that names the port and the way out where it cannot be listened on.
    """

    def __init__(self, app: FastAPI, *, host: str = "127.0.0.1", port: int = 8080) -> None:
        self._host, self._port = host, port
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=int(_STOP_S),
            )
        )
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens; after :meth:`start` with the port that was taken."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> None:
        """Listen, and serve in the background. Connections are accepted from the moment that this returns."""
        self._socket = self._listen()
        self._port = self._socket.getsockname()[1]
        self._thread = threading.Thread(
            target=self._uvicorn.run, kwargs={"sockets": [self._socket]}, name="http", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Answer the requests under way, then stop listening; a server that never started is left alone."""
        if self._thread is None or self._socket is None:
            return
        self._uvicorn.should_exit = True
        self._thread.join(2 * _STOP_S)
        self._socket.close()
        self._thread = None

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _listen(self) -> socket.socket:
        try:
            return socket.create_server(
                (self._host, self._port),
                family=socket.AF_INET6 if ":" in self._host else socket.AF_INET,
                backlog=128,
            )
        except OverflowError:
            raise OSError(f"port {self._port} does not exist; choose one from 0 to 65535 with --port") from None
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise OSError(
                f"cannot listen on {self._host}, port {self._port}: {why}; choose another with --port"
            ) from error
