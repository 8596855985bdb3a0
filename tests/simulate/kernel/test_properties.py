"""What holds at every moment of a fleet's life, whatever goes wrong: nothing is lost, nothing made of nothing."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from aiops.model.refs import Role
from aiops.simulate.fleet import LinkSettings, PoolSettings, RouterKind, RouterSettings, VirtualFleet, one_batch
from aiops.simulate.kernel.layout import (
    ARENA_CLASSES,
    COMPLETED,
    DELIVERED,
    ENDED,
    FREE,
    HOLDING,
    ITL_AT,
    PREFILLED,
    REFUSED,
    RESERVED,
    STEP_AT,
    TIMED_OUT,
    TTFT_AT,
    Records,
)
from aiops.simulate.requests import RequestBatch
from tests.simulate.kernel.test_against_twin import draw_case, settings

CASES = 60
NOTHING, ENGINES, CLIENTS, GATEWAY, EVERYTHING = range(5)
FAULTS = [
    pytest.param(NOTHING, id="nothing goes wrong"),
    pytest.param(ENGINES, id="engines die, come and go, slow down and lose blocks"),
    pytest.param(CLIENTS, id="clients leave"),
    pytest.param(GATEWAY, id="requests are held at the gateway and in the tokenizer"),
    pytest.param(EVERYTHING, id="all of it at once"),
]


@dataclass(frozen=True)
class Case:
    """A fleet, its requests and what happens to it: (when, what, to which of those there are, how much)."""

    pools: tuple[PoolSettings, ...]
    counts: tuple[int, ...]
    links: LinkSettings
    batch: RequestBatch
    script: tuple[tuple[int, str, int, float], ...]


@pytest.mark.parametrize("faults", FAULTS)
def test_requests_blocks_and_tokens_are_conserved_at_every_moment(faults: int) -> None:
    for seed in range(CASES):
        case = draw(seed, faults)
        life = Life(case)
        moments = cut_times(case, seed, 25)
        life.live(moments, lambda life, seed=seed: check_moment(life, f"seed {seed}"))
        check_end(life, f"seed {seed}")


@pytest.mark.parametrize("faults", FAULTS)
def test_a_look_in_between_changes_nothing(faults: int) -> None:
    for seed in range(CASES):
        case = draw(seed, faults)
        uncut, again, cut = Life(case), Life(case), Life(case)
        uncut.live([])
        again.live([])
        cut.live(cut_times(case, seed, 25), lambda life: life.fleet.settle())
        assert np.array_equal(uncut.rows, again.rows), f"seed {seed}"
        assert np.array_equal(uncut.rows, cut.rows), f"seed {seed}"


@pytest.mark.parametrize("faults", FAULTS)
def test_looks_that_are_skipped_would_have_found_nothing(faults: int) -> None:
    for seed in range(CASES):
        case = draw(seed, faults)
        skipping, looking = Life(case), Life(case)
        skipping.live([])
        looking.live(cut_times(case, seed, 25), set_the_same_speed)
        assert np.array_equal(skipping.rows, looking.rows), f"seed {seed}"


def test_the_cases_meet_what_they_are_to_show() -> None:
    rows = []
    for seed in range(CASES):
        life = Life(draw(seed, EVERYTHING))
        life.live([])
        rows.append(life.rows)
    kinds = np.concatenate(rows)["kind"]
    assert all(np.sum(kinds == kind) > 20 for kind in range(5))


def set_the_same_speed(life: "Life") -> None:
    for number in life.alive:
        life.fleet.set_speed(number, life.speeds[number])


class Life:
    """A fleet that lives through a case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.fleet = VirtualFleet(case.pools, case.links, one_batch(case.batch), seed=3)
        self.records = len(self.fleet.requests)
        self.alive: list[int] = []
        self.speeds: dict[int, float] = {}
        self.kept: dict[int, int] = {}  # blocks kept from requests
        self.generated = 0  # by engines that are gone
        for pool, count in enumerate(case.counts):
            for _ in range(count):
                self.add(pool)

    def live(self, moments: Sequence[int], at_each: Callable[["Life"], None] = lambda _: None) -> None:
        """Go through the script, and let something be done at given moments as well."""
        due = sorted([*self.case.script, *((moment, "", 0, 0.0) for moment in moments)], key=lambda entry: entry[0])
        for when, what, which, amount in due:
            self.fleet.advance(when)
            if what:
                self.suffer(what, which, amount)
            else:
                at_each(self)
        self.fleet.run_out()
        self.rows = np.concatenate(self.fleet.outcomes)

    def suffer(self, what: str, which: int, amount: float) -> None:
        if what == "rescue":
            for number in self.alive:
                self.do("give_blocks", number, 0, 0.0)
            for pool in range(len(self.case.pools)):
                self.add(pool)
        elif what == "add":
            self.add(which % len(self.case.pools))
        elif self.alive:
            self.do(what, self.alive[which % len(self.alive)], which, amount)

    def do(self, what: str, number: int, which: int, amount: float) -> None:
        if what == "remove_engine":
            self.fleet.settle()
            self.generated += self.tokens_of(number)
            self.alive.remove(number)
        if what == "set_speed":
            self.speeds[number] = amount
            self.fleet.set_speed(number, amount)
        elif what == "hold_blocks":
            self.kept[number] += self.fleet.hold_blocks(number, which)
        elif what == "give_blocks":
            self.fleet.give_blocks(number, self.kept[number])
            self.kept[number] = 0
        elif what == "stick":
            self.fleet.stick(self.fleet.engines[number]["pool"], number, amount / 4)
        else:  # one that needs the number alone
            getattr(self.fleet, what)(number)

    def add(self, pool: int) -> None:
        number = self.fleet.add_engine(pool)
        self.alive.append(number)
        self.speeds[number], self.kept[number] = 1.0, 0
        self.fleet.open(number)

    def tokens_of(self, number: int) -> int:
        engine = self.fleet.engines[number]
        return 0 if self.case.pools[engine["pool"]].role is Role.PREFILL else int(engine["generated"])


