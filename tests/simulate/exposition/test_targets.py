"""All pages of a factory together: each name once and as the catalogue has it, and nothing that counts ever falls."""

import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from aiops.simulate.exposition.targets import Targets
from aiops.simulate.factory import Factory
from tests.parts import require
from tests.simulate.exposition.pages import Series, counted, of, pages, types
from tests.simulate.factories import aggregated, factory, pair, run, workload

CATALOGUE = Path(__file__).parents[3] / "aiops" / "observe" / "metrics.yaml"
COLD = {"p50": "20s", "p90": "20s"}
FAULTS = ("slow_replica", "stuck_routing", "cache_flush", "kv_thrash", "crash_loop", "node_loss", "rollout",
          "cold_new_replica", "scrape_loss", "metric_gap")  # fmt: skip


def kinds_of(made: Factory) -> dict[str, str]:
    return {name: kind for text in pages(Targets(made)).values() for name, kind in types(text).items()}


def known() -> dict[str, tuple[str, set[str]]]:
    listed = yaml.safe_load(CATALOGUE.read_text())
    return {one["name"]: (one["type"], set(one["labels"])) for group in listed.values() for one in group}


def busy(spec: dict[str, object]) -> Factory:
    crash = {"kind": "crash_loop", "at": "20s", "duration": "10s", "lives": "20s"}
    router = {"kind": "scored", "maxWaiting": 2, "maxQueued": 5}
    return factory(spec | {"coldStart": COLD, "router": router, "faults": [crash], "workload": workload(25)})


@pytest.mark.parametrize("spec", [aggregated(3), pair(2, 2)], ids=["aggregated", "pair"])
def test_names_types_and_labels_are_those_of_the_catalogue(spec: dict[str, object]) -> None:
    made = busy(spec)
    targets, catalogue = Targets(made), known()
    run(made, 25)
    shown = 0
    for text in pages(targets).values():
        for family in text_string_to_metric_families(text):
            # The parser takes the _total from counters' names; the clock's own and _created gauges are in no catalogue.
            name = f"{family.name}_total" if f"{family.name}_total" in catalogue else family.name
            if name.endswith("_created") and name not in catalogue:
                continue
            if name not in catalogue:
                assert name in OTHERS, name
                continue
            kind, labels = catalogue[name]
            shown += 1
            assert family.type == ("gauge" if family.type == "unknown" else kind), name
            for sample in family.samples:
                extra = set(sample.labels) - labels - {"le", "owner_is_controller", "uid"}
                assert not extra or name == "vllm:cache_config_info", (name, extra)
                missing = labels - set(sample.labels) - MAY_MISS
                assert not missing, (name, missing)
    assert shown > 90


OTHERS = {"kube_statefulset_status_replicas", "kube_statefulset_status_replicas_ready"}
MAY_MISS = {"pod", "namespace", "container", "reason", "err_code", "err_msg"}


@pytest.mark.real
@pytest.mark.parametrize("spec", [aggregated(2), pair(1, 1)], ids=["aggregated", "pair"])
def test_promtool_reads_every_page(spec: dict[str, object]) -> None:
    made = busy(spec)
    targets = Targets(made)
    run(made, 25)
    for name, text in pages(targets).items():
        command = [require("promtool", "prometheus"), "check", "metrics"]
        checked = subprocess.run(command, input=text, capture_output=True, check=False, text=True)
        # 3: read well, with remarks on names, which are those of others.
        assert checked.returncode in (0, 3), (name, checked.stderr)


def test_everything_there_is_is_a_target_of_its_own() -> None:
    made = factory(pair(2, 1), aggregated(1, model="other/Model.X"))
    targets = list(Targets(made).all())
    jobs = [each.labels["job"] for each in targets]
    assert {job: jobs.count(job) for job in jobs} == {
        "vllm": 4, "epp": 2, "dcgm-exporter": 4, "kube-state-metrics": 1,
    }  # fmt: skip
    assert len({(each.namespace, each.name) for each in targets}) == len(targets)
    assert len({each.labels["instance"] for each in targets}) == len(targets)
    assert {each.name for each in targets} >= {"model-epp", "other-model-x-epp", "kube-state-metrics"}


