from pathlib import Path

import pytest

from aiops.model.policy import Mode
from aiops.observe.packaged import packaged
from aiops.observe.policies import PolicyError, PolicyWatch
from tests.observe.policy_texts import GOOD, spec, written


def test_a_watch_follows_its_file_and_keeps_the_last_good_policies(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    watch = PolicyWatch([file])
    first = watch.current()
    assert watch.current() is first

    written(tmp_path, spec("mode: act"))
    second = watch.current()
    assert (second.policies[0].spec.mode, watch.problem) == (Mode.ACT, "")

    for broken in (spec("mode: acting"), ""):
        written(tmp_path, broken)
        assert watch.current() is second
        assert str(file) in watch.problem

    file.unlink()
    assert watch.current() is second
    assert "no such file" in watch.problem

    written(tmp_path, GOOD)
    assert watch.current() == first
    assert watch.problem == ""


def test_a_watch_does_not_start_on_broken_files(tmp_path: Path) -> None:
    with pytest.raises(PolicyError):
        PolicyWatch([written(tmp_path, "")])


def test_a_watch_sees_files_that_come_and_go_in_a_folder(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    watch = PolicyWatch([tmp_path])
    other = written(tmp_path, GOOD.replace("chat", "other").replace("llama", "qwen"), "other.yaml")
    assert len(watch.current().policies) == 2

    other.unlink()
    assert len(watch.current().policies) == 1


def test_a_watch_follows_the_link_that_a_configmap_turns(tmp_path: Path) -> None:
    def release(name: str, text: str) -> None:
        (tmp_path / name).mkdir()
        written(tmp_path / name, text)
        (tmp_path / "..new").symlink_to(name)
        (tmp_path / "..new").rename(tmp_path / "..data")

    release("..1", GOOD)
    (tmp_path / "chat.yaml").symlink_to("..data/chat.yaml")
    watch = PolicyWatch([tmp_path])
    assert watch.current().policies[0].spec.mode is Mode.OBSERVE

    release("..2", spec("mode: emit"))
    assert watch.current().policies[0].spec.mode is Mode.EMIT


def test_a_watch_sees_a_changed_profile(tmp_path: Path) -> None:
    shipped = packaged("policies", "profiles", "llama-8b-h100-tp1.yaml").read_text()
    mine = written(tmp_path, shipped, "mine.yaml")
    watch = PolicyWatch([written(tmp_path, GOOD.replace("gpus: 2", "profile: mine.yaml"))])
    mine.write_text(shipped.replace("kvTokens: 432992", "kvTokens: 1000"))
    profile = watch.current().variants["h100"].profile

    assert profile is not None
    assert profile.kv_tokens == 1000