def check_moment(life: Life, where: str) -> None:
    fleet = life.fleet
    fleet.settle()
    rows = np.concatenate([np.zeros(0, fleet._fleet.outcomes.dtype), *fleet.outcomes])
    ended = rows["number"][rows["kind"] != PREFILLED]
    arrived = int(np.searchsorted(life.case.batch.arrival_ps, fleet.now_ps, side="right"))
    assert len(set(ended)) == len(ended), where
    requests = fleet.requests
    taken = requests[~np.isin(requests["state"], (FREE, RESERVED, HOLDING, ENDED)) & (requests["status"] < 0)]
    assert len(taken) == len(set(taken["number"])) == fleet.in_flight == arrived - len(ended), where
    assert not set(taken["number"]) & set(ended), where
    assert np.sum(requests["state"] == FREE) == fleet._fleet.world[0]["free_requests"], where
    for number in life.alive:
        check_blocks(life, number, where)
        check_counts(life, number, where)


def check_blocks(life: Life, number: int, where: str) -> None:
    fleet, engine = life.fleet, life.fleet.engines[number]
    blocks, arena, nodes = life.case.pools[engine["pool"]].engines.blocks, fleet._fleet.arena, fleet._fleet.nodes
    held, private = [], life.kept[number]
    mine = fleet.requests[(fleet.requests["state"] != FREE) & (fleet.requests["engine"] == number)]
    for request in mine:
        keyed = min(request["registered"], request["key_count"])
        first = request["keys"] + request["key_count"]
        held += list(arena[first : first + keyed])
        private += request["held"] - keyed
    assert engine["keyless"] >= 0, where
    assert engine["keyed_free"] >= 0, where
    assert fleet.used_blocks(number) == len(set(held)) + private, where
    assert engine["keyless"] + engine["keyed_free"] + len(set(held)) + private == blocks, where
    for node in set(held):
        assert nodes[number][node]["held"] == held.count(node), where
    assert engine["keyed_free"] == hittable(life, number), where


def hittable(life: Life, number: int) -> int:
    """Count the free blocks in an engine's ring: nodes, and runs (-2), which say how many they are."""
    engine, ring = life.fleet.engines[number], life.fleet._fleet.ring[number]
    entries = ring[np.arange(engine["oldest"], engine["newest"]) % len(ring)]
    return int(np.sum(entries["node"] >= 0) + entries["home"][entries["node"] == -2].sum())


def check_counts(life: Life, number: int, where: str) -> None:
    """An engine's load, its places and its histograms are those of its requests and tokens."""
    fleet, engine = life.fleet, life.fleet.engines[number]
    role = life.case.pools[engine["pool"]].role
    requests = fleet.requests
    mine = requests[(requests["state"] != FREE) & (requests["engine"] == number)]
    there = mine[~np.isin(mine["state"], (HOLDING, ENDED)) & (mine["status"] < 0)]
    assert engine["load"] == (there["prompt"].sum() if role is Role.PREFILL else len(there)), where
    assert engine["coming"] == np.sum(there["state"] == DELIVERED), where
    assert engine["holding"] == np.sum(mine["state"] == HOLDING), where
    counts = fleet.counts[number]
    first, others, steps = counts[TTFT_AT:ITL_AT].sum(), counts[ITL_AT:STEP_AT].sum(), counts[STEP_AT:].sum()
    assert (first + others, steps) == (engine["generated"], engine["steps"]), where


