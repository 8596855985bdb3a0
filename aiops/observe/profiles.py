"""Capacity profiles as files: those that ship with aiops, and people's own beside the file that names them."""

from pathlib import Path

from aiops.model.profile import CapacityProfile
from aiops.observe.file_schema import check, nearest
from aiops.observe.marked_yaml import Problem, read_documents
from aiops.observe.packaged import packaged


def profile_file(name: str, folder: Path) -> Path:
    """Find the file of a profile: a shipped one's name, or a path (it ends in .yaml or .yml) relative to ``folder``.

    Raises LookupError that names the nearest shipped one. Whether a path exists is not checked.
    """
    if name.endswith((".yaml", ".yml")):
        return folder / name
    shipped = {file.stem: file for file in sorted(packaged("policies", "profiles").glob("*.yaml"))}
    if name not in shipped:
        raise LookupError(f"no shipped profile is called {name!r}, and a path ends in .yaml{nearest(name, shipped)}")
    return shipped[name]


def read_profile(file: Path) -> tuple[CapacityProfile | None, tuple[Problem, ...]]:
    """Read a profile; None and everything that is wrong where it cannot be used."""
    documents, problems = read_documents(file)
    if len(documents) > 1:
        problems += (Problem(file, f"a profile is one document, and this file holds {len(documents)}"),)
    if len(documents) != 1:
        return None, problems
    profile, misfits = check(CapacityProfile, documents[0], documents[0].value)
    return profile, problems + misfits
