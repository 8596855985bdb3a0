"""What is simulated, by whom: three fleets with their requests, and the peers with what each of them can do."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from simulator_peers.environments import Peer
from simulator_peers.protocol import Task
from simulator_peers.workload import Load


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fleet under a load, its step times constants; ours runs with ``profile`` too, if there is one."""

    name: str
    load: Load
    count: int
    replicas: int = 20
    prefill_replicas: int = 0
    prompt_step_s: float = 0.0
    max_num_seqs: int = 128
    routers: tuple[str, ...] = ("round_robin",)
    profile: str = ""
    decode_step_s: float = 0.015
    max_num_batched_tokens: int = 8192
    kv_blocks: int = 30_000
    block_tokens: int = 16
    kv_bytes_per_token: int = 131_072
    transfer_bytes_per_s: float = 50e9

    def scaled(self, part: float) -> "Scenario":
        """Give the scenario with a part of its requests."""
        return replace(self, count=max(1000, round(self.count * part)))

    def task(self, requests: Path, limit: int, router: str, *, asynchronous: bool = False) -> Task:
        """Say it in the words of the protocol."""
        fields = asdict(self)
        for name in ("name", "load", "count", "routers", "profile"):
            del fields[name]
        return Task(
            requests=str(requests),
            limit=limit,
            router=router,
            asynchronous=asynchronous,
            prefix_cache=bool(self.load.groups),
            segment_tokens=self.load.segment_tokens,
            **fields,
        )


LONG = Load(requests_per_s=200, input_tokens=7000, output_tokens=100, groups=2000, segments=12)

SCENARIOS = (
    # 50 requests a second and replica, 1.5 s each: 75 of 128 sequences.
    Scenario(
        "plain",
        Load(requests_per_s=1000, input_tokens=200, output_tokens=100),
        count=100_000,
        profile="llama-8b-h100-tp1",
    ),
    # A third of each prompt is found again; a replica spends half of its time on steps with prompts.
    Scenario("prefix", LONG, count=20_000, prompt_step_s=0.045, max_num_seqs=256, routers=("round_robin", "prefix")),
    # The same share found again; prefill engines are busy for two thirds of the time, decode engines' KV is at 0.6.
    Scenario(
        "pair",
        replace(LONG, requests_per_s=160),
        count=20_000,
        prefill_replicas=14,
        prompt_step_s=0.045,
        max_num_seqs=256,
    ),
)

NO_CACHE = "no prefix cache in its schedulers"
NO_PAIR = "no prefill and decode pools"

PEERS = (
    Peer(
        "mocker", "run_mocker.py", ("ai-dynamo==1.6.1", "ai-dynamo-runtime==1.6.1"), routers=("round_robin", "prefix")
    ),
    Peer("vidur", "run_vidur.py", ("vidur==0.0.26",), {"prefix": NO_CACHE, "pair": NO_PAIR}),
    Peer(
        "vllm-sr-sim",
        "run_vllm_sr_sim.py",
        ("vllm-sr-sim==0.1.0.dev20260713123629",),
        {
            "prefix": "it keeps no prefix cache, and its time of a prompt is that of a constant step",
            "pair": "its prefill and decode pools are arithmetic of rates: no requests pass through them",
        },
    ),
    # It looks through all cached blocks for each block that it evicts: beyond this its cache is full and it stands.
    Peer(
        "sched-sim",
        "run_sched_sim.py",
        ("sched-sim==0.2.1",),
        {"pair": "its disaggregated scheduler runs prefill and decode on one clock: no pools"},
        {"prefix": 1000},
    ),
)
