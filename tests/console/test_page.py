import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from aiops.act.emit import Emitter
from aiops.act.journal import Journal
from aiops.model.cycle import Cycle, FleetSummary
from aiops.model.decision import Outcome, Victim
from aiops.model.policy import Mode, PolicySet
from aiops.model.refs import ModelRef
from aiops.serve.api import create_app
from aiops.serve.health import Health
from aiops.serve.server import Server
from tests.act import evidence
from tests.console.browser import Tab, chromium
from tests.parts import wait_for


def journal_of(*cycles: Cycle) -> Journal:
    journal = Journal.memory()
    for cycle in cycles:
        journal.record(cycle)
    return journal


def page(journal: Journal, query: str = "", health: Health | None = None, mode: Mode = Mode.ACT) -> str:
    app = create_app(
        journal, Emitter("1", 15), health or Health(15), lambda: evidence.policies(mode), title="simulated factory"
    )
    answer = TestClient(app).get(f"/{query}")
    assert answer.status_code == 200
    return answer.text


def test_the_page_shows_demand_objectives_replicas_and_why() -> None:
    text = page(journal_of(*evidence.day(0.5), evidence.cycle(evidence.START + timedelta(hours=1), 121)))
    for shown in (
        evidence.CHAT.model,
        "37.8k tok/s",
        "objective 2.5 s",
        "over",
        "chat-70b-prefill replicas",
        "The policy limits how many replicas may be added at once.",
        "would add 1 above 32.8 k prompt tok/s; now 37.8 k",
        "missing",
        "84 USD/h paid",
        "Forecast 10 min ahead: off by 8.1 % on average, 24 % better than repeating the last value",
    ):
        assert shown in text, shown


def test_the_runbook_that_an_alert_leads_to_is_there_and_no_other_file_is() -> None:
    app = create_app(journal_of(), Emitter("1", 15), Health(15), evidence.policies, title="simulated factory")
    found = TestClient(app).get("/runbook/AiopsBlind")
    assert found.text.startswith("# AiopsBlind\n")
    assert found.headers["content-type"] == "text/plain; charset=utf-8"
    for wrong in ("Nothing", "..%2Faiops.rules.yaml", "AiopsBlind.md"):
        assert TestClient(app).get(f"/runbook/{wrong}").status_code == 404


def test_a_blind_cycle_is_shown_loudly_and_no_number_is_made_up() -> None:
    seen = evidence.cycle()
    text = page(journal_of(seen, evidence.blind_cycle(seen.at + timedelta(seconds=15), 2, "Prometheus <down>")))
    assert "Blind: replicas are held" in text
    assert "Prometheus &lt;down&gt;" in text
    assert '<dd class="value">–</dd>' in text


def test_before_the_first_cycle_the_page_says_so() -> None:
    assert "No cycles yet" in page(Journal.memory())


def test_a_run_without_policies_names_what_is_served() -> None:
    text = page(journal_of(Cycle(evidence.START, 1, unmanaged=(ModelRef("dev", "facebook/opt-125m"),))))
    assert "No policy, no plan" in text
    assert "dev/facebook/opt-125m" in text


def test_a_loop_that_stopped_is_told() -> None:
    now_s = [0.0]
    health = Health(15, clock=lambda: now_s[0])
    health.cycle_ended(evidence.cycle())
    now_s[0] = 600.0
    text = page(journal_of(evidence.cycle()), health=health)
    assert "The loop has stopped" in text
    assert "No cycle has ended for 10 min" in text


def test_in_observe_mode_nothing_is_said_to_be_asked() -> None:
    text = page(journal_of(evidence.cycle(mode=Mode.OBSERVE)), mode=Mode.OBSERVE)
    assert "plans and shows, changes nothing" in text
    assert "Recommended" in text
    assert "asked" not in text


def test_findings_come_with_their_evidence_and_the_next_step() -> None:
    text = page(journal_of(evidence.troubled(evidence.cycle())))
    for shown in ("86 % sure", "more replicas would not help", "KV cache of the fullest 97 % against 31 %", "absent"):
        assert shown in text, shown


def test_the_switch_is_shown_loudly_and_the_bound_with_what_is_left_of_it() -> None:
    seen = evidence.cycle()
    plain = page(journal_of(seen))
    off = page(journal_of(replace(seen, fleet=FleetSummary(writes_off=True, removed=3, may_remove=2))))
    assert "Writing is switched off" in off
    assert "3 replicas of the fleet went within the last hour; 2 more may." in off
    assert "switched off" not in plain
    assert "of the fleet" not in plain


def test_replicas_without_a_node_are_shown_with_what_they_wait_for() -> None:
    seen = evidence.cycle()
    (first, *others) = seen.models[0].pools
    told = replace(first, starting=3, unplaced=2, unplaced_reason="waiting for nvidia.com/gpu: 4")
    text = page(journal_of(replace(seen, models=(replace(seen.models[0], pools=(told, *others)),))))
    assert "2 waiting for nvidia.com/gpu: 4" in text


