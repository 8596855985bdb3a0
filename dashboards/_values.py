"""Dashboards as plain values: a dashboard's file holds these and nothing else, so what draws them can be replaced."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and the name that its series get in the legend.

    In a table the legend is the heading of its column, and ``unit`` the column's own.
    """

    expr: str
    legend: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """How the series of one legend name is drawn; a dash length of 0 is a solid line."""

    legend: str
    color: str | None = None
    width: int = 1
    dash: int = 0
    fill_below_to: str | None = None
    in_legend: bool = True


Kind = Literal["lines", "steps", "bars", "stacked", "states", "number", "ranks", "table", "heatmap"]


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel, as wide as ``width`` of 24 columns.

    ``thresholds`` are (lower bound, colour), the first bound None; ``states`` name the values of a state timeline with
    their colours. ``may_be_empty`` says why the queries of a healthy fleet may answer nothing; empty means that they
    must answer. ``repeat`` names a variable for each value of which the panel is drawn, ``drill`` the dashboard that a
    click on a series opens for its model, ``runbooks`` the alerts whose pages say what to do about what it shows. The
    unit of a heatmap is that of its vertical axis.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "lines"
    width: int = 12
    lines: tuple[Line, ...] = ()
    thresholds: tuple[tuple[float | None, str], ...] = ((None, "green"),)
    states: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    minimum: int | None = None
    maximum: int | None = None
    decimals: int | None = None
    logarithmic: bool = False
    may_be_empty: str = ""
    repeat: str | None = None
    drill: str = ""
    runbooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, each ``height`` grid units high."""

    title: str
    panels: tuple[Panel, ...]
    height: int = 8


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of the dashboard: the values of a label, a fixed list, or one value that nobody sees."""

    name: str
    label: str
    query: str
    kind: Literal["label", "list", "constant"] = "label"


@dataclass(frozen=True, slots=True)
class Annotation:
    """Marks on the time axis of every panel, where an expression answers; ``title`` and ``text`` may use labels."""

    name: str
    expr: str
    color: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard; ``uid`` is its address, and never changes."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...] = ()

    @property
    def panels(self) -> tuple[Panel, ...]:
        """The panels of all rows."""
        return tuple(panel for row in self.rows for panel in row.panels)
