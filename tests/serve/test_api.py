import sqlite3
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from aiops.act.emit import Emitter
from aiops.act.journal import Journal
from aiops.model.codec import to_plain
from aiops.serve.api import create_app
from aiops.serve.health import Health
from tests.act import evidence

NAME = evidence.CHAT.model


@pytest.fixture(scope="module")
def journal() -> Journal:
    journal = Journal.memory()
    for cycle in evidence.day(0.5):
        journal.record(cycle)
    return journal


def client_of(journal: Journal, health: Health | None = None) -> TestClient:
    emitter = Emitter("1.2.3", 15)
    newest = journal.latest()
    if newest is not None:
        emitter.record(newest, evidence.policies())
    return TestClient(create_app(journal, emitter, health or Health(15), evidence.policies))


@pytest.fixture(scope="module")
def client(journal: Journal) -> TestClient:
    return client_of(journal)


def test_models_are_those_of_the_newest_cycle(client: TestClient, journal: Journal) -> None:
    answer = client.get("/api/v1/models").json()
    newest = journal.latest()
    assert newest is not None
    assert answer["number"] == 120
    assert answer["models"] == to_plain(newest)["models"]


def test_a_model_with_a_slash_in_its_name_is_found(client: TestClient) -> None:
    for name in (NAME, quote(NAME, safe="")):
        assert client.get(f"/api/v1/models/llm/{name}").json()["model"]["ref"]["model"] == NAME


def test_an_unknown_model_names_those_that_exist(client: TestClient) -> None:
    answer = client.get("/api/v1/models/llm/nope")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == f"there is no model llm/nope; the models of the newest cycle: llm/{NAME}"


def test_cycles_are_bounded_and_newest_first(client: TestClient) -> None:
    assert [cycle["number"] for cycle in client.get("/api/v1/cycles?limit=3").json()] == [120, 119, 118]
    window = {"since": "2026-03-02T04:00:15Z", "until": "2026-03-02T04:00:30Z"}
    assert [cycle["number"] for cycle in client.get("/api/v1/cycles", params=window).json()] == [3, 2]


@pytest.mark.parametrize(
    ("which", "number"),
    [
        pytest.param("7", 7, id="by its number"),
        pytest.param("2026-03-02T04:01:40Z", 7, id="by a time after it began"),
        pytest.param("2026-03-02T04:01:40", 7, id="a time without a zone is UTC"),
        pytest.param("2026-03-02T05:01:40+01:00", 7, id="by a time in another zone"),
        pytest.param("2026-03-02T05:01:40%2B01:00", 7, id="with its plus sign escaped"),
    ],
)
def test_one_cycle_is_found(client: TestClient, which: str, number: int) -> None:
    assert client.get(f"/api/v1/cycles/{which}").json()["number"] == number


def test_a_cycle_that_the_journal_does_not_hold_is_not_found(client: TestClient) -> None:
    for which in ("99999", "9" * 40, "2020-01-01T00:00:00Z"):
        assert client.get(f"/api/v1/cycles/{which}").status_code == 404


def test_decisions_are_filtered(client: TestClient) -> None:
    every = client.get("/api/v1/decisions?limit=500").json()
    changed = client.get("/api/v1/decisions?changed=true").json()
    assert len(every) == 240
    assert changed == [told for told in every if told["changed"]]
    assert changed
    assert client.get("/api/v1/decisions?model=nope").json() == []
    assert len(client.get("/api/v1/decisions", params={"model": NAME, "namespace": "llm"}).json()) == 100


