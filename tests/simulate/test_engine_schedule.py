"""The plain twin's scheduler decides, step by step, what vLLM's did in every recorded case."""

import gzip
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.parts import shared_data
from tests.simulate.twin.scheduler import PlainSettings, Scheduler
from tests.simulate.twin.sequence import Sequence, Step

Case = dict[str, Any]
Record = dict[str, Any]
MORE_THAN_IT_SAYS = 50
"""How many more tokens a recorded request may make than it does, where a stop token ends it."""


class Replay:
    """One engine, fed with a recorded case turn by turn; gives records of the recording's own form."""

    def __init__(self, case: Case) -> None:
        params = case["params"]
        self.settings = PlainSettings(
            block_size=params["block_size"],
            usable_blocks=params["num_blocks"] - 1,
            max_num_seqs=params["max_num_seqs"],
            max_num_batched_tokens=params["max_num_batched_tokens"],
            max_model_len=params["max_model_len"],
            long_prefill_token_threshold=params["long_prefill_token_threshold"],
            long_prefill_token_threshold_adaptive=params["long_prefill_token_threshold_adaptive"],
            watermark=params["watermark"],
            reserve_full_isl=params["scheduler_reserve_full_isl"],
            prefix_caching=params["enable_prefix_caching"],
            async_scheduling=params["async_scheduling"],
        )
        self.side = params.get("transfer", "local")
        self.scheduler = Scheduler(self.settings, params["policy"], self.side)
        self.delays = {each["id"]: each["transfer"] for each in case["requests"] if each.get("transfer") is not None}
        self.sequences = {each["id"]: self.sequence(each) for each in case["requests"]}
        self.arrivals: dict[int, list[int]] = {}
        for each in case["requests"]:
            self.arrivals.setdefault(each["arrive"], []).append(each["id"])
        self.aborts: dict[int, list[int]] = {}
        for turn, number in case["aborts"]:
            self.aborts.setdefault(turn, []).append(number)
        self.queue: list[tuple[int, Step]] = []
        self.transfers: dict[int, int] = {}
        self.untold = False

    def sequence(self, request: Record) -> Sequence:
        number, stop = request["id"], bool(request.get("eos"))
        return Sequence(
            number=number,
            tokens=[token for base, count in request["prompt"] for token in range(base, base + count)],
            max_tokens=request["out"] + (MORE_THAN_IT_SAYS if stop else 0),
            answer=partial(int.__add__, 10_000_000 + 10_000 * number),
            stops_after=request["out"] if stop else None,
            rank=(request["priority"], request["arrive"], number),
            fetches=self.side == "fetch" and number in self.delays,
            hands_over=self.side == "send" and number in self.delays,
        )

    def records(self) -> Iterator[Record]:
        """Turn by turn until nothing is left to do; a turn with nothing to do leaves no record."""
        turn, last = 0, max([*self.arrivals, *self.aborts], default=0)
        while turn <= last or self.has_work or self.queue:
            for number in self.arrivals.get(turn, []):
                self.scheduler.add(self.sequences[number])
            for number in self.aborts.get(turn, []):
                self.untold |= not self.sequences[number].ended
                self.scheduler.abort(self.sequences[number])
            if self.has_work or self.queue:
                yield self.turn(turn)
            turn += 1

    @property
    def has_work(self) -> bool:
        if self.scheduler.unfinished or self.scheduler.held:
            return True
        return self.settings.async_scheduling and self.untold

    def turn(self, turn: int) -> Record:
        record: Record = {"t": turn, "s": []}
        decided = self.has_work
        if decided:
            self.untold = False
            step = self.scheduler.schedule()
            self.queue.append((turn, step))
            record |= self.decisions(step)
            self.transfers |= {each.number: turn + self.delays[each.number] for each, _ in step.fetches}
        record["b"], record["n"] = self.blocks(), self.counts()
        more = decided and (bool(step.entries) or self.has_work)
        if self.settings.async_scheduling and len(self.queue) < 2 and more:
            return record
        return record | self.update(turn, record)

    def update(self, turn: int, record: Record) -> Record:
        before = self.scheduler.counters
        origin, step = self.queue.pop(0)
        update = self.scheduler.update(step)
        self.untold |= bool(update.ended)
        self.transfers |= {each.number: turn + self.delays[each.number] for each in update.ended if each.hands_over}
        done = sorted(number for number, due in self.transfers.items() if due <= turn)
        report = self.scheduler.report_fetched if self.side == "fetch" else self.scheduler.report_pulled
        for number in done:
            del self.transfers[number]
            report(self.sequences[number])
        found: Record = {
            "b": record["b"] + self.blocks(),
            "n": record["n"] + self.counts(),
            "f": [each.number for each in update.ended],
            "c": len(self.scheduler.pool.holders),
            "g" if self.side == "fetch" else "d": done,
            "q": [before.queries, before.hits, before.queries_again, before.hits_again],
        }
        return found | ({"o": origin} if self.settings.async_scheduling else {})

    def decisions(self, step: Step) -> Record:
        return {
            "s": [[each.sequence.number, each.tokens] for each in step.entries],
            "a": [[each.sequence.number, each.cached, int(each.resumed)] for each in step.admissions],
            "p": [each.number for each in step.preempted],
            "x": [[each.number, tokens] for each, tokens in step.fetches],
        }

    def blocks(self) -> list[int]:
        return [self.scheduler.pool.used]

    def counts(self) -> list[int]:
        running = len(self.scheduler.running)
        return [running, self.scheduler.unfinished - running]


EMPTY: Record = {field: [] for field in "sapxfgd"}
FIELDS = ("t", "s", "a", "p", "x", "b", "n", "o", "f", "g", "d", "c", "q")


def check(case: Case, source: str) -> None:
    """Compare all fields of all records; a field that a record leaves out has nothing in it, and sums stay."""
    sums = [0, 0, 0, 0]
    found = Replay(case).records()
    for place, expected in enumerate(case["steps"]):
        got = next(found, None)
        where = f"{source}, case {case['case']} ({case['kind']}), record {place}, step {expected['t']}"
        assert got is not None, f"{where}: nothing was left to do"
        unknown = set(expected) - set(FIELDS)
        assert not unknown, f"{where}: fields that nobody compares: {sorted(unknown)}"
        sums = [total + new for total, new in zip(sums, expected.get("q", [0] * 4), strict=True)]
        for field in FIELDS:
            wanted, have = expected.get(field, EMPTY.get(field)), got.get(field, EMPTY.get(field))
            if field == "q":
                wanted, have = sums, got.get(field, sums)
            assert have == wanted, f"{where}, field {field}: expected {wanted}, got {have}"
    extra = next(found, None)
    assert extra is None, f"{source}, case {case['case']} ({case['kind']}): a step after the last: {extra}"


def recorded_cases() -> list[Any]:
    try:
        folder = shared_data("vllm_scheduler")
    except pytest.skip.Exception as absent:
        return [pytest.param({}, "", marks=pytest.mark.skip(reason=str(absent)), id="no recordings")]
    cases = []
    for path in sorted(folder.rglob("*.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            for line in lines:
                case = json.loads(line)
                cases.append(pytest.param(case, path.name, id=f"{case['case']} {case['kind']}"))
    nothing = pytest.mark.skip(reason=f"no *.jsonl.gz under {folder}")
    return cases or [pytest.param({}, "", marks=nothing, id="no recordings")]


@pytest.mark.parametrize(("case", "source"), recorded_cases())
def test_every_step_is_what_vllm_decided(case: Case, source: str) -> None:
    check(case, source)
