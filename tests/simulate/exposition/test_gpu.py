import pytest

from aiops.simulate.exposition.gpu import Gpus
from aiops.simulate.factory import Factory
from aiops.simulate.power import energy_j, gpu_power, prompt_seconds
from aiops.simulate.requests import PS
from tests.simulate.exposition.pages import counted, labels_of, of
from tests.simulate.factories import aggregated, factory, pair, run, workload

DCGM = "DCGM_FI_"
ENERGY = f"{DCGM}DEV_TOTAL_ENERGY_CONSUMPTION"
FAST = {"p50": "10s", "p90": "10s"}
SMALL = gpu_power("small", 2)


def watched(spec: dict[str, object], **watts: float) -> tuple[Factory, Gpus]:
    made = factory(spec)
    return made, Gpus(made, watts)


def test_each_gpu_of_a_replica_is_named_with_its_pod() -> None:
    made, gpus = watched(pair(1, 1))
    text = gpus.exposition("node-0") + gpus.exposition("node-1")
    found = labels_of(text, f"{DCGM}DEV_GPU_UTIL")
    pods = [replica.name for _, replica in made.live_replicas()]
    assert [each["pod"] for each in found] == [pods[0], pods[0], pods[1], pods[1]]
    assert [each["gpu"] for each in found] == ["0", "1", "0", "1"]
    assert len({each["UUID"] for each in found}) == 4
    assert {each["namespace"] for each in found} == {"default"}
    assert {each["container"] for each in found} == {"vllm"}


def test_an_idle_replica_draws_idle_watts() -> None:
    made, gpus = watched(aggregated(1))
    run(made, 200)
    text = gpus.exposition("node-0")
    assert of(text, f"{DCGM}DEV_GPU_UTIL") == 0
    assert of(text, f"{DCGM}DEV_POWER_USAGE", gpu="0") == pytest.approx(70)
    assert of(text, ENERGY, gpu="1") == pytest.approx(1000 * 70 * 200)
    memory = of(text, f"{DCGM}DEV_FB_USED", gpu="0") + of(text, f"{DCGM}DEV_FB_FREE", gpu="0")
    assert memory == 81559


def test_energy_is_what_busy_time_and_prompts_say() -> None:
    made, gpus = watched(aggregated(1, workload=workload(4)))
    for _ in range(5):
        run(made, 37)
        gpus.exposition("node-0")
    run(made, 15)
    text, fleet = gpus.exposition("node-0"), made.models[0].fleet
    engine = fleet.engines[0]
    busy_s = (int(engine["busy"]) + (fleet.now_ps - int(engine["awake"]) if engine["awake"] >= 0 else 0)) / PS
    prompt_s = prompt_seconds(fleet.pools[0].engines.law, int(engine["computed"]), busy_s)
    assert of(text, ENERGY) == pytest.approx(1000 * energy_j(SMALL, 2, made.now_s, busy_s, prompt_s))
    assert 0 < prompt_s < busy_s < made.now_s


def test_utilization_is_that_of_the_last_seconds_and_not_of_all_time() -> None:
    made, gpus = watched(aggregated(1, workload=workload(8, prompt=800, output=100)))
    run(made, 120)
    busy = of(gpus.exposition("node-0"), f"{DCGM}PROF_GR_ENGINE_ACTIVE", gpu="0")
    assert busy > 0.9
    for model in made.models:
        model.stop_arrivals()
    run(made, 1200)
    text = gpus.exposition("node-0")
    assert of(text, f"{DCGM}PROF_GR_ENGINE_ACTIVE", gpu="0") == of(text, f"{DCGM}DEV_GPU_UTIL", gpu="0") == 0


def test_prefill_draws_more_than_decode_at_the_same_utilization() -> None:
    made, gpus = watched(pair(1, 1, workload=workload(9, output=60)))
    run(made, 120)
    prefill, decode = gpus.exposition("node-0"), gpus.exposition("node-1")

    def per_busy(text: str) -> float:
        busy = of(text, f"{DCGM}PROF_GR_ENGINE_ACTIVE", gpu="0")
        assert busy > 0.1
        return (of(text, f"{DCGM}DEV_POWER_USAGE", gpu="0") - 70) / busy

    assert per_busy(prefill) == pytest.approx(630)
    assert per_busy(decode) == pytest.approx(231)
    assert of(prefill, f"{DCGM}PROF_DRAM_ACTIVE") == of(decode, f"{DCGM}PROF_PIPE_TENSOR_ACTIVE") == 0


def test_a_variants_watts_are_taken_where_they_are_given() -> None:
    made, gpus = watched(aggregated(1), small=1000)
    run(made, 10)
    assert of(gpus.exposition("node-0"), f"{DCGM}DEV_POWER_USAGE") == pytest.approx(2 * 50)


def test_gpus_that_nobody_has_are_there_without_a_pod() -> None:
    made, gpus = watched(aggregated(1, nodes=[{"name": "big", "gpus": 8}]))
    run(made, 100)
    text = gpus.exposition("big")
    assert len(labels_of(text, ENERGY)) == 8
    assert len([each for each in labels_of(text, ENERGY) if "pod" in each]) == 2
    assert of(text, f"{DCGM}DEV_FB_USED", gpu="7") == 0
    assert of(text, f"{DCGM}DEV_POWER_USAGE", gpu="7") == pytest.approx(70)
    assert gpus.exposition("elsewhere") == ""


def test_a_gpus_energy_outlives_its_pod_and_a_restart() -> None:
    crash = {"kind": "crash_loop", "at": "30s", "duration": "100s", "lives": "20s"}
    nodes = [{"name": "big", "gpus": 4}]
    made, gpus = watched(aggregated(1, nodes=nodes, workload=workload(4), coldStart=FAST, faults=[crash]))
    before: dict[str, float] = {}
    for step in range(40):
        run(made, 5)
        if step == 30:
            made.scale(made.models[0].pools[0].ref, 2)
        if step == 36:
            made.scale(made.models[0].pools[0].ref, 0)
        text = gpus.exposition("big")
        present = {dict(labels)["UUID"]: value for (_, labels), value in counted(text).items()}
        assert all(value >= before.get(gpu, 0.0) for gpu, value in present.items())
        before = present
    assert len(before) == 4
    assert min(before.values()) >= 1000 * 70 * 200
    assert max(before.values()) > 1.1 * min(before.values())