@pytest.mark.parametrize("path", ["/api/v1/cycles", "/api/v1/decisions", "/", "/fragment", "/api/v1/cycles/{}"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="nothing"),
        pytest.param("0", id="zero"),
        pytest.param("-1", id="a negative number"),
        pytest.param("9" * 400, id="a number of 400 digits"),
        pytest.param("1e309", id="beyond a float"),
        pytest.param("NaN", id="not a number"),
        pytest.param("٣", id="a digit of another script"),
        pytest.param("0001-01-01T00:00:00+14:00", id="before the first year"),
        pytest.param("9999-12-31T23:59:59-14:00", id="after the last year"),
        pytest.param("2026-13-45", id="no such day"),
        pytest.param("2026-03-02T04:00:00", id="a time without a zone"),
        pytest.param("' OR 1=1 --", id="SQL"),
        pytest.param("<script>alert(1)</script>", id="HTML"),
        pytest.param("{{ 7 * 7 }}", id="a template"),
        pytest.param("\x00", id="a NUL"),
        pytest.param("\ud83d", id="half a character"),
        pytest.param("../../etc/passwd", id="a way out"),
        pytest.param("x" * 20_000, id="very long"),
    ],
)
def test_no_input_breaks_the_server(client: TestClient, path: str, value: str) -> None:
    escaped = quote(value.encode("utf-8", "surrogatepass"), safe="")
    names = ("since", "until", "limit", "changed", "model", "namespace", "span")
    for url in [path.format(escaped), *(f"{path.format(1)}?{name}={escaped}" for name in names)]:
        answer = client.get(url)
        assert answer.status_code in (200, 404, 422), url
        if answer.status_code != 200:
            problem = answer.json()
            assert problem["status"] == answer.status_code
            assert problem["detail"]
        else:
            assert "<script>alert" not in answer.text


def test_an_unreadable_number_says_which_and_why(client: TestClient) -> None:
    answer = client.get("/api/v1/decisions?limit=many")
    assert answer.status_code == 422
    assert "query.limit" in answer.json()["detail"]


def test_another_method_is_refused_as_a_problem(client: TestClient) -> None:
    answer = client.post("/api/v1/models")
    assert (answer.status_code, answer.json()["title"]) == (405, "Method Not Allowed")


def test_before_the_first_cycle_every_answer_is_empty_and_none_is_an_error() -> None:
    client = client_of(Journal.memory())
    empty = {"at": None, "number": None, "blind": "", "models": [], "unmanaged": []}
    assert client.get("/api/v1/models").json() == empty
    assert client.get("/api/v1/cycles").json() == []
    assert client.get("/api/v1/decisions").json() == []
    assert client.get("/api/v1/models/llm/x").json()["detail"].endswith("none yet")
    assert client.get("/").status_code == 200


def test_a_journal_that_cannot_be_read_is_told_as_unavailable(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise sqlite3.OperationalError("disk I/O error")

    client = client_of(journal)
    monkeypatch.setattr(journal, "latest", broken)
    answer = client.get("/api/v1/models")
    assert answer.status_code == 503
    assert "disk I/O error" in answer.json()["detail"]


def test_the_metrics_are_in_the_text_format(client: TestClient) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "aiops_recommended_replicas{" in answer.text


def test_the_probes_follow_the_loop() -> None:
    now_s = [0.0]
    health = Health(15, clock=lambda: now_s[0])
    client = client_of(Journal.memory(), health)
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    health.cycle_ended(evidence.cycle())
    assert client.get("/readyz").status_code == 200
    now_s[0] = 1000.0
    assert (client.get("/healthz").status_code, client.get("/healthz").text) == (
        503,
        "stuck: no cycle ended for 1000 s\n",
    )


def test_the_openapi_document_describes_every_route_of_the_api(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {path for path in paths if path.startswith("/api")} == {
        "/api/v1/models",
        "/api/v1/models/{namespace}/{model}",
        "/api/v1/cycles",
        "/api/v1/cycles/{which}",
        "/api/v1/decisions",
    }
    assert client.get("/docs").status_code == 404


def test_times_of_the_api_are_utc(client: TestClient) -> None:
    at = datetime.fromisoformat(client.get("/api/v1/cycles/1").json()["at"])
    assert at == evidence.START
    assert at.tzinfo == UTC
