"""Forecasters of other packages, installed as pip would install them."""

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiops.forecast import MEMBERS, empty_series, ensemble
from aiops.forecast.plugged import Plugged
from aiops.model.forecast import Window
from aiops.observe.forecasters import GROUP, ForecasterError, installed_forecasters
from aiops.observe.policies import PolicyError, read_policies
from tests.observe.policy_texts import GOOD as POLICY

GOOD = """
class Seven:
    name, expected_error_ratio, catches_up = "seven", 0.5, False
    def learn(self, state, value, at_s, bin_s, history): return (7.0,)
    def moved(self, state, ratio): return state
    def path(self, state, at_s, bin_s, ahead, history): return state * len(ahead) if state else None
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def installed(code: str, value: str = "brought:Seven") -> None:
        (tmp_path / "brought.py").write_text(textwrap.dedent(code))
        about = tmp_path / "brought-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{GROUP}]\nmine = {value}\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    installed_forecasters.cache_clear()
    yield installed
    sys.modules.pop("brought", None)
    installed_forecasters.cache_clear()


def test_an_installed_forecaster_is_a_member_like_any_other(install: Callable[..., None], tmp_path: Path) -> None:
    install(GOOD)
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)

    others = read_policies([policy]).forecasters
    learner = ensemble(None, others)
    state, window = empty_series(600.0), Window(600.0, 600.0)
    for i in range(1, 30):
        state = learner.learn(state, 600.0 * i, 7.0 + i % 2, (window,))

    assert [member.name for member in learner.members] == [*(member.name for member in MEMBERS), "seven"]
    assert dict(state.members)["seven"] == (7.0,)


@pytest.mark.parametrize(
    ("code", "value", "why"),
    [
        pytest.param("1 / 0", "brought:Seven", "ZeroDivisionError", id="a module that fails"),
        pytest.param(GOOD, "brought:Eight", "AttributeError", id="a name that is not there"),
        pytest.param("class Seven: name = 'x'", "brought:Seven", "no Forecaster", id="no forecaster"),
        pytest.param(GOOD.replace("def path", "def walk"), "brought:Seven", "no Forecaster", id="a part missing"),
        pytest.param(GOOD.replace('"seven"', '"arima"'), "brought:Seven", "'arima' is taken", id="a name of ours"),
    ],
)
def test_one_that_cannot_be_used_is_named_with_the_way_out(
    install: Callable[..., None], tmp_path: Path, code: str, value: str, why: str
) -> None:
    install(code, value)
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)

    with pytest.raises(ForecasterError, match=why):
        installed_forecasters()
    with pytest.raises(PolicyError, match="mend or uninstall the package"):
        read_policies([policy])


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("return [float('nan')] * len(ahead)", id="not a number"),
        pytest.param("return [-1.0] * len(ahead)", id="less than nothing"),
        pytest.param("return [1.0]", id="too few"),
        pytest.param("raise RuntimeError('the model does not answer')", id="a failure"),
    ],
)
def test_a_member_that_misbehaves_has_no_opinion(path: str) -> None:
    space: dict[str, type] = {}
    exec(GOOD.replace("return state * len(ahead) if state else None", path), space)  # noqa: S102  # our own text
    member = Plugged(space["Seven"]())
    learner = ensemble(None, (space["Seven"](),))
    state = learner.learn(empty_series(600.0), 600.0, 7.0, (Window(600.0, 600.0),))

    assert member.path((7.0,), 600.0, 600.0, (1, 2), state.history) is None
    assert dict(state.members)["seven"] == (7.0,)
