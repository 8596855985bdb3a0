"""Loopback addresses that one control plane has for itself.

Linux answers on all of 127.0.0.0/8, so every plane gets a block of addresses of its own: fixed ports then cannot be
taken by others, and what is stopped starts again where it was.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
API_PORT = 6443
# Outside the range from which the system gives ports to outgoing connections.
_CLAIM_PORT = 65000
_BLOCKS = 32


@dataclass(frozen=True, slots=True)
class Block:
    """The addresses of one control plane: its programs', its pods' and its services'."""

    number: int

    @property
    def server(self) -> str:
        return f"127.{32 + self.number}.0.1"

    @property
    def pods(self) -> str:
        return f"127.{64 + self.number}.0.0/16"

    @property
    def services(self) -> str:
        return f"127.{200 + self.number}.0.0/16"

    def service(self, last: int) -> str:
        """A fixed cluster IP; a program may listen on it itself, for nothing else routes it."""
        return f"127.{200 + self.number}.0.{last}"


@contextmanager
def claimed_block() -> Iterator[Block]:
    """The first block that no process of this machine uses, held until the block ends or the process does."""
    with ExitStack() as held:
        for number in range(_BLOCKS):
            block = Block(number)
            claim = held.enter_context(socket.socket())
            try:
                claim.bind((block.server, _CLAIM_PORT))
            except OSError:
                continue
            if all(_free(block.server, port) for port in (ETCD_PORT, ETCD_PEER_PORT, API_PORT)):
                yield block
                return
        raise RuntimeError(f"all {_BLOCKS} blocks of loopback addresses are in use: other control planes run here")


def _free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections that linger from a server before do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
