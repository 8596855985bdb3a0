from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from aiops.simulate.load import LoadSpec
from tests.simulate.load.loads import spec

OLD = """
requestsPerS: 6
nightRatio: 0.18
peakHour: 11
rampHours: 4
fallHours: 12
inputTokens: {mean: 2500, spread: 0.7, max: 16384}
outputTokens: {mean: 600, spread: 0.6, max: 4096}
prefixShare: 0.2
warmupTokens: 2000000
"""
JOB = {"kind": "batch_job", "at": "1h", "duration": "1h", "requestsPerS": 2}
LENGTHS = {"inputTokens": {"fixed": 9000}, "outputTokens": {"fixed": 9000}}
TRACE = {"kind": "azure", "path": "a.csv"}
CLIENTS = {"trace": "a.csv", "lengths": "b.csv"}


def test_the_documents_of_before_stay_valid() -> None:
    load = LoadSpec.model_validate(yaml.safe_load(OLD))
    assert (load.requests_per_s, load.prefix_share, load.night_ratio, load.warmup_tokens) == (6, 0.2, 0.18, 2_000_000)
    assert load.longest == 16384 + 4096


@pytest.mark.parametrize(
    ("changes", "longest"),
    [
        pytest.param({}, 4400, id="prompt and answer"),
        pytest.param({"prefixes": {"tokens": 5000}}, 5401, id="a prefix longer than any prompt"),
        pytest.param({"events": [JOB | LENGTHS]}, 18_000, id="a batch job"),
        pytest.param(
            {"events": [{"kind": "agentic_burst", "at": "0s", "duration": "1h"}]}, 88_000, id="twenty times in a burst"
        ),
        pytest.param(
            {"events": [{"kind": "length_shift", "at": "0s", "inputTimes": 0.1}]}, 4400, id="shorter, but not before"
        ),
        pytest.param({"sessions": {"maxTokens": 9999}}, 9999, id="a conversation"),
    ],
)
def test_the_longest_request(changes: dict[str, Any], longest: int) -> None:
    assert spec(**changes).longest == longest


def test_only_a_recording_tells_its_longest_request() -> None:
    assert LoadSpec.model_validate({"trace": TRACE}).longest is None
    assert LoadSpec.model_validate({"clients": CLIENTS}).longest is None
    capped = {"clients": CLIENTS, "inputTokens": {"max": 100}, "outputTokens": {"max": 10}}
    assert LoadSpec.model_validate(capped).longest == 110


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"requestsPerS": None}, "needs one of requestsPerS.*none", id="no arrivals"),
        pytest.param({"trace": TRACE}, "requestsPerS and trace", id="two sources of arrivals"),
        pytest.param({"requestsPerS": None, "trace": TRACE}, "inputTokens, outputTokens cannot go", id="a sized trace"),
        pytest.param({"inputTokens": None}, "inputTokens need a mean", id="no lengths"),
        pytest.param({"outputTokens": {"max": 5}}, "outputTokens need a mean", id="a cap for lengths"),
        pytest.param({"inputTokens": {"mean": 5, "fixed": 5}}, "not mean and fixed", id="two laws"),
        pytest.param({"inputTokens": {"fixed": 5, "max": 4}}, "exceeds max", id="a fixed length above its cap"),
        pytest.param({"inputTokens": {"percentiles": {"p5": 9, "p50": 8}}}, "must not fall", id="falling percentiles"),
        pytest.param({"inputTokens": {"percentiles": {"p5": 9, "q50": 8}}}, "such as p50", id="no percentile"),
        pytest.param({"arrivals": {"cv": 2}}, "kind: gamma", id="a poisson process with a CV"),
        pytest.param({"rampHours": 20}, "exceed a day", id="more than a day"),
        pytest.param({"prefixShare": 0.1, "prefixes": {"tokens": 5}}, "either prefixShare or", id="prefixes twice"),
        pytest.param({"sessions": {"maxTokens": 50}, "prefixes": {"tokens": 50}}, "no room", id="a prefix too long"),
        pytest.param({"sessions": {"followUpTokens": {"max": 5}}}, "followUpTokens need", id="a cap for follow-ups"),
        pytest.param({"events": [{"kind": "storm", "at": "0s"}]}, "storm", id="an unknown event"),
        pytest.param({"events": [{"kind": "ramp", "at": 5, "duration": "1s", "to": 2}]}, "unit", id="no unit"),
        pytest.param({"events": [JOB | LENGTHS | {"inputTokens": {}}]}, "of a batch job need", id="a job's lengths"),
        pytest.param({"requestsPerS": None, "demand": {}}, "path of a table or windows", id="a demand of nothing"),
        pytest.param(
            {"requestsPerS": None, "nightRatio": 0.5, "demand": {"path": "a.csv"}},
            "nightRatio cannot go with demand",
            id="a day curve over a table",
        ),
        pytest.param(
            {"requestsPerS": None, "demand": {"windows": [{"at": "1s", "requestsPerS": 1}] * 2}},
            "one after the other",
            id="two windows at once",
        ),
        pytest.param({"requestsPerS": None, "clients": CLIENTS}, "can only set a max", id="clients with lengths"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        spec(**changes)


def test_a_trace_takes_batch_jobs_alone() -> None:
    LoadSpec.model_validate({"trace": TRACE, "events": [JOB | LENGTHS]})
    with pytest.raises(ValidationError, match="only batch_job"):
        LoadSpec.model_validate({"trace": TRACE, "events": [{"kind": "ramp", "at": "0s", "duration": "1s", "to": 2}]})
