import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiops.model.policy import Mode, Spec
from aiops.model.refs import ModelRef
from aiops.observe.marked_yaml import Problem
from aiops.observe.packaged import packaged
from aiops.observe.policies import PolicyError, read_policies
from tests.observe.policy_texts import GOOD, problems, spec, written


def test_a_good_file_gives_its_policies_and_variants(tmp_path: Path) -> None:
    found = read_policies([written(tmp_path, GOOD)])

    assert found.policies[0].ref == ModelRef("llm", "llama")
    assert found.policies[0].spec.mode is Mode.OBSERVE
    assert found.variants["h100"].gpus == 2
    assert found.variants["h100"].profile is None


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        pytest.param(
            ["scaleDown:", "  stabilisation: 5m"],
            "chat.yaml:7: spec.scaleDown.stabilisation: unknown key; did you mean 'stabilization'?",
            id="a misspelt key names the nearest",
        ),
        pytest.param(
            ["scale_up: {per: 1m}"],
            "chat.yaml:6: spec.scale_up: unknown key; did you mean 'scaleUp'?",
            id="a key in snake case is no key",
        ),
        pytest.param(
            ["budget: {euros: 3}"],
            "chat.yaml:6: spec.budget.euros: unknown key; known are gpus, usdPerHour",
            id="a key that resembles nothing lists what there is",
        ),
        pytest.param(
            ["objectives:", "  ttft:", "    p95: 2,5s"],
            "chat.yaml:8: spec.objectives.ttft: '2,5s' is not a duration; "
            "write it with its unit, such as 500ms, 2s, 5m or 1h30m",
            id="a wrong duration inside an objective is told at its own line",
        ),
        pytest.param(
            ["objectives: {itl: {p95: 50ms, p99: 1s}}"],
            "chat.yaml:6: spec.objectives.itl: {'p95': '50ms', 'p99': '1s'} is no objective; "
            "give one percentile and its bound, such as {p95: 2.5s}",
            id="two percentiles are one too many",
        ),
        pytest.param(
            ["objectives: {itl: {p95: 0s}}"],
            "chat.yaml:6: spec.objectives.itl: 0s is too short; write a duration above 0s",
            id="an objective of nothing cannot be met",
        ),
        pytest.param(
            ["mode: acting"],
            "chat.yaml:6: spec.mode: 'acting' is not known here; did you mean 'act'?",
            id="a wrong mode names the nearest",
        ),
        pytest.param(
            ["mode: {act: down}"],
            "chat.yaml:6: spec.mode: {'act': 'down'} is not known here; known are observe, emit, act, act: up",
            id="act may be narrowed to up only",
        ),
        pytest.param(
            ["mode: off"],
            "chat.yaml:6: spec.mode: YAML reads this as true or false, and no key takes that; quote it if it is a name",
            id="YAML's other booleans are told for what they are",
        ),
        pytest.param(
            ["priority: .nan"], "chat.yaml:6: spec.priority: '.nan' is no finite number", id="NaN is no number"
        ),
        pytest.param(
            ["budget: {usdPerHour: inf}"],
            "chat.yaml:6: spec.budget.usdPerHour: 'inf' should be a finite number",
            id="infinity as text is none either",
        ),
        pytest.param(
            [f"budget: {{gpus: 1{':1' * 60}}}"],
            f"chat.yaml:6: spec.budget.gpus: '1{':1' * 37}:... is no finite number",
            id="a number without end is not computed",
        ),
        pytest.param(
            ["ratio:"],
            "chat.yaml:6: spec.ratio: nothing is written under this key; fill it in or remove it",
            id="a key without a value",
        ),
        pytest.param(
            ["ratio: wide"],
            "chat.yaml:6: spec.ratio: 'wide' is not a mapping; write its keys below it: decodePerPrefill",
            id="text where keys belong",
        ),
        pytest.param(
            ["adapters: coder"],
            "chat.yaml:6: spec.adapters: 'coder' is not a list; write each item after a dash",
            id="text where a list belongs",
        ),
        pytest.param(
            ["ratio: {decodePerPrefill: {min: 4, max: 2}}"],
            "chat.yaml:6: spec.ratio.decodePerPrefill: max 2 is below min 4",
            id="bounds that cross are told where they stand",
        ),
        pytest.param(
            ["ratio: {decodePerPrefill: {min: 9}}"],
            "chat.yaml:6: spec.ratio.decodePerPrefill: max 8 is below min 9",
            id="and so is a bound that crosses a default",
        ),
        pytest.param(
            ["model: other"],
            "chat.yaml:6: spec.model: this key stands twice; the first is on line 3",
            id="a duplicate key",
        ),
        pytest.param(
            ["preset: chatt"],
            "chat.yaml:6: spec.preset: 'chatt' is not known here; did you mean 'chat'?",
            id="an unknown preset names the nearest",
        ),
        pytest.param(
            ["budget: !!python/object:os.system {}"],
            "chat.yaml:6: spec.budget: the tag !!python/object:os.system is not supported; remove it",
            id="a tag makes no object",
        ),
    ],
)
def test_a_problem_is_told_with_its_line_its_value_and_the_way_out(
    tmp_path: Path, lines: list[str], problem: str
) -> None:
    assert problems(written(tmp_path, spec(*lines))) == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "chat.yaml: the file is empty or holds only comments", id="an empty file"),
        pytest.param("# later\n---\n", "chat.yaml: the file is empty or holds only comments", id="only comments"),
        pytest.param(
            "variants: {h100: {}}",
            "chat.yaml: no policy of a model is here; one needs metadata and spec",
            id="variants without a policy",
        ),
        pytest.param(
            "metadata: {name: a}", "chat.yaml:1: a policy needs metadata and spec; spec is missing", id="half a policy"
        ),
        pytest.param(
            "just text", "chat.yaml:1: 'just text' is not a mapping; write its keys below it: ", id="no mapping at all"
        ),
        pytest.param(
            "spec:\n\tmodel: x\n",
            "chat.yaml:2: a tab indents this line; YAML allows only spaces there",
            id="a tab",
        ),
        pytest.param(
            "spec: [1, 2\nx: }\n",
            "chat.yaml:2: this is not YAML: while parsing a flow sequence, expected ',' or ']', but got ':'",
            id="a bracket that is not closed",
        ),
        pytest.param(b"a: \xff\xfe\n", "chat.yaml:1: byte 0xff is not UTF-8; save the file as UTF-8", id="not UTF-8"),
        pytest.param(b"a: b\nc: \x00\x01", "chat.yaml:2: character U+0000 may not stand in YAML", id="binary junk"),
        pytest.param("x" * 10_000_000, "chat.yaml: the file is larger than 1024 KiB; split", id="ten megabytes"),
        pytest.param(
            "a: &a [x, x]\n"
            + "".join(
                f"{n}: &{n} [*{p}, *{p}, *{p}, *{p}]\n" for p, n in zip("abcdefghijkl", "bcdefghijklm", strict=True)
            ),
            "chat.yaml:1: too many values (each use of an alias counts anew); split the file",
            id="a billion laughs",
        ),
        pytest.param(
            "a: &a {x: 1}\n"
            + "".join(
                f"{n}: &{n} {{<<: [*{p}, *{p}, *{p}, *{p}]}}\n"
                for p, n in zip("abcdefghijkl", "bcdefghijklm", strict=True)
            ),
            "too many values",
            id="a billion merged laughs",
        ),
        pytest.param("a: &a [*a]", "chat.yaml: the file is nested too deeply", id="a value inside itself"),
        pytest.param("[" * 5000, "chat.yaml: the file is nested too deeply", id="brackets without end"),
        pytest.param('"\\uD800\\n": 1', "chat.yaml:1: '\\ud800\\n'", id="a key that cannot be printed"),
        pytest.param("? [a]\n: b\n", "chat.yaml:1: a key must be text", id="a list as a key"),
        pytest.param("kind: ConfigMap", "chat.yaml:1: kind: 'ConfigMap' is not known here", id="another kind of thing"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str | bytes, problem: str) -> None:
    assert problem in "\n".join(problems(written(tmp_path, text)))


