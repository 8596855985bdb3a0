"""Draw previews of the dashboards: ``python -m tests.dashboards.preview --evaluated FILE --out docs/images``.

FILE holds, as JSON, a list with what each dashboard's queries gave: ``uid``, ``begins_s``, ``ends_s``, ``step_s``, and
``panels`` with their ``id`` and ``targets``, each target with its ``series`` as Prometheus' ``query_range`` gives them.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from dashboards.generate import generated
from tests.dashboards.preview.picture import photograph

ABOUT = "A preview, drawn from a simulated day by tests/dashboards/preview; Grafana draws it in its own way."


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw previews of the dashboards.")
    parser.add_argument("--evaluated", type=Path, required=True, help="what the dashboards' queries gave, as JSON")
    parser.add_argument("--out", type=Path, required=True, help="the folder for preview-NAME.png")
    options = parser.parse_args()
    dashboards = {path.stem: json.loads(text) for path, text in generated().items()}
    with tempfile.TemporaryDirectory() as folder:
        for path in photograph(dashboards, json.loads(options.evaluated.read_text()), options.out, Path(folder), ABOUT):
            sys.stdout.write(f"{path} {path.stat().st_size // 1024} KiB\n")


if __name__ == "__main__":
    main()