def check_end(life: Life, where: str) -> None:
    fleet, case, rows = life.fleet, life.case, life.rows
    last = rows[rows["kind"] != PREFILLED]
    assert sorted(last["number"]) == list(range(len(case.batch))), where
    fleet.settle()
    world = fleet._fleet.world[0]
    assert (fleet.in_flight, world["deliveries"]) == (0, 0), where
    assert world["free_requests"] == len(fleet.requests) >= life.records, where
    assert all(fleet.used_blocks(number) == 0 and fleet.idle(number) for number in life.alive), where
    assert free_words(fleet) == world["arena_top"] - ARENA_CLASSES, where
    done = last[last["kind"] == COMPLETED]
    tokens = life.generated + sum(life.tokens_of(number) for number in life.alive)
    assert tokens >= done["output"].sum(), where
    if np.all(np.isin(last["kind"], (COMPLETED, REFUSED))):
        assert tokens == done["output"].sum(), where
    check_times(case, rows, where)


def check_times(case: Case, rows: Records, where: str) -> None:
    done = rows[rows["kind"] == COMPLETED]
    fixed, each = case.links.http_ps, case.links.http_ps_per_token
    begun = rows[(rows["queued"] >= 0) & (rows["decode_engine"] < 0)]
    assert np.all(begun["queued"] >= begun["arrival"] + fixed + each * begun["prompt"]), where
    assert np.all(done["scheduled"] >= done["arrival"]), where
    assert np.all(done["first_token"] > done["scheduled"]), where
    assert np.all((done["finish"] > done["first_token"]) == (done["output"] > 1)), where
    if case.links.timeout_ps is not None:
        assert np.all(done["finish"] < done["arrival"] + case.links.timeout_ps), where
    else:
        assert not np.any(rows["kind"] == TIMED_OUT), where


def free_words(fleet: VirtualFleet) -> int:
    """Count the words of the arena that no request has."""
    words = 0
    for power in range(ARENA_CLASSES):
        piece = fleet._fleet.arena[power]
        while piece >= 0:
            words += 1 << power
            piece = fleet._fleet.arena[piece]
    return words


def cut_times(case: Case, seed: int, count: int) -> list[int]:
    draw = random.Random(-seed - 1)  # noqa: S311  nothing is hidden here
    return [draw.randrange(2 * int(case.batch.arrival_ps[-1]) + 2) for _ in range(count)]


def draw(seed: int, faults: int) -> Case:
    """Draw a small fleet as the comparison with the plain one does, and what happens to it."""
    chance = random.Random(1000 + seed)  # noqa: S311  nothing is hidden here
    plain, batch, latency_ps, ps_per_token = draw_case(seed)
    step_ps = int(plain[0].law.chunk[1])
    if faults != NOTHING:  # so that much is on its way when something happens
        latency_ps, ps_per_token = step_ps * chance.choice([0, 4, 30]), step_ps * chance.choice([0, 1]) // 4
    everything, span = faults == EVERYTHING, int(batch.arrival_ps[-1]) + 1
    pools, counts = [], []
    for pool in plain:
        router = RouterSettings(kind=chance.choice(list(RouterKind)))
        if faults == GATEWAY or (everything and chance.random() < 0.5):
            router = replace(
                router, hold_waiting=chance.choice([1, 2, 4]), max_queued=chance.choice([None, None, 0, 3, 10])
            )
        pools.append(replace(settings(pool), router=router))
        counts.append(chance.choice([0, 1, 2]) if faults in (ENGINES, EVERYTHING) else pool.engines)
    http = faults == GATEWAY or (everything and chance.random() < 0.5)
    links = LinkSettings(
        transfer_latency_ps=latency_ps,
        transfer_ps_per_token=ps_per_token,
        http_ps=chance.choice([0, step_ps]) if http else 0,
        http_ps_per_token=chance.choice([0, step_ps // 9]) if http else 0,
        timeout_ps=step_ps * chance.choice([1, 5, 20, 60]) if faults == CLIENTS or everything else None,
    )
    script: list[tuple[int, str, int, float]] = []
    if faults in (ENGINES, EVERYTHING):
        kinds = ["fail_engine", "close", "open", "open", "add", "remove_engine", "set_speed", "set_speed"]
        kinds += ["hold_blocks", "give_blocks", "flush", "stick"]
        script = [
            (
                chance.randrange(2 * span),
                chance.choice(kinds),
                chance.randrange(100),
                chance.choice([0.5, 1.0, 2.0, 3.3]),
            )
            for _ in range(chance.randrange(2, 50))
        ]
    return Case(tuple(pools), tuple(counts), links, batch, (*sorted(script), (2 * span, "rescue", 0, 0.0)))
