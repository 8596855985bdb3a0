"""The previews: a page that shows what the queries gave, as a real browser sees it."""

import json

import pytest

from dashboards.generate import dashboards, generated
from tests.console.browser import chromium
from tests.dashboards.asking import ENDS, ask
from tests.dashboards.emitted import STEP_S
from tests.dashboards.preview.kinds import draw
from tests.dashboards.preview.page import page, titles
from tests.dashboards.preview.picture import photograph
from tests.dashboards.preview.svg import Span
from tests.dashboards.preview.values import name_of, written

FILES = {path.stem: json.loads(text) for path, text in generated().items()}
SPAN = Span(0, 300, 60)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        pytest.param(0.0246, "s", "24.6 ms", id="milliseconds"),
        pytest.param(2.5, "s", "2.5 s", id="seconds"),
        pytest.param(5400, "s", "1.5 h", id="hours"),
        pytest.param(0.125, "percentunit", "12.5 %", id="a share"),
        pytest.param(37_800, "suffix: tok/s", "37,800 tok/s", id="tokens a second"),
        pytest.param(3.5, "reqps", "3.5 req/s", id="requests a second"),
        pytest.param(6.3, "currencyUSD", "$6.30", id="money"),
        pytest.param(4200, "watt", "4.2 kW", id="power"),
        pytest.param(1_980_000_000, "hertz", "1.98 GHz", id="a clock"),
        pytest.param(12, "short", "12", id="a count"),
        pytest.param(0, "s", "0", id="nothing"),
    ],
)
def test_a_number_is_written_in_its_unit(value, unit, text):
    assert written(value, unit) == text


def test_a_series_is_named_by_its_legend():
    assert name_of("{{pool}}: {{limit}}", {"pool": "llm/chat", "limit": "max"}) == "llm/chat: max"
    assert name_of("{{kind}} {{replica}}", {"kind": "saturation"}) == "saturation"
    assert name_of("demand", {}) == "demand"


def _panel(uid, title):
    return next(panel for panel in FILES[uid]["panels"] if panel["title"] == title)


def _target(panel, *series, ref=0):
    return {**panel["targets"][ref], "series": [{"metric": labels, "values": values} for labels, values in series]}


def _drawn(panel, *targets):
    return draw(panel, targets, SPAN, 400, 220)


def test_a_heatmap_shows_what_each_bucket_alone_holds():
    panel = _panel("aiops-model", "How TTFT is distributed")
    series = [({"le": bound}, [[0, count]]) for bound, count in (("0.5", "1"), ("1", "5"), ("+Inf", "5"))]
    drawn = _drawn(panel, _target(panel, *series))
    # 1 up to half a second, 4 up to one second, none above: two cells, the fuller one with all the colour.
    assert drawn.count("<rect") == 2
    assert 'fill-opacity="0.50"' in drawn
    assert 'fill-opacity="1.00"' in drawn
    assert ">500 ms<" in drawn
    assert ">more<" not in drawn


def test_a_state_is_one_stretch_as_long_as_it_lasts():
    panel = _panel("aiops-decisions", "Mode")
    lasting = [[at, "1"] for at in (0, 60, 120)]
    labels = {"model_name": "llama", "mode": "act"}
    assert _drawn(panel, _target(panel, (labels, lasting))).count("<rect") == 1
    assert _drawn(panel, _target(panel, (labels, [*lasting, [300, "1"]]))).count("<rect") == 2


def test_a_table_has_a_line_for_each_model_and_a_unit_for_each_column():
    panel = _panel("aiops-fleet", "Models at a glance")
    refs = [target["legendFormat"] for target in panel["targets"]]
    first = _target(panel, ({"model_name": "llama"}, [[300, "0.25"]]), ref=refs.index("TTFT p95"))
    ready = [({"model_name": name}, [[300, value]]) for name, value in (("llama", "3"), ("qwen", "2"))]
    targets = [first, _target(panel, *ready, ref=refs.index("Ready"))]
    drawn = _drawn(panel, *targets)
    assert [drawn.count(f">{text}<") for text in ("llama", "qwen", "250 ms", "3", "2")] == [1, 1, 1, 1, 1]


def test_a_panel_without_series_says_so():
    panel = _panel("aiops-cache", "Life of a KV block")
    assert "No data" in _drawn(panel, *(_target(panel, ref=ref) for ref in range(2)))


@pytest.fixture(scope="module")
def shown(two_hours):
    """What the queries of the dashboard of decisions gave, as `python -m tests.dashboards.preview` reads it."""
    panels = [panel for panel in FILES["aiops-decisions"]["panels"] if panel["type"] != "row"]
    return {
        "uid": "aiops-decisions",
        "begins_s": ENDS.timestamp() - 3600,
        "ends_s": ENDS.timestamp(),
        "step_s": STEP_S,
        "panels": [
            {
                "id": panel["id"],
                "targets": [target | {"series": ask(two_hours, target["expr"])} for target in panel["targets"]],
            }
            for panel in panels
        ],
    }


@pytest.mark.real
def test_the_page_shows_every_panel_in_its_place_and_nothing_breaks(shown, tmp_path):
    dashboard = FILES["aiops-decisions"]
    file = tmp_path / "page.html"
    file.write_text(page(dashboard, shown, "drawn in a test"))
    with chromium(tmp_path) as tab:
        tab.open(file.as_uri())
        headings = tab.evaluate("[...document.querySelectorAll('h2, h3')].map(one => one.textContent)")
        empty = tab.evaluate("[...document.querySelectorAll('.none')].map(one => one.closest('section').innerText)")
        lines = tab.evaluate("document.querySelectorAll('.stroke').length")
        assert headings == list(titles(dashboard))
        assert empty == []
        assert lines > len(headings)
        assert tab.troubles == []
        assert [url for url in tab.requests if not url.startswith("file:")] == []


@pytest.mark.real
def test_a_picture_is_small_enough_for_a_page_of_documentation(shown, tmp_path):
    (picture,) = photograph(FILES, [shown], tmp_path / "out", tmp_path, "drawn in a test")
    assert picture.name == "preview-decisions.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert 20_000 < picture.stat().st_size < 300_000


def test_every_dashboard_has_a_kind_of_panel_that_can_be_drawn():
    kinds = {panel.kind for dashboard in dashboards() for panel in dashboard.panels}
    assert kinds == {"lines", "steps", "bars", "stacked", "states", "number", "ranks", "table", "heatmap"}
