"""The data files that an installed aiops carries."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def packaged(*parts: str) -> Path:
    """Give the path of a data file or folder, such as ``packaged("policies", "profiles")``.

    The wheel carries ``policies``, ``dashboards`` and ``alerts`` under ``aiops/_data``; in a checkout they stand at the
    top of the repository, where people see them. Whether the file exists is not checked.
    """
    carried = _PACKAGE / "_data"
    return (carried if carried.is_dir() else _PACKAGE.parent).joinpath(*parts)
