import csv
import gzip
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from aiops.simulate.load import Load, LoadSpec
from aiops.simulate.requests import PS, RequestBatch
from tests.parts import shared_data
from tests.simulate.load.loads import START, check, drawn, rate, within

TRACE = "client,t_s,rate_rps,cv,dist,arg1,arg2\n"
LENGTHS = "client,t_s,field,mean,p5,p25,p50,p75,p90,p95,p99\n"
SIZES = "0,0,text_tokens,330,100,200,300,400,500,600,900\n0,0,output_tokens,66,20,40,60,80,100,120,180\n"


def clients(folder: Path, trace: str, lengths: str = SIZES, **changes: object) -> LoadSpec:
    (folder / "trace.csv").write_text(TRACE + trace)
    (folder / "lengths.csv").write_text(LENGTHS + lengths)
    files = {"trace": str(folder / "trace.csv"), "lengths": str(folder / "lengths.csv")}
    load = {name: changes.pop(name) for name in ("events", "inputTokens", "prefixShare") if name in changes}
    return LoadSpec.model_validate({"clients": files | changes, **load})


@pytest.mark.parametrize(
    ("family", "cv"),
    [
        pytest.param("Gamma", 0.5, id="a regular client"),
        pytest.param("Gamma", 5.0, id="a bursty client"),
        pytest.param("Weibull", 2.0, id="a Weibull client"),
    ],
)
def test_a_client_has_the_rate_and_the_cv_of_its_window(tmp_path: Path, family: str, cv: float) -> None:
    rows = [f"0,{600 * window},{10 if window % 2 else 40},{cv},{family},1,1\n" for window in range(10)]
    batch = drawn(clients(tmp_path, "".join(rows)), 6000)
    check(batch)
    for window in range(10):
        assert within(batch, 600 * window, 600 * window + 600).sum() == (6000 if window % 2 else 24_000)
    cvs = [gap_cv(batch.arrival_ps[within(batch, 600 * window, 600 * window + 600)]) for window in range(0, 10, 2)]
    assert np.mean(cvs) == pytest.approx(cv, rel=0.1)


def gap_cv(arrival_ps: np.ndarray) -> float:
    gaps = np.diff(arrival_ps)
    return float(gaps.std() / gaps.mean())


def test_rare_requests_come_at_any_time_of_their_window(tmp_path: Path) -> None:
    rows = [f"{client},0,{1 / 600},8,Gamma,0.016,1\n" for client in range(2000)]
    batch = drawn(clients(tmp_path, "".join(sorted(rows))), 600)
    assert len(batch) == 2000
    assert np.histogram(batch.arrival_ps / PS, 10, (0, 600))[0] == pytest.approx([200] * 10, abs=4 * np.sqrt(200))


def test_lengths_follow_the_percentiles_and_the_mean(tmp_path: Path) -> None:
    batch = drawn(clients(tmp_path, "0,0,100,1,Gamma,1,1\n"), 600)
    assert np.percentile(batch.prompt_tokens, [5, 25, 50, 75, 95, 99]) == pytest.approx(
        [100, 200, 300, 400, 600, 900], rel=0.03
    )
    assert batch.prompt_tokens.mean() == pytest.approx(330, rel=0.02)
    assert batch.output_tokens.mean() == pytest.approx(66, rel=0.02)


def test_a_prompt_is_all_that_goes_in(tmp_path: Path) -> None:
    image = "0,0,image_tokens,1000,1000,1000,1000,1000,1000,1000,1000\n0,0,audio_tokens,0,0,0,0,0,0,0,0\n"
    batch = drawn(clients(tmp_path, "0,0,100,1,Gamma,1,1\n", SIZES + image), 600)
    assert batch.prompt_tokens.mean() == pytest.approx(1330, rel=0.01)
    assert batch.prompt_tokens.min() > 1000


def test_a_client_of_unknown_lengths_is_like_the_others(tmp_path: Path) -> None:
    alone = drawn(clients(tmp_path, "0,0,50,1,Gamma,1,1\n"), 600)
    batch = drawn(clients(tmp_path, "0,0,50,1,Gamma,1,1\n9,0,50,1,Gamma,1,1\n"), 600)
    assert len(batch) == 2 * len(alone)
    assert batch.prompt_tokens.mean() == pytest.approx(alone.prompt_tokens.mean(), rel=0.02)


