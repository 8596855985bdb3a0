import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aiops.simulate.tables.out_folder import OutFolder


def put(folder: Path, text: str, *, fail: bool = False) -> None:
    with OutFolder(folder) as out:
        out.file("a.csv").write_text(text)
        out.file("b.json").write_text(text)
        assert not (folder / "a.csv").exists() or (folder / "a.csv").read_text() != text
        if fail:
            raise ValueError("no")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_appear_together_at_the_end(tmp_path: Path) -> None:
    put(tmp_path / "new" / "deep", "x")
    assert names(tmp_path / "new" / "deep") == ["a.csv", "b.json"]


def test_a_failure_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"):
        put(tmp_path / "new" / "deep", "x", fail=True)
    assert names(tmp_path) == []


def test_a_failure_keeps_what_was_there(tmp_path: Path) -> None:
    put(tmp_path, "old")
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ValueError, match="no"):
        put(tmp_path, "new", fail=True)
    assert names(tmp_path) == ["a.csv", "b.json", "notes"]
    assert (tmp_path / "a.csv").read_text() == "old"
    put(tmp_path, "new")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.json").read_text() == "new"


def test_a_failure_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), OutFolder(tmp_path / "out") as out:
        out.file("no/such/folder/a.csv").write_text("")
    assert names(tmp_path) == []


def test_a_killed_run_leaves_nothing_under_a_result_s_name(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from aiops.simulate.tables.out_folder import OutFolder\n"
        "with OutFolder(Path(sys.argv[1])) as out:\n"
        "    out.file('a.csv').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert names(tmp_path) == [".a.csv.part"]
    put(tmp_path, "x")
    assert names(tmp_path) == ["a.csv", "b.json"]


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(FileExistsError):
        put(tmp_path / "out", "x")
