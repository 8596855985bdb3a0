"""What a peer's script is told and tells: a task as JSON in its argument, a result as JSON in its last line.

Standard library alone: it runs inside the environment of each peer.
"""

import csv
import json
import platform
import statistics
import sys
from dataclasses import asdict, dataclass, field
from importlib import metadata
from time import perf_counter, process_time
from typing import NamedTuple


class Request(NamedTuple):
    arrival_s: float
    input_tokens: int
    output_tokens: int
    prefix_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """One fleet and its requests. Every step takes ``decode_step_s``, one with prompt tokens ``prompt_step_s`` more.

    ``asynchronous``: the engine schedules a step ahead; ``profile``: a file whose step times replace the constants.
    Only this package's has either, so it is compared without.
    """

    requests: str
    limit: int
    replicas: int
    prefill_replicas: int
    decode_step_s: float
    prompt_step_s: float
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_blocks: int
    block_tokens: int
    segment_tokens: int
    prefix_cache: bool
    router: str
    kv_bytes_per_token: int
    transfer_bytes_per_s: float
    asynchronous: bool = False
    profile: str = ""

    def told(self) -> str:
        """Say it as a script's argument."""
        return json.dumps(asdict(self))


@dataclass(slots=True)
class Result:
    """``set_up_s``: requests read and objects built, imports left out; ``simulate_s``: the simulated time alone.

    ``simulate_cpu_s`` is the processor's time of the latter, all threads; other programs disturb it less.
    """

    package: str
    requests: int
    completed: int
    set_up_s: float
    simulate_s: float
    simulate_cpu_s: float
    ttft_mean_s: float
    latency_mean_s: float
    tpot_mean_s: float
    steps: int | None = None
    cached_ratio: float | None = None
    notes: list[str] = field(default_factory=list)


class Moment:
    """A moment by the wall's clock and by the processor's."""

    def __init__(self) -> None:
        self.wall_s, self.cpu_s = perf_counter(), process_time()


def task() -> Task:
    return Task(**json.loads(sys.argv[1]))


def read(told: Task) -> list[Request]:
    """Give the first ``limit`` requests of the file."""
    with open(told.requests, newline="") as file:  # noqa: PTH123 - a path is a string here
        rows = csv.DictReader(file)
        return [
            Request(
                float(row["arrival_s"]),
                int(row["input_tokens"]),
                int(row["output_tokens"]),
                tuple(map(int, (row.get("prefix_ids") or "").split())),
            )
            for row, _ in zip(rows, range(told.limit), strict=False)
        ]


def hashes(requests: list[Request], segment_tokens: int) -> list[list[int]]:
    """Name the segments of each prompt: the shared ones by their ids, the request's own by numbers nobody else has."""
    own, named = 1 << 40, []
    for request in requests:
        segments = -(-request.input_tokens // segment_tokens)
        shared = list(request.prefix_ids[:segments])
        named.append([*shared, *range(own, own + segments - len(shared))])
        own += segments
    return named


def tpot_mean_s(pairs: list[tuple[float, int]]) -> float:
    """Average the time between tokens over (seconds from the first token to the last, output tokens)."""
    return statistics.fmean(span_s / (tokens - 1) for span_s, tokens in pairs if tokens > 1)


def tell(result: Result) -> None:
    """Print the result, with what the interpreter knows of the package."""
    about = metadata.metadata(result.package)
    licence = about.get("License-Expression") or about.get("License") or ""
    if not licence:
        licence = "; ".join(
            line.rsplit(" :: ", 1)[-1] for line in about.get_all("Classifier") or [] if line.startswith("License")
        )
    whole = asdict(result) | {
        "version": about["Version"],
        "licence": licence.splitlines()[0] if licence else "not stated",
        "python": platform.python_version(),
    }
    print(json.dumps(whole))
