"""Draw previews of the dashboards: ``python -m tests.dashboards.preview --evaluated DIR --out docs/images``.

DIR holds a JSON file for each dashboard with what its queries gave: ``uid``, ``begins_s``, ``ends_s``, ``step_s``, and
``panels`` with their ``id`` and ``targets``, each target with its ``series`` as Prometheus' ``query_range`` gives them.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from dashboards.generate import generated
from tests.dashboards.preview.picture import photograph

ABOUT = "A preview, drawn from a simulated factory by tests/dashboards/preview; Grafana draws it in its own way."


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw previews of the dashboards.")
    parser.add_argument("--evaluated", type=Path, required=True, help="a folder with what the dashboards' queries gave")
    parser.add_argument("--out", type=Path, required=True, help="the folder for preview-NAME.png")
    options = parser.parse_args()
    dashboards = {path.stem: json.loads(text) for path, text in generated().items()}
    shown = [json.loads(path.read_text()) for path in sorted(options.evaluated.glob("*.json"))]
    if not shown:
        parser.error(f"{options.evaluated} holds no JSON file; write them with benchmarks/mixin.py --panels")
    with tempfile.TemporaryDirectory() as scratch:
        for path in photograph(dashboards, shown, options.out, Path(scratch), ABOUT):
            sys.stdout.write(f"{path} {path.stat().st_size // 1024} KiB\n")


if __name__ == "__main__":
    main()
