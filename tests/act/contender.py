"""A process that wants the lead: it writes a line each time that it begins or ends to call itself leader.

Run as ``python -m tests.act.contender KUBECONFIG NAMESPACE LEASE_S``; a line is a time of the clock that all processes
of the machine share, and ``leads`` or ``follows``. It ends at the end of its input, and releases the Lease.
"""

import sys
import time
from pathlib import Path
from threading import Event, Thread

from aiops.act.lease import LeaseElector, new_identity
from aiops.act.log import set_up_log
from tests.cluster.control_plane import new_client


def main(kubeconfig: str, namespace: str, lease_s: str) -> None:
    set_up_log(json_lines=True)
    over = Event()
    Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    client = new_client(Path(kubeconfig))
    elector = LeaseElector(
        client, namespace, "aiops", new_identity(), lease_s=int(lease_s), margin_s=1, retry_s=0.5, timeout_s=1
    )
    led = None
    with elector:
        while not over.is_set():
            leads = elector.leads()
            if leads is not led:
                sys.stdout.write(f"{time.clock_gettime(time.CLOCK_BOOTTIME)} {'leads' if leads else 'follows'}\n")
                sys.stdout.flush()
            led = leads
            time.sleep(0.005)


if __name__ == "__main__":
    main(*sys.argv[1:])
