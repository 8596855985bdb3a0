"""Write the dashboards as JSON: each ``NAME.dashboard.py`` beside this file becomes ``json/aiops-NAME.json``.

``python dashboards/generate.py`` writes them, ``--check`` says which are out of date, ``--out DIR`` writes elsewhere.
"""

import argparse
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))  # `dashboards` is found from wherever this file is run

from dashboards._panels import render  # noqa: E402  # the line above makes it findable
from dashboards._values import Dashboard  # noqa: E402


def dashboards() -> tuple[Dashboard, ...]:
    """Read the dashboards' files, in the order of their names."""
    return tuple(_load(path) for path in sorted(HERE.glob("*.dashboard.py")))


def generated(folder: Path = HERE / "json") -> dict[Path, str]:
    """Give the text of each file that is generated here, under its path in ``folder``."""
    return {folder / f"{dashboard.uid}.json": render(dashboard) for dashboard in dashboards()}


def generate(folder: Path) -> tuple[Path, ...]:
    """Write the dashboards into a folder, which is made where it is missing; give the paths written."""
    files = generated(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return tuple(files)


def _load(path: Path) -> Dashboard:
    # The dot in NAME.dashboard.py is no package, so an import statement cannot name the file.
    spec = spec_from_file_location(f"dashboards.{path.name.removesuffix('.dashboard.py')}_dashboard", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    dashboard: Dashboard = module.DASHBOARD
    return dashboard


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files; the exit code is 1 where a check finds one out of date."""
    parser = argparse.ArgumentParser(description="Write the Grafana dashboards as JSON.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is out of date")
    parser.add_argument("--out", type=Path, default=HERE / "json", help="the folder to write to")
    options = parser.parse_args(arguments)
    if not options.check:
        for path in generate(options.out):
            print(path)
        return 0
    stale = [path for path, text in generated(options.out).items() if not path.is_file() or path.read_text() != text]
    for path in stale:
        print(f"{path} is out of date; run python dashboards/generate.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