def test_a_decision_shows_which_replicas_cost_least_to_lose() -> None:
    seen = evidence.cycle()
    (first, *others) = seen.models[0].decisions
    told = replace(first, victims=(Victim("decode-x", starting=False, requests=2.0, prefix_s=1.5),))
    text = page(journal_of(replace(seen, models=(replace(seen.models[0], decisions=(told, *others)),))))
    assert "decode-x has 2 requests and 1.5 s of prefixes" in text


def test_what_came_of_a_decision_is_shown() -> None:
    journal = journal_of(evidence.cycle())
    journal.outcome(Outcome(evidence.DECODE, evidence.START, 8, applied=True))
    journal.outcome(Outcome(evidence.PREFILL, evidence.START, 4, applied=False, error="409: the object was modified"))
    text = page(journal)
    assert ">applied<" in text
    assert ">refused<" in text
    assert "409: the object was modified" in text


def test_one_of_several_models_is_chosen_by_its_name_and_a_wrong_name_is_told() -> None:
    seen = evidence.cycle()
    other = replace(seen.models[0], ref=ModelRef("rag", 'x"><script>alert(1)</script>'), decisions=(), pools=())
    journal = journal_of(replace(seen, models=(seen.models[0], other)))
    assert 'aria-labelledby="model-name"' in page(journal)
    chosen = page(journal, '?model=rag/x"><script>alert(1)</script>')
    assert '<h1 id="model-name">x&#34;&gt;&lt;script&gt;' in chosen
    assert "<script>alert" not in chosen
    assert "There is no model llm/nope." in page(journal, "?model=llm/nope")


def test_a_model_without_a_policy_any_more_is_still_shown() -> None:
    app = create_app(journal_of(evidence.cycle()), Emitter("1", 15), Health(15), PolicySet)
    assert TestClient(app).get("/").status_code == 200


def test_no_address_leads_to_another_host_and_the_browser_is_told_to_follow_none() -> None:
    app = create_app(journal_of(evidence.cycle()), Emitter("1", 15), Health(15), evidence.policies)
    client = TestClient(app)
    answer = client.get("/")
    addresses = re.findall(r'(?:href|src|action)="([^"]*)"', answer.text)
    assert len(addresses) > 8
    assert [address for address in addresses if ":" in address.split("?")[0] or address.startswith("//")] == []
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    for address in {address for address in addresses if not address.startswith("?")}:
        assert client.get(f"/{address.removeprefix('./')}").status_code == 200, address
    assert "style=" not in answer.text


@pytest.fixture(scope="module")
def journal() -> Journal:
    return journal_of(*evidence.day(8))


@pytest.fixture(scope="module")
def url(journal: Journal) -> Iterator[str]:
    newest = journal.latest()
    assert newest is not None
    health = Health(3600)
    health.cycle_ended(newest)
    app = create_app(journal, Emitter("1", 15), health, evidence.policies)
    with Server(app, port=0) as server:
        yield f"{server.url}/"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(Path(tmp_path_factory.mktemp("browser"))) as tab:
        yield tab


@pytest.mark.real
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_all_of_it_without_complaint(
    tab: Tab, url: str, journal: Journal, width: int, scheme: str
) -> None:
    tab.open(url, width, scheme)
    told = journal.decisions(changed_only=True, limit=25)
    assert tab.evaluate("document.querySelectorAll('details.decision').length") == len(told) > 5
    assert tab.evaluate("document.querySelectorAll('figure svg.plot path.demand').length") == 2
    assert tab.evaluate("document.querySelector('svg.plot').getBoundingClientRect().height") > 150
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 15, 19)"
    assert dark == (scheme == "dark")
    assert tab.troubles == []
    assert {address.split("/")[2] for address in tab.requests} == {url.split("/")[2]}


@pytest.mark.real
def test_a_decision_opens_by_key_and_stays_open_and_focused_while_the_page_renews(
    tab: Tab, url: str, journal: Journal
) -> None:
    tab.open(url)
    before = tab.evaluate("document.querySelectorAll('details.decision').length")
    tab.evaluate("document.querySelectorAll('details.decision summary')[1].focus()")
    tab.press("Enter", 13)
    key = tab.evaluate("document.querySelector('details[open]').dataset.key")
    newest = journal.latest()
    assert newest is not None
    journal.record(evidence.cycle(newest.at + timedelta(seconds=15), newest.number + 1))
    wait_for(
        lambda: tab.evaluate("document.querySelectorAll('details.decision').length") > before,
        "the new decisions show up",
    )
    assert tab.evaluate("[...document.querySelectorAll('details[open]')].map((each) => each.dataset.key)") == [key]
    assert tab.evaluate("document.activeElement.closest('details').dataset.key") == key


@pytest.mark.real
def test_a_server_that_is_gone_is_told(tab: Tab, journal: Journal) -> None:
    health = Health(3600)
    with Server(create_app(journal, Emitter("1", 15), health, evidence.policies), port=0) as server:
        tab.open(f"{server.url}/")
        assert tab.evaluate("document.body.classList.contains('lost')") is False
    wait_for(lambda: tab.evaluate("document.body.classList.contains('lost')"), "the page says that it is cut off")
