"""Policies that are written for what serves: how workloads become pools, and that all of it can be read back."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiops.model.policy import Mode, PolicySet
from aiops.model.refs import PoolRef, Role
from aiops.observe.discovery.as_yaml import as_yaml
from aiops.observe.discovery.draft import Draft, draft
from aiops.observe.discovery.fitting_profile import fitting_profile
from aiops.observe.discovery.workloads import EngineSeen, Workload
from aiops.observe.identity import Pod
from aiops.observe.policies import read_policies
from tests.simulate.factories import shipped_profiles

H100 = "NVIDIA-H100-80GB-HBM3"
LLAMA_8B, LLAMA_70B = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"
PROFILES = shipped_profiles()


def served(name: str, role: Role = Role.BOTH, replicas: int = 2, model: str = LLAMA_8B, **more: object) -> Workload:
    hardware = Workload(PoolRef("llm", "Deployment", name), replicas, role, models=(model,), gpus=1, accelerator=H100)
    return replace(hardware, **more)  # type: ignore[arg-type]  # fields of the dataclass


def drafted(*workloads: Workload, engines: Sequence[EngineSeen] = ()) -> Draft:
    return draft(workloads, engines, PROFILES)


def read_back(made: Draft, folder: Path) -> PolicySet:
    path = folder / "found.yaml"
    path.write_text(as_yaml(made, ["a line"]), encoding="utf-8")
    return read_policies([path])


@pytest.mark.parametrize(
    ("workloads", "pools"),
    [
        pytest.param([served("chat")], {"all": "chat"}, id="one that does both"),
        pytest.param(
            [served("p", Role.PREFILL), served("d", Role.DECODE)], {"prefill": "p", "decode": "d"}, id="a pair"
        ),
        pytest.param([served("d", Role.DECODE)], {"all": "d"}, id="decode alone does both"),
        pytest.param([served("a", replicas=1), served("b", replicas=5)], {"all": "b"}, id="the larger of two"),
        pytest.param(
            [served("p", Role.PREFILL), served("d", Role.DECODE), served("old", replicas=9)],
            {"prefill": "p", "decode": "d"},
            id="a pair beside an older one that does both",
        ),
    ],
)
def test_workloads_of_a_model_become_the_pools_that_a_policy_can_have(
    workloads: list[Workload], pools: dict[str, str], tmp_path: Path
) -> None:
    made = drafted(*workloads)
    (policy,) = read_back(made, tmp_path).policies
    left = {one.pool.name for one in workloads} - set(pools.values())

    assert {pool.name: pool.target.name for pool in policy.spec.pools} == pools
    assert policy.spec.mode is Mode.OBSERVE
    assert [name for name in left if f"Deployment llm/{name} serves it too" not in as_yaml(made, [])] == []


@pytest.mark.parametrize(
    ("replicas", "bounds"),
    [
        pytest.param(0, (0, 4), id="none now"),
        pytest.param(1, (1, 4), id="one"),
        pytest.param(2, (1, 4), id="two"),
        pytest.param(9, (3, 18), id="a third and twice as many"),
    ],
)
def test_bounds_lie_around_the_replicas_that_are_there(replicas: int, bounds: tuple[int, int], tmp_path: Path) -> None:
    (policy,) = read_back(drafted(served("chat", replicas=replicas)), tmp_path).policies
    (pool,) = policy.spec.pools

    assert (pool.min, pool.max) == bounds


@pytest.mark.parametrize(
    ("model", "accelerator", "gpus", "kv_tokens", "wanted", "why"),
    [
        pytest.param(LLAMA_8B, H100, 1, None, "llama-8b-h100-tp1", "", id="the model on its GPU"),
        pytest.param("Llama-3.1-8B", H100, 1, 430_000, "llama-8b-h100-tp1", "", id="untuned, without its owner"),
        pytest.param(LLAMA_70B, "nvidia-h100-80gb", 4, None, "llama-70b-h100-tp4", "", id="as GKE labels its nodes"),
        pytest.param(LLAMA_8B, H100, 1, 200_000, None, "hold 200000 tokens in their KV cache", id="less memory"),
        pytest.param(LLAMA_8B, H100, 2, None, None, "not of 2 × NVIDIA-H100", id="split over two"),
        pytest.param(LLAMA_8B, "NVIDIA-H100-PCIe", 1, None, None, "not of 1 × NVIDIA-H100-PCIe", id="the slower form"),
        pytest.param(LLAMA_8B, "NVIDIA-A100-SXM4-80GB", 1, None, None, "not of 1 × NVIDIA-A100", id="another GPU"),
        pytest.param(LLAMA_8B, "", 1, None, None, "which GPU it runs on is not known", id="no label to tell"),
        pytest.param(
            "qwen/Qwen3-8B", H100, 1, None, None, "no profile that ships is of qwen/Qwen3-8B", id="another model"
        ),
    ],
)
def test_a_profile_is_named_only_where_it_truly_fits(
    model: str, accelerator: str, gpus: int, kv_tokens: float | None, wanted: str | None, why: str
) -> None:
    of_two = {name: profile for name, profile in PROFILES.items() if name.endswith(("8b-h100-tp1", "70b-h100-tp4"))}

    found, said = fitting_profile(of_two, model, accelerator, gpus, kv_tokens)

    assert (found, why in said) == (wanted, True)


def test_what_was_not_found_out_is_said_where_a_person_must_fill_it_in(tmp_path: Path) -> None:
    made = drafted(served("chat", gpus=None, accelerator="", inferred=("the replicas were counted",)))
    text = as_yaml(made, ["a line"])
    (variant,) = read_back(made, tmp_path).variants.values()

    assert (variant.gpus, variant.profile) == (1, None)
    for said in ("# gpus: how many", "# accelerator: no label", "# profile: llama-8b", "# inferred: the replicas"):
        assert said in text
    assert text.startswith("# a line\n")


def test_the_same_hardware_has_one_name_and_other_hardware_another(tmp_path: Path) -> None:
    policies = read_back(
        drafted(
            served("a"),
            served("b", model="other"),
            served("c", model="third", gpus=2),
            served("d", model="fourth", variant="H100 spot"),
        ),
        tmp_path,
    )

    used = {policy.spec.model: policy.spec.pools[0].variant for policy in policies.policies}
    # The second has the same GPUs, and no profile: it is not sized as the first one is.
    assert used == {LLAMA_8B: "h100-tp1", "other": "h100-tp1-2", "third": "h100-tp2", "fourth": "h100-spot"}


def test_other_owners_of_the_replicas_are_told() -> None:
    text = as_yaml(drafted(served("chat", scaled_by="ScaledObject llm/x", owned_by="RayService r")), [])

    assert "# ScaledObject llm/x sets its replicas today" in text
    assert "# RayService r made it" in text


def test_what_serves_and_cannot_be_a_target_is_told_and_left_out() -> None:
    lonely = EngineSeen(Pod("llm", "by-hand"), "lonely")
    nameless = Workload(PoolRef("llm", "Deployment", "nameless"), 1)

    made = drafted(served("chat"), nameless, engines=[lonely])

    assert [policy.ref.model for policy in made.policies] == [LLAMA_8B]
    assert ["Deployment llm/nameless names no model" in said for said in made.left_out] == [True, False]
    assert "llm/lonely is served by by-hand, which no Deployment" in made.left_out[1]


NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30)


@settings(max_examples=40)
@given(
    models=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    namespace=NAMES,
    target=NAMES,
    variant=NAMES | st.just(""),
    replicas=st.integers(0, 5000),
    gpus=st.none() | st.integers(1, 16),
    accelerator=NAMES | st.just(""),
)
def test_whatever_things_are_called_it_can_be_read_back(
    models: list[str],
    namespace: str,
    target: str,
    variant: str,
    replicas: int,
    gpus: int | None,
    accelerator: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    made = drafted(
        *(
            Workload(
                PoolRef(namespace, "Deployment", f"{target}{number}"),
                replicas,
                variant=variant,
                models=(model,),
                gpus=gpus,
                accelerator=accelerator,
                inferred=(f"guessed from {target}",),
            )
            for number, model in enumerate(models)
        )
    )

    policies = read_back(made, tmp_path_factory.mktemp("found")).policies

    assert {(policy.ref.namespace, policy.ref.model) for policy in policies} == {(namespace, model) for model in models}
    assert {policy.spec.pools[0].target.name for policy in policies} == {
        f"{target}{number}" for number in range(len(models))
    }
