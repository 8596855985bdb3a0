"""A factory as a file, with the profiles that it names."""

from pathlib import Path

from aiops.cli.shell import CommandError
from aiops.model.profile import CapacityProfile
from aiops.observe.file_schema import check
from aiops.observe.marked_yaml import Document, Problem, read_documents
from aiops.observe.profiles import profile_file, read_profile
from aiops.simulate.spec import FactorySpec

Profiles = dict[str, CapacityProfile]


def factory_from(file: Path) -> tuple[tuple[FactorySpec, ...], Profiles]:
    """Read the models of a factory, a YAML document each, and the profiles of their pools by the names given there.

    Raises CommandError with everything that is wrong, line by line.
    """
    documents, found = read_documents(file)
    problems = list(found)
    specs: list[FactorySpec] = []
    profiles: Profiles = {}
    for document in documents:
        spec, misfits = check(FactorySpec, document, document.value)
        problems += misfits
        if spec is not None:
            specs.append(spec)
            problems += _profiles(spec, document, profiles)
    if problems:
        raise CommandError("the factory cannot be used", problems=tuple(map(str, problems)))
    return tuple(specs), profiles


def _profiles(spec: FactorySpec, document: Document, profiles: Profiles) -> list[Problem]:
    problems: list[Problem] = []
    for place, pool in enumerate(spec.pools):
        if pool.profile in profiles:
            continue
        try:
            profile, found = read_profile(profile_file(pool.profile, document.file.parent))
        except LookupError as error:
            problems.append(document.problem(("pools", place, "profile"), str(error)))
            continue
        problems += found
        if profile is not None:
            profiles[pool.profile] = profile
    return problems
