"""A folder of results that holds all of them or none."""

from pathlib import Path
from types import TracebackType
from typing import Self


class OutFolder:
    """Files that get their names together once the work has succeeded.

    Until then they stand beside as ``.NAME.part``. A failure removes them, and folders that were made for them; results
    of an earlier run are replaced only by whole ones. Raises OSError where the folder cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: list[str] = []
        self._made: list[Path] = []

    def file(self, name: str) -> Path:
        """Give the path to write that file at for now."""
        self._names.append(name)
        return self._part(name)

    def __enter__(self) -> Self:
        missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        self._made = missing
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            for name in self._names:
                self._part(name).replace(self.path / name)
            return
        for name in self._names:
            self._part(name).unlink(missing_ok=True)
        for folder in self._made:
            if not any(folder.iterdir()):
                folder.rmdir()

    def _part(self, name: str) -> Path:
        return self.path / f".{name}.part"
