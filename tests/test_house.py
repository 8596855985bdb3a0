"""The rules of the house that no linter knows."""

import doctest
import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import aiops
from tests.generated import ROOT, differing, generated, leftovers

BIN = Path(sys.executable).parent
_NOT_OURS = {"__pycache__", "build", "dist", "vendor"}
_OUR_DOT_FILES = {".ci", ".pre-commit-config.yaml", ".gitignore", ".dockerignore"}


def files(folder: Path = ROOT) -> Iterator[Path]:
    """The project's own files: what a clone holds, less what others wrote."""
    for path in sorted(folder.iterdir()):
        ours = path.name in _OUR_DOT_FILES or not (path.name.startswith(".") or path.name in _NOT_OURS)
        if path.is_dir() and ours:
            yield from files(path)
        elif ours:
            yield path


def modules() -> list[str]:
    return [module.name for module in pkgutil.walk_packages(aiops.__path__, "aiops.")]


def test_a_file_is_one_idea_and_ends_within_400_lines() -> None:
    long = {str(file.relative_to(ROOT)): n for file in files() if file.suffix == ".py" and (n := lines(file)) > 400}

    assert long == {}


def lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def test_no_file_is_named_after_nothing_in_particular() -> None:
    vague = re.compile(r"(^|_)(utils?|helpers?|misc|common)$")

    assert [file for file in files() if file.suffix == ".py" and vague.search(file.stem)] == []


@pytest.mark.parametrize(
    ("pattern", "where"),
    [
        pytest.param(r"(?<![\w.])/wor[k]/", "", id="no path of one machine"),
        pytest.param(r"shared/data", "aiops", id="no data that the package does not carry"),
        pytest.param(r"pypi[.]org|python[h]osted|[-]-index-url", "", id="no host of a registry"),
    ],
)
def test_no_file_names_a_place_that_others_do_not_have(pattern: str, where: str) -> None:
    found = []
    for file in files(ROOT / where):
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # an image
            continue
        found += [f"{file.relative_to(ROOT)}: {match.group()}" for match in re.finditer(pattern, text)]

    assert found == []


def test_every_locked_package_is_pinned_by_hash_and_comes_from_no_named_place() -> None:
    text = (ROOT / "requirements.lock").read_text()
    stated = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    packages = stated.replace("\\\n", "").strip().splitlines()

    assert [line for line in packages if not re.match(r"[\w.-]+==\S+.* --hash=sha256:[0-9a-f]{64}", line)] == []
    assert "://" not in stated


def test_every_direct_dependency_is_locked_and_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {
        re.split(r"[<>=!~;\[ ]", line)[0]
        for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    }
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    reasons = (ROOT / "ARCHITECTURE.md").read_text()

    assert names - locked == set()
    assert [name for name in names if f"| {name} |" not in reasons] == []


def test_the_generated_files_are_up_to_date() -> None:
    wanted = generated()

    assert (differing(wanted), leftovers(wanted)) == ([], [])


def test_a_generated_file_that_was_changed_by_hand_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "same").write_text("a")
    (tmp_path / "changed").write_text("b")

    assert differing({tmp_path / name: "a" for name in ("same", "changed", "missing")}) == [
        tmp_path / "changed",
        tmp_path / "missing",
    ]


@pytest.mark.parametrize("name", modules())
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


# Floors


def test_every_room_stands_on_a_floor() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = {room for layer in contracts[0]["layers"] for room in layer.replace(" ", "").split("|")}
    rooms = {f"aiops.{path.name}" for path in (ROOT / "aiops").iterdir() if (path / "__init__.py").exists()}

    assert rooms == floors


def test_an_import_that_goes_up_sideways_or_out_is_refused(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "aiops", tmp_path / "aiops", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "aiops" / "model" / "planted.py").write_text("from aiops.cli import main\n")
    (tmp_path / "aiops" / "observe" / "planted.py").write_text("import aiops.act\n")
    (tmp_path / "aiops" / "plan" / "planted.py").write_text("import time\n")
    linted = subprocess.run(
        [BIN / "lint-imports", "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert linted.returncode == 1, linted.stdout + linted.stderr
    for planted in (
        "aiops.model.planted -> aiops.cli",
        "aiops.observe.planted -> aiops.act",
        "aiops.plan.planted -> time",
    ):
        assert planted in linted.stdout


# The wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_carries_what_an_installed_aiops_needs(wheel: Path) -> None:
    carried = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"aiops/_data/{file.relative_to(ROOT)}"
        for folder in ("policies", "dashboards/json", "alerts")
        for file in files(ROOT / folder)
    }
    wanted |= {str(file.relative_to(ROOT)) for file in files(ROOT / "aiops")}

    assert wanted - carried == set()
    assert {"aiops/_data/policies/schema.json", "aiops/_data/policies/demo.yaml", "aiops/py.typed"} <= carried
    assert [name for name in carried if "__pycache__" in name or name.endswith((".db", ".k"))] == []


def test_a_package_without_its_repository_finds_its_policies_dashboards_and_rules(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = (
        "import aiops; from pathlib import Path; from aiops.observe.packaged import packaged;"
        "from aiops.observe.policies import read_policies;"
        "from aiops.observe.dashboard_files import dashboard_files;"
        "from aiops.observe.rule_files import rule_files; from aiops.model.policy import PolicySet;"
        "policies = read_policies([packaged('policies')]).policies;"
        "print(Path(aiops.__file__).parent, len(dashboard_files()), len(policies), len(rule_files(PolicySet())))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout.split() == [str(tmp_path / "site" / "aiops"), "6", "3", "6"]