def test_scale_events_prefixes_and_caps_apply_to_all(tmp_path: Path) -> None:
    rows = "0,0,10,1,Gamma,1,1\n0,600,10,1,Gamma,1,1\n"
    events = [
        {"kind": "flash_crowd", "at": "5m", "duration": "5m", "times": 3},
        {"kind": "length_shift", "at": "10m", "inputTimes": 2},
    ]
    load = clients(tmp_path, rows, scale=5, events=events, inputTokens={"max": 400}, prefixShare=0.5)
    batch = drawn(load, 1200)
    assert rate(batch, 0, 300) == pytest.approx(50, rel=0.05)
    assert rate(batch, 300, 600) == pytest.approx(150, rel=0.05)
    assert batch.prompt_tokens[within(batch, 0, 600)].max() == 400
    assert batch.prompt_tokens[within(batch, 600, 1200)].max() == 800
    assert batch.piece_tokens.sum() / batch.prompt_tokens.sum() == pytest.approx(0.5, rel=0.02)


def test_a_load_begins_within_the_table(tmp_path: Path) -> None:
    rows = "0,0,10,1,Gamma,1,1\n0,600,40,1,Gamma,1,1\n"
    batch = drawn(clients(tmp_path, rows, **{"from": "5m"}), 3600)
    assert rate(batch, 0, 300) == pytest.approx(10, rel=0.1)
    assert within(batch, 300, 900).sum() == 24_000
    assert not within(batch, 900, 3600).any()


@pytest.mark.parametrize(
    ("trace", "lengths", "said"),
    [
        pytest.param("0,0,10,1,Pareto,1,1\n", SIZES, "not \\['Pareto'\\]", id="another family"),
        pytest.param("0,0,0,0,,0,0\n", SIZES, "where there are requests", id="no requests at all"),
        pytest.param("0,0,10,1,Gamma,1,1\n", SIZES.splitlines()[0] + "\n", "no output_tokens", id="no answers"),
    ],
)
def test_what_is_no_table_of_clients_is_refused(tmp_path: Path, trace: str, lengths: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Load(clients(tmp_path, trace, lengths), 1, "a", START)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    load = clients(tmp_path, "")
    (tmp_path / "trace.csv").write_text("client,t_s,rate_rps\n")
    with pytest.raises(ValueError, match="no column cv or dist"):
        Load(load, 1, "a", START)


# ServeGen's own tables


def servegen(model: str) -> dict[str, str]:
    return {
        "trace": str(shared_data("servegen", f"{model}_clients_trace.csv.gz")),
        "lengths": str(shared_data("servegen", f"{model}_clients_lengths.csv.gz")),
    }


@pytest.mark.parametrize(
    ("model", "seconds", "tokens_within"),
    [
        pytest.param("mm-image", 43_200, 0.02, id="half a day of the multimodal model"),
        pytest.param("m-large", 7200, 0.05, id="two hours of the chat model"),
    ],
)
def test_the_clients_together_are_the_models_demand(model: str, seconds: int, tokens_within: float) -> None:
    batch = drawn(LoadSpec.model_validate({"clients": servegen(model)}), seconds)
    check(batch)
    with shared_data("servegen", f"{model}_10min.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if float(row["t_s"]) < seconds]
    requests = [float(row["req_per_s"]) for row in rows]
    came = [rate(batch, float(row["t_s"]), float(row["t_s"]) + 600) for row in rows]
    assert came == pytest.approx(requests, rel=0.005, abs=0.01)
    for column, of_batch in (("input_tok_per_s", batch.prompt_tokens), ("output_tok_per_s", batch.output_tokens)):
        wanted = sum(float(row[column]) for row in rows) * 600
        assert of_batch.sum() == pytest.approx(wanted, rel=tokens_within)


@pytest.mark.parametrize("family", ["Gamma", "Weibull"])
def test_real_clients_have_the_cv_of_their_windows(tmp_path: Path, family: str) -> None:
    drawn_over_recorded = []
    for client, rows in busy_clients(family).items():
        load = clients(tmp_path, "".join(",".join(row) + "\n" for row in rows))
        batch = drawn(load, 21_600, seed=client)
        drawn_over_recorded += [
            gap_cv(window_of(batch, float(row[1]))) / float(row[3]) for row in rows if row[4] == family
        ]
    assert len(drawn_over_recorded) > 30
    # A sample's CV is below its law's, the more the heavier the tail.
    assert np.median(drawn_over_recorded) == pytest.approx(1 if family == "Gamma" else 0.9, abs=0.1)


def busy_clients(family: str) -> dict[int, list[list[str]]]:
    """The first six hours of clients with 600 requests a window or more, where they have some of that family."""
    rows = defaultdict(list)
    with gzip.open(shared_data("servegen", "m-large_clients_trace.csv.gz"), "rt") as file:
        for row in csv.reader(file):
            if row[0] != "client" and float(row[1]) < 21_600 and float(row[2]) >= 1:
                rows[int(row[0])].append(row)
    of_family = {client: sum(row[4] == family for row in its) for client, its in rows.items()}
    most = sorted(rows, key=lambda client: -of_family[client])[:5]
    return {client: rows[client] for client in most}


def window_of(batch: RequestBatch, begin_s: float) -> np.ndarray:
    return batch.arrival_ps[within(batch, begin_s, begin_s + 600)]
