import pytest

from aiops.simulate.factory import Factory
from aiops.simulate.scenarios import demo_factory
from aiops.simulate.spec import RouterKind, read_factory
from tests.simulate.factories import START, run, shipped_profiles

LOAD = "{requestsPerS: 1, inputTokens: {mean: 100}, outputTokens: {mean: 10}"


def test_the_smallest_factory_has_defaults_for_all_else() -> None:
    (spec,) = read_factory("pools: [{name: pool, role: both, replicas: 1, profile: llama-8b-h100-tp1}]")
    assert spec.workload is None
    assert spec.router.kind is RouterKind.LEAST_LOADED
    assert str(spec.ref) == "default/model"
    made = run(Factory([spec], shipped_profiles(), 1, START), 60)
    assert made.summary().replica_hours == pytest.approx(1 / 60)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "the factory is empty", id="an empty file"),
        pytest.param("pools: [", "no YAML", id="broken YAML"),
        pytest.param("pools: []", "document 1: at pools", id="no pools"),
        pytest.param("pools: [{name: a, profile: p, replica: 2}]", r"at pools.0.replica", id="an unknown key"),
        pytest.param(
            "pools: [{name: a, profile: p}]\n---\npools: [{name: a, profile: p, role: decode}]",
            "document 2: at the whole: .*one prefill and one decode",
            id="a decode pool alone, in the second document",
        ),
        pytest.param(
            "pools: [{name: a, profile: p, role: prefill}, {name: a, profile: p, role: decode}]",
            "two pools have the same name",
            id="two pools of one name",
        ),
        pytest.param(
            f"{{pools: [{{name: a, profile: p}}], maxModelLen: 100, workload: {LOAD}}}}}",
            "longest request, 110 tokens, exceeds maxModelLen 100",
            id="requests beyond the longest sequence",
        ),
        pytest.param(
            f"{{pools: [{{name: a, profile: p}}], workload: {LOAD}, rampHours: 20, fallHours: 8}}}}",
            "exceed a day together",
            id="a day curve longer than a day",
        ),
    ],
)
def test_a_wrong_factory_says_where_and_how(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_factory(text)


def test_the_demo_runs_on_the_shipped_profiles() -> None:
    made = run(Factory(demo_factory(), shipped_profiles(), 1, START), 300)
    summary = made.summary()
    assert [model.requests.finished > 0 for model in summary.models] == [True, True]
    assert summary.requests.attainment_ratio == 1.0, "the night is no trouble for the replicas it starts with"