@pytest.mark.parametrize(
    ("fault", "silent"),
    [
        pytest.param("scrape_loss", {"pool"}, id="a lost scrape silences one replica"),
        pytest.param("metric_gap", {"pool", "epp"}, id="a gap silences the model's replicas and its gateway"),
        pytest.param("node_loss", {"pool", "dcgm"}, id="a lost node silences its replica and its exporter"),
    ],
)
def test_what_cannot_be_read_stays_a_target_that_does_not_answer(fault: str, silent: set[str]) -> None:
    fail = {"kind": fault, "at": "10s", "duration": "20s"}
    made = factory(aggregated(2, coldStart=COLD, faults=[fail], workload=workload(4)))
    targets = Targets(made)
    before = {each.name for each in targets.all()}
    run(made, 15)
    assert {each.name for each in targets.all()} == before
    quiet = [each.name for each in targets.all() if each.read is None]
    assert {next(kind for kind in ("pool", "epp", "dcgm") if kind in name) for name in quiet} == silent
    assert len([name for name in quiet if name.startswith("pool")]) == (2 if fault == "metric_gap" else 1)
    run(made, 60)
    assert all(each.read is not None for each in targets.all())


def test_a_pod_is_a_target_once_its_container_runs() -> None:
    cold = {"p50": "100s", "p90": "100s", "imageShare": 0.5}
    made = run(factory(aggregated(0, coldStart=cold, scale=[{"at": "0s", "replicas": 1}])), 30)
    targets = Targets(made)
    assert not [each for each in targets.all() if each.labels["job"] == "vllm"]
    (loading,) = [each for each in (run(made, 40), targets)[1].all() if each.labels["job"] == "vllm"]
    assert loading.read is None
    run(made, 40)
    assert targets.find(loading.namespace, loading.name).read is not None  # type: ignore[union-attr]  # it is there


plans = st.lists(
    st.tuples(st.sampled_from(FAULTS), st.integers(5, 100), st.integers(5, 40)), min_size=1, max_size=4
)  # fmt: skip


@settings(max_examples=10)
@given(plan=plans, paired=st.booleans(), rate=st.sampled_from([3.0, 12.0, 30.0]), seed=st.integers(0, 99))
def test_nothing_that_counts_falls_unless_its_process_is_another(
    plan: list[tuple[str, int, int]], paired: bool, rate: float, seed: int
) -> None:
    faults = [{"kind": kind, "at": f"{at}s", "duration": f"{lasts}s"} for kind, at, lasts in plan]
    spec = pair(2, 2) if paired else aggregated(3)
    more = {"coldStart": COLD, "timeout": "20s", "terminationGracePeriod": "5s", "faults": faults,
            "workload": workload(rate, prefixShare=0.3)}  # fmt: skip
    made = factory(spec | more, seed=seed)
    targets = Targets(made)
    before: dict[str, tuple[float, dict[Series, float]]] = {}
    for step in range(10):
        run(made, 15.7)
        if step == 5:
            made.scale(made.models[0].pools[0].ref, 1)
        for name, text in pages(targets).items():
            began = of(text, "process_start_time_seconds")
            now = counted(text)
            was = before.get(name, (began, {}))
            if was[0] == began:
                fallen = {series: (old, now[series]) for series, old in was[1].items() if now.get(series, old) < old}
                assert not fallen, name
            before[name] = began, now
            assert_histograms_hold_together(now)


def assert_histograms_hold_together(now: dict[Series, float]) -> None:
    columns: dict[Series, list[float]] = {}
    for (name, labels), value in now.items():
        if name.endswith("_bucket"):
            rest = frozenset((key, each) for key, each in labels if key != "le")
            columns.setdefault((name.removesuffix("_bucket"), rest), []).append(value)
    for (name, labels), column in columns.items():
        assert column == sorted(column), name
        assert column[-1] == now[f"{name}_count", labels], name


def test_engines_show_only_the_families_that_are_asked_for() -> None:
    made = factory(pair(1, 1))
    names = {"vllm:num_requests_running", "vllm:prompt_tokens"}
    shown = [
        types(each.read())
        for each in Targets(made, wanted=names.__contains__).all()
        if each.labels["job"] == "vllm" and each.read
    ]
    families = {name for one in shown for name in one if name.startswith("vllm:") and not name.endswith("_created")}
    assert families == {"vllm:num_requests_running", "vllm:prompt_tokens_total", "vllm:cache_config_info"}
