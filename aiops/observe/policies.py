"""Policies as people write them in files, read whole or refused with everything that is wrong."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from aiops.model.fleet_policy import FleetPolicy, FleetSpec
from aiops.model.policy import PolicyFile, PolicySet, ScalingPolicy, Variant, VariantSpec
from aiops.model.profile import CapacityProfile
from aiops.observe.file_schema import check, nearest
from aiops.observe.forecasters import ForecasterError, installed_forecasters
from aiops.observe.marked_yaml import Document, KeyPath, Mark, Problem, read_documents
from aiops.observe.packaged import packaged
from aiops.observe.prior_file import shipped_prior
from aiops.observe.profiles import profile_file, read_profile

_FLEET = "FleetPolicy"
_OBJECTIVES = frozenset({"ttft", "itl"})  # one percentile each: a document's own replaces the preset's

_Stamp = tuple[int, int, int, int] | None


class PolicyError(ValueError):
    """Policy files that cannot be used; ``problems`` holds everything that is wrong with them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def read_policies(paths: Sequence[Path]) -> PolicySet:
    """Read policy files, and folders of them (``*.yaml`` and ``*.yml``, not deeper).

    A file may hold several documents. Variants are shared by name between all of them. A profile is a shipped one's
    name, or a path (it ends in .yaml or .yml) relative to the file that names it. Raises PolicyError with all problems.
    """
    return _Reading(paths).policies()


class PolicyWatch:
    """Policies that follow their files: a broken, emptied or deleted file keeps the last good ones.

    ``problem`` says why the files on disk are not the ones in use; it is empty while they are. A file that is taken out
    of a folder takes its policies with it, as a key that is removed from a ConfigMap shall. Raises PolicyError at the
    start, when no good ones are known yet.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self.problem = ""
        self._read()

    def current(self) -> PolicySet:
        """Give the policies to use now. Cheap while no file changed; never raises."""
        if self.problem or self._stamps != self._stamps_now():
            try:
                self._read()
                self.problem = ""
            except PolicyError as error:
                more = len(error.problems) - 1
                self.problem = f"{error.problems[0]}{f' (and {more} more)' if more else ''}"
        return self._policies

    def _read(self) -> None:
        reading = _Reading(self._paths)
        self._policies = reading.policies()
        self._stamps = reading.stamps
        self._profiles = tuple(reading.profiles)

    def _stamps_now(self) -> dict[Path, _Stamp]:
        files, _ = _policy_files(self._paths)
        return {file: _stamp(file) for file in (*files, *self._profiles)}


class _Reading:
    """One reading of all files; it notes what is wrong and goes on."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.stamps: dict[Path, _Stamp] = {}  # taken before a file is read: a change in between is seen next time
        self.profiles: dict[Path, CapacityProfile | None] = {}
        self._policies: list[tuple[ScalingPolicy, Document]] = []
        self._variants: dict[str, tuple[Variant, str]] = {}
        self._named_variants: set[str] = set()
        self._fleet: tuple[FleetSpec, str] | None = None
        self._all_read = True
        files, self._problems = _policy_files(paths)
        for file in files:
            self._read_file(file)
        self._compare()
        try:
            self._forecasters = installed_forecasters()
        except ForecasterError as error:
            self._problems.append(Problem(Path("installed packages"), str(error)))
        if not self._policies and not self._problems:
            self._problems.append(Problem(files[0], "no policy of a model is here; one needs metadata and spec"))

    def policies(self) -> PolicySet:
        if self._problems:
            raise PolicyError(
                sorted(self._problems, key=lambda problem: (str(problem.file), problem.mark or Mark(0, 0)))
            )
        policies = sorted((policy for policy, _ in self._policies), key=lambda p: (-p.spec.priority, p.metadata.name))
        variants = {name: variant for name, (variant, _) in self._variants.items()}
        fleet = self._fleet[0] if self._fleet else FleetSpec()
        return PolicySet(tuple(policies), variants, shipped_prior(), self._forecasters, fleet)

    def _read_file(self, file: Path) -> None:
        self.stamps[file] = _stamp(file)
        documents, problems = read_documents(file)
        self._problems += problems
        self._all_read &= bool(documents)
        for plain in documents:
            if _is_fleet(plain):
                self._read_fleet(plain)
                continue
            booleans = tuple(_booleans(plain, plain.value, ()))
            document = replace(plain, problems=plain.problems + booleans)
            self._problems += booleans
            whole, problems = check(PolicyFile, document, self._with_preset(document.value))
            self._problems += problems
            if isinstance(document.value, dict) and isinstance(document.value.get("variants"), dict):
                self._named_variants |= set(document.value["variants"])
            if whole is None:
                continue
            for name, spec in whole.variants.items():
                self._add_variant(document, name, spec)
            if whole.metadata and whole.spec:
                self._policies.append((ScalingPolicy(metadata=whole.metadata, spec=whole.spec), document))

    def _read_fleet(self, document: Document) -> None:
        fleet, problems = check(FleetPolicy, document, document.value)
        self._problems += problems
        where = document.where(("kind",))
        if self._fleet is not None:
            self._problem(document, ("kind",), f"there is a FleetPolicy already, at {self._fleet[1]}")
        elif fleet is not None:
            self._fleet = (fleet.spec, where)

    def _with_preset(self, value: Any) -> Any:  # noqa: ANN401  # whatever the file holds; the model judges it
        spec = value.get("spec") if isinstance(value, dict) else None
        presets = {file.stem: file for file in packaged("policies", "presets").glob("*.yaml")}
        if not isinstance(spec, dict) or (file := presets.get(str(spec.get("preset")))) is None:
            return value
        documents, problems = read_documents(file)
        self._problems += problems
        return {**value, "spec": _merged(documents[0].value, spec)} if documents else value

    def _add_variant(self, document: Document, name: str, spec: VariantSpec) -> None:
        variant = Variant(
            name=name,
            accelerator=spec.accelerator,
            gpus=spec.gpus,
            usd_per_hour=spec.usd_per_hour,
            watts=spec.watts,
            profile=self._profile(document, name, spec.profile),
            cold_start_p50_s=spec.cold_start.p50.total_seconds(),
            cold_start_p90_s=spec.cold_start.p90.total_seconds(),
        )
        first, where = self._variants.setdefault(name, (variant, document.where(("variants", name))))
        if first != variant:
            self._problem(document, ("variants", name), f"this variant is defined differently at {where}")

    def _profile(self, document: Document, variant: str, name: str | None) -> CapacityProfile | None:
        if name is None:
            return None
        path: KeyPath = ("variants", variant, "profile")
        try:
            file = profile_file(name, document.file.parent)
        except LookupError as error:
            self._problem(document, path, str(error))
            return None
        if file not in self.profiles:
            self.stamps[file] = _stamp(file)
            self.profiles[file], problems = read_profile(file)
            self._problems += problems
        if self.profiles[file] is None:
            self._problem(document, path, f"the profile {file} cannot be used")
        return self.profiles[file]

    def _compare(self) -> None:
        seen: dict[object, str] = {}
        for policy, document in self._policies:
            path: KeyPath = ("spec", "model")
            if policy.ref in seen:
                self._problem(document, path, f"{policy.ref} already has a policy at {seen[policy.ref]}")
            seen.setdefault(policy.ref, document.where(path))
            for index, pool in enumerate(policy.spec.pools):
                path = ("spec", "pools", index, "target")
                ref = policy.pool_ref(pool)
                if ref in seen:
                    self._problem(document, path, f"{ref.kind} {ref} is already scaled by the policy at {seen[ref]}")
                seen.setdefault(ref, document.where(path))
                if self._all_read and pool.variant not in self._named_variants:
                    hint = nearest(pool.variant, sorted(self._named_variants))
                    path = ("spec", "pools", index, "variant")
                    self._problem(document, path, f"no variant is called {pool.variant!r}{hint}")

    def _problem(self, document: Document, path: KeyPath, message: str) -> None:
        self._problems.append(document.problem(path, message))


