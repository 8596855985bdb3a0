"""Simulated runs beside recorded ones of real vLLM servers.

python benchmarks/fidelity.py [--data FOLDER] [--only PART] [--seed N] [--picture PATH.svg]: the folder of the
shared data is AIOPS_DATA unless given. Prints JSON, and the tables on standard error. The parts:

- ``llmservingsim``: vLLM 0.19 on RTX PRO 6000, a dense model and a mixture of experts, mostly overload. The profile is
  fitted on the first half of the requests, all are simulated, the second half is scored; then whole runs. Requests
  arrive when the engine queued them (``queued``) or when the client sent them (``sent``): the former is the engine's
  clock, but leaves out that they waited for the step under way, which the simulator then adds.
- ``vllm_cpu``: vLLM 0.32 on a CPU with shared prefixes, the profile from the calibrations alone. A figure passes within
  10 % (TPOT 5 %), or within twice what the two calibrations differ by where that is more. ``--picture`` draws the
  scrapes beside the simulated gauges.
- ``vllm_logs``: an old vLLM at six load scales, the profile from the slowest: where waiting explodes.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import _fidelity_llmservingsim
import _fidelity_vllm_cpu
import _fidelity_vllm_logs
from _fidelity_picture import draw

PARTS = ("llmservingsim", "vllm_cpu", "vllm_logs")
SHORT = {"latency": "lat", "mean": "", "makespan": "end"}
FIGURES = [f"{name}_{part}" for name in ("ttft", "tpot", "latency") for part in ("mean", "p50", "p95")]


def say(text: str = "") -> None:
    print(text, file=sys.stderr, flush=True)


def row(label: str, values: list[Any], width: int = 50) -> None:
    cells = [f"{value:+.1f}" if isinstance(value, float) else str(value) for value in values]
    say(f"{label:{width}}" + "".join(f"{cell:>9}" for cell in cells))


def heads(label: str, names: list[str]) -> None:
    say()
    row(label, ["tok/s" if name == "tokens_per_s" else " ".join(_short(name)) for name in names])


def _short(name: str) -> list[str]:
    words = [SHORT.get(word, word) for word in name.split("_")]
    return [word for word in words if word]


def errors(rows: dict[str, dict[str, float]], names: list[str]) -> list[Any]:
    return [rows[name]["error_percent"] if name in rows else "" for name in names]


def llmservingsim(root: Path, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    names = [*FIGURES, "makespan"]
    for folder in sorted((root / "llmservingsim" / "RTXPRO6000").iterdir()):
        for arrival in ("queued", "sent"):
            scores = _fidelity_llmservingsim.run(folder, arrival, seed)
            found.setdefault(folder.name, {})[arrival] = scores
            heads(f"{folder.name}, {arrival}: errors in %", [*names, "tokens_per_s", "MAE"])
            for key in ("fitted_on_the_first_half", "fitted_on_the_first_half_tables_alone", "fitted_on_all"):
                cells = errors(scores[key]["all_requests"], [*names, "tokens_per_s"])
                row(f"all, {key.replace('_', ' ')}", [*cells, scores[key]["mean_absolute_error_percent"]])
            half = scores["fitted_on_the_first_half"]
            row("second half, fitted on the first", errors(half["second_half"], [*names, "tokens_per_s"]))
            for name, rows in half["second_half_by_utilization"].items():
                row(f"  {name} ({rows['requests']})", errors(rows, names[:3]))
            row("all, LLMServingSim's own", errors(scores.get("llmservingsim", {}), names))
    return found


def vllm_cpu(root: Path, picture: Path | None) -> dict[str, Any]:
    scores, seen = _fidelity_vllm_cpu.run(root / "vllm_cpu_runs")
    names = [*FIGURES, "makespan"]
    heads("vllm_cpu_runs: errors in %", [*names, "hits"])
    for name, run in scores["runs"].items():
        figures, hits = run["figures"], run["prefix_hits_percent"]
        row(name, [*errors(figures, names), hits["simulated"] - hits["real"]])
        row("  noise floor", [figures[key]["noise_floor_percent"] for key in names] + [hits["noise_floor_points"]])
        outside = [key for key in names if not figures[key]["within"]]
        say(f"  outside of 10 % (TPOT 5 %) and of the floor: {', '.join(outside) or 'none'}")
    if picture is not None:
        draw(picture, seen, "vLLM 0.32 on a CPU: what its scrapes saw, and what is simulated from the calibrations")
        say(f"drawn: {picture}")
    return scores


def vllm_logs(root: Path) -> dict[str, Any]:
    scores = _fidelity_vllm_logs.run(root / "vllm_logs")
    say("\nvllm_logs: real / simulated, learnt at scale 100")
    for scale, pair in scores["scales"].items():
        cells = [f"{key} {pair['real'][key]} / {pair['simulated'][key]}" for key in pair["real"]]
        say(f"scale {scale}: " + ", ".join(cells))
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("AIOPS_DATA"))
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--picture", type=Path, help="where to draw the CPU runs, as SVG")
    parser.add_argument("--seed", type=int, default=0, help="of the starts of a fit")
    given = parser.parse_args()
    if given.data is None or not Path(given.data).is_dir():
        print(json.dumps({"skipped": "AIOPS_DATA names no folder with the shared data"}))
        return
    root, found = Path(given.data), {}
    for part in [given.only] if given.only else PARTS:
        began = time.perf_counter()
        if part == "llmservingsim":
            found[part] = llmservingsim(root, given.seed)
        elif part == "vllm_cpu":
            found[part] = vllm_cpu(root, given.picture)
        else:
            found[part] = vllm_logs(root)
        found[part]["wall_s"] = round(time.perf_counter() - began, 1)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
