import pytest

from aiops.forecast.bins import GRID_POINTS, grid, span
from aiops.model.forecast import Window


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        pytest.param(Window(0.0, 0.0), (1, 1), id="now is the bin that has begun"),
        pytest.param(Window(600.0, 600.0), (10, 10), id="a point on a bin's end is that bin"),
        pytest.param(Window(601.0, 601.0), (11, 11), id="a point is the bin around it"),
        pytest.param(Window(0.0, 600.0), (1, 10), id="ten minutes are ten bins"),
        pytest.param(Window(240.0, 540.0), (5, 9), id="a window begins after its start"),
        pytest.param(Window(250.0, 500.0), (5, 9), id="a bin that is touched counts"),
        pytest.param(Window(0.0, 599.9999999), (1, 10), id="rounding moves no bin"),
    ],
)
def test_the_bins_a_window_covers(window: Window, expected: tuple[int, int]) -> None:
    assert span(window, 60.0) == expected


@pytest.mark.parametrize(("first", "last"), [(1, 1), (3, 10), (1, 30), (11, 1440)])
def test_a_grid_holds_the_ends_of_its_span_and_few_points(first: int, last: int) -> None:
    points = grid(first, last)

    assert (points[0], points[-1]) == (first, last)
    assert list(points) == sorted(set(points))
    assert len(points) == min(GRID_POINTS, last - first + 1)