def _is_fleet(document: Document) -> bool:
    kind = document.value.get("kind") if isinstance(document.value, dict) else None
    return get_close_matches(str(kind), ("ScalingPolicy", _FLEET), n=1) == [_FLEET]


def _booleans(document: Document, value: object, path: KeyPath) -> Iterator[Problem]:
    # No key takes a boolean, and pydantic would read one as the number 1 or 0.
    if isinstance(value, bool):
        yield document.problem(
            path, "YAML reads this as true or false, and no key takes that; quote it if it is a name"
        )
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _booleans(document, item, (*path, key))


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**base, **own}
    for key in base.keys() & own.keys() - _OBJECTIVES:
        if isinstance(base[key], dict) and isinstance(own[key], dict):
            merged[key] = _merged(base[key], own[key])
    return merged


def _policy_files(paths: Sequence[Path]) -> tuple[list[Path], list[Problem]]:
    files: list[Path] = []
    problems = [] if paths else [Problem(Path(), "no path to a policy is given")]
    for path in paths:
        try:
            found = sorted(_in_folder(path)) if path.is_dir() else [path]
        except OSError as error:
            problems.append(Problem(path, f"it cannot be read: {error.strerror or error}"))
            continue
        if not found:
            problems.append(Problem(path, "the folder holds no *.yaml or *.yml file"))
        files += found
    return list({file.absolute(): file for file in files}.values()), problems


def _in_folder(folder: Path) -> Iterator[Path]:
    # A mounted ConfigMap holds its files twice: once as links, once in hidden folders.
    for file in folder.iterdir():
        if file.suffix in (".yaml", ".yml") and not file.name.startswith(".") and not file.is_dir():
            yield file


def _stamp(file: Path) -> _Stamp:
    try:
        status = file.stat()  # of what a link leads to: a ConfigMap changes by turning the link ..data
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
