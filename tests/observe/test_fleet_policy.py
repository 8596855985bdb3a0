"""The one document about the whole fleet, read as strictly as a policy, and forgiving where somebody is in a hurry."""

from pathlib import Path

import pytest

from aiops.model.fleet_policy import FleetSpec, Writes
from aiops.model.policy_part import Step
from aiops.observe.policies import PolicyWatch, read_policies
from tests.observe.policy_texts import GOOD, problems, written

NO_STEP = "is not a step; write replicas above 0, such as 4, or a share, such as 25%"


def fleet(spec: str) -> str:
    return f"---\nkind: FleetPolicy\nspec: {spec}\n"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        pytest.param("", FleetSpec(), id="without one everything may be written and nothing is bounded"),
        pytest.param(fleet("{writes: off}"), FleetSpec(writes=Writes.OFF), id="off, which YAML of old calls false"),
        pytest.param(fleet('{writes: "off"}'), FleetSpec(writes=Writes.OFF), id="off in quotes"),
        pytest.param(fleet("{writes: false}"), FleetSpec(writes=Writes.OFF), id="false"),
        pytest.param(fleet("{writes: on}"), FleetSpec(), id="on"),
        pytest.param(fleet("{maxRemovedPerHour: 20}"), FleetSpec(max_removed_per_hour=Step(20)), id="a number"),
        pytest.param(
            fleet("{maxRemovedPerHour: 30%}"), FleetSpec(max_removed_per_hour=Step(share=0.3)), id="a share"
        ),
        pytest.param(fleet("{maxRemovedPerHour: 0}"), FleetSpec(max_removed_per_hour=Step(0)), id="none at all"),
    ],
)  # fmt: skip
def test_what_it_says(text: str, read: FleetSpec, tmp_path: Path) -> None:
    found = read_policies([written(tmp_path, GOOD + text)])

    assert found.fleet == read
    assert FleetSpec.model_validate_json(found.fleet.model_dump_json(by_alias=True)) == read


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            fleet("{write: off}"), ["chat.yaml:10: spec.write: unknown key; did you mean 'writes'?"],
            id="a misspelt key",
        ),
        pytest.param(
            fleet("{writes: stop}"), ["chat.yaml:10: spec.writes: 'stop' is not known here; known are on, off"],
            id="a switch with a third state",
        ),
        pytest.param(
            fleet("{maxRemovedPerHour: -1}"), [f"chat.yaml:10: spec.maxRemovedPerHour: -1 {NO_STEP}"],
            id="a bound below nothing",
        ),
        pytest.param(
            fleet("{maxRemovedPerHour: true}"), [f"chat.yaml:10: spec.maxRemovedPerHour: True {NO_STEP}"],
            id="a bound that is true",
        ),
        pytest.param(
            "---\nkind: FleetPolicies\nspec: {}\n",
            ["chat.yaml:9: kind: 'FleetPolicies' is not known here; did you mean 'FleetPolicy'?"],
            id="a kind that is nearly it",
        ),
        pytest.param(
            "---\nkind: FleetPolicy\n", ["chat.yaml:9: the key 'spec' is missing"], id="nothing is said"
        ),
        pytest.param(
            fleet("{}") + fleet("{writes: off}"),
            ["chat.yaml:12: kind: there is a FleetPolicy already, at chat.yaml:9"],
            id="two of them",
        ),
    ],
)  # fmt: skip
def test_what_it_cannot_mean_is_told_at_its_line(text: str, told: list[str], tmp_path: Path) -> None:
    assert sorted(problems(written(tmp_path, GOOD + text))) == sorted(told)


def test_it_alone_is_no_policy(tmp_path: Path) -> None:
    assert problems(written(tmp_path, fleet("{writes: off}"))) == [
        "chat.yaml: no policy of a model is here; one needs metadata and spec"
    ]


def test_it_is_followed_like_any_other_file_and_a_broken_one_keeps_what_was_said(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    watch = PolicyWatch([tmp_path])
    said = [watch.current().fleet.writes_off]
    for text in ("{writes: off}", "{wrongs: on}", "{writes: on}"):
        written(tmp_path, fleet(text), "fleet.yaml")
        said.append(watch.current().fleet.writes_off)
    (tmp_path / "fleet.yaml").unlink()
    said.append(watch.current().fleet.writes_off)

    assert said == [False, True, True, False, False]