def test_all_problems_of_all_files_are_told_at_once_in_order(tmp_path: Path) -> None:
    written(tmp_path, spec("mode: on", "budget: {gpus: 0}"), "a.yaml")
    written(tmp_path, "", "b.yml")
    written(tmp_path, "nothing here", "c.txt")

    places = [text.split(": ")[0].removeprefix(f"{tmp_path.name}/") for text in problems(tmp_path)]
    assert places == ["a.yaml:6", "a.yaml:7", "b.yml"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        pytest.param("missing.yaml", "there is no such file", id="a missing file"),
        pytest.param("empty", "the folder holds no *.yaml or *.yml file", id="an empty folder"),
        pytest.param("pipe", "this is not a regular file", id="a pipe, which would block for ever"),
        pytest.param("loop.yaml", "loop.yaml", id="a link that leads to itself"),
        pytest.param("a" * 300, "it cannot be read: File name too long", id="a name that is too long"),
    ],
)
def test_a_path_that_cannot_be_read_says_why(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")

    assert problem in problems(tmp_path / name)[0]


def test_no_path_at_all_is_told() -> None:
    with pytest.raises(PolicyError, match="no path to a policy is given"):
        read_policies([])


def test_a_folder_is_read_as_one_and_a_file_in_it_only_once(tmp_path: Path) -> None:
    written(tmp_path, GOOD.split("variants:", maxsplit=1)[0], "a.yaml")
    shared = written(tmp_path, "variants: {h100: {gpus: 4}}\n---\n", "b.yml")

    assert read_policies([tmp_path, shared]).variants["h100"].gpus == 4


def test_the_same_variant_may_stand_twice_and_a_different_one_may_not(tmp_path: Path) -> None:
    written(tmp_path, GOOD, "a.yaml")
    second = written(tmp_path, "variants: {h100: {gpus: 2}}", "b.yaml")
    assert len(read_policies([tmp_path]).variants) == 1

    second.write_text("\nvariants: {h100: {gpus: 4}}")
    assert problems(tmp_path) == [
        f"{tmp_path.name}/b.yaml:2: variants.h100: this variant is defined differently at {tmp_path.name}/a.yaml:7"
    ]


def test_a_model_and_a_target_have_one_policy(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD + "---\n" + GOOD.split("variants:", maxsplit=1)[0])

    assert problems(file) == [
        f"chat.yaml:11: spec.model: llm/llama already has a policy at {file}:3".replace(f"{tmp_path}/", ""),
        "chat.yaml:13: spec.pools[0].target: Deployment llm/chat is already scaled by the policy at chat.yaml:5",
    ]


def test_an_unknown_variant_names_the_nearest(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD.replace("variant: h100", "variant: h10"))

    assert problems(file) == ["chat.yaml:5: spec.pools[0].variant: no variant is called 'h10'; did you mean 'h100'?"]


def test_a_file_that_cannot_be_parsed_does_not_make_its_variants_unknown(tmp_path: Path) -> None:
    written(tmp_path, GOOD.split("variants:", maxsplit=1)[0], "a.yaml")
    written(tmp_path, "variants: {h100: {gpus: 4}", "b.yaml")

    assert len(problems(tmp_path)) == 1


def test_policies_stand_in_order_of_priority_then_of_name(tmp_path: Path) -> None:
    for name, priority in [("b", 1), ("c", 5), ("a", 1)]:
        text = spec(f"priority: {priority}").replace("chat", name).replace("model: llama", f"model: {name}")
        written(tmp_path, text, f"{name}.yaml")

    assert [policy.metadata.name for policy in read_policies([tmp_path]).policies] == ["c", "a", "b"]


def test_a_preset_gives_what_the_document_does_not_say(tmp_path: Path) -> None:
    text = spec("preset: agent", "objectives: {ttft: {p99: 3s}}", "scaleDown: {stabilization: 30m}")
    policy = read_policies([written(tmp_path, text)]).policies[0].spec

    assert policy.objectives.ttft.attainment == 0.99
    assert policy.scale_down.stabilization.total_seconds() == 1800
    assert str(policy.scale_down.max_step) == "20%"
    assert policy.risk == 0.005


def test_an_anchor_may_be_merged_and_what_stands_beside_it_wins(tmp_path: Path) -> None:
    variants = "variants:\n  h100: &h100 {gpus: 2, watts: 700}\n  h200: {<<: *h100, watts: 800}\n"
    found = read_policies([written(tmp_path, GOOD.split("variants:", maxsplit=1)[0] + variants)]).variants

    assert (found["h200"].gpus, found["h200"].watts) == (2, 800)


def test_a_name_that_looks_like_a_date_a_number_or_a_boolean_stays_a_key(tmp_path: Path) -> None:
    text = GOOD.replace("h100", "2024-01-01")

    assert list(read_policies([written(tmp_path, text)]).variants) == ["2024-01-01"]


# Profiles


def test_a_profile_is_a_shipped_name_or_a_path_relative_to_the_file(tmp_path: Path) -> None:
    shipped = packaged("policies", "profiles", "llama-8b-h100-tp1.yaml")
    (tmp_path / "mine.yaml").write_bytes(shipped.read_bytes())
    folder = tmp_path / "policies"
    folder.mkdir()
    by_name = read_policies([written(folder, GOOD.replace("gpus: 2", "profile: llama-8b-h100-tp1"))])
    by_path = read_policies([written(folder, GOOD.replace("gpus: 2", "profile: ../mine.yaml"))])

    assert by_name.variants["h100"].profile == by_path.variants["h100"].profile
    assert by_name.variants["h100"].profile is not None


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        pytest.param(
            "llama-8b-h100-tp",
            [
                "no shipped profile is called 'llama-8b-h100-tp'",
                "did you mean 'llama-8b-h100-tp1'?",
            ],
            id="a name that is not shipped names the nearest",
        ),
        pytest.param(
            "missing.yaml",
            ["missing.yaml: there is no such file", "chat.yaml:7: variants.h100.profile: the profile"],
            id="a file that is not there",
        ),
        pytest.param(
            "broken.yaml",
            [
                "broken.yaml:2: kvTokens: 'many' should be a valid integer",
                "broken.yaml:1: the key 'prefill' is missing",
            ],
            id="a broken profile is told in its own file",
        ),
        pytest.param('"a\\0b.yaml"', ["there is no such file"], id="a name that no file can have"),
    ],
)
def test_a_profile_that_cannot_be_read_says_why(tmp_path: Path, profile: str, told: list[str]) -> None:
    written(tmp_path, "model: m\nkvTokens: many\n", "broken.yaml")
    found = "\n".join(problems(written(tmp_path, GOOD.replace("gpus: 2", f"profile: {profile}"))))

    for text in told:
        assert text in found


# Nothing that people can write is a traceback

_YAML_TEXT = st.text(alphabet="abp:{}[]-&*!<>|\"'#%@`?,.\t\n 01~\\é\x00", max_size=60)


@given(text=_YAML_TEXT)
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    with pytest.raises(PolicyError):
        read_policies([written(folder, text)])


_PLAIN = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5)
_KEYS = st.sampled_from(["p95", "min", "max", "name", "gpus", "act", "x"])
_VALUES = st.recursive(
    _PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3), max_leaves=6
)


@given(key=st.sampled_from([*Spec.model_json_schema()["properties"]]), value=_VALUES)
def test_any_value_under_a_key_is_read_or_refused_at_its_line(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    lines = [line for line in GOOD.splitlines() if not line.startswith(f"  {key}:")]
    lines.insert(2, f"  {key}: {json.dumps(value)}")
    told: tuple[Problem, ...] = ()
    try:
        read_policies([written(tmp_path_factory.mktemp("any"), "\n".join(lines))])
    except PolicyError as error:
        told = error.problems
    assert all(problem.mark for problem in told)
