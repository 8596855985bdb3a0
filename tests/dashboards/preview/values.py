"""Numbers as Grafana's units write them, and series as its panels name them."""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

Json = dict[str, Any]
_STEPS = {
    "s": ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "watt": ((1e6, "MW"), (1e3, "kW"), (1, "W")),
    "Bps": ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1, "B/s")),
    "hertz": ((1e9, "GHz"), (1e6, "MHz"), (1e3, "kHz"), (1, "Hz")),
    "short": ((1e9, "Bil"), (1e6, "Mil"), (1e3, "K"), (1, "")),
}
_AFTER = {"reqps": "req/s", "cps": "c/s", "none": "", "m": "min"}


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """A number in a unit of Grafana's."""
    if unit == "percentunit":
        return f"{_plain(100 * value, decimals)} %"
    if unit == "currencyUSD":
        return f"${value:.2f}" if abs(value) < 100 else f"${value:,.0f}"
    if unit.startswith("suffix: "):
        return f"{_plain(value, decimals)} {unit.removeprefix('suffix: ')}"
    if unit in _STEPS:
        size, name = next(((size, name) for size, name in _STEPS[unit] if abs(value) >= size), _STEPS[unit][-1])
        return f"{_plain(value / size, decimals)} {name}".rstrip() if value else "0"
    return f"{_plain(value, decimals)} {_AFTER.get(unit, unit)}".rstrip()


def _plain(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    digits = (
        0 if abs(value) >= 100 or value == round(value) else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    )
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def name_of(legend: str, labels: Mapping[str, str]) -> str:
    """What a series is called; without a legend, by all its labels."""
    if not legend:
        return ", ".join(f"{name}={value}" for name, value in labels.items() if name != "__name__")
    return re.sub(r"{{\s*(\w+)\s*}}", lambda match: labels.get(match[1], ""), legend).strip()


def points_of(series: Json) -> list[tuple[float, float | None]]:
    """The values of a series, None where there is no number."""
    numbers = ((float(at), float(value)) for at, value in series["values"])
    return [(at, value if isfinite(value) else None) for at, value in numbers]


def last_of(series: Json) -> float | None:
    """The latest number of a series."""
    return next((value for _, value in reversed(points_of(series)) if value is not None), None)
