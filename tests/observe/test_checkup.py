"""What a checkup finds through a real Prometheus: each trouble in a namespace of its own."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from aiops.model.checkup import Checkup, Finding, Topic, Verdict
from aiops.model.policy import PolicySet, ScalingPolicy, Variant
from aiops.model.profile import CapacityProfile
from aiops.model.snapshot import SignalState
from aiops.observe.checkup import judge
from aiops.observe.checkup.ask_prometheus import ask_prometheus
from aiops.observe.checkup.facts import Facts
from aiops.observe.observer import PrometheusObserver
from aiops.observe.prometheus import PrometheusAccess, PrometheusClient
from tests import parts
from tests.observe.scenarios import POD_B, POD_C, recorded
from tests.observe.world import engine_page, exporter, policy, target

pytestmark = [pytest.mark.real, pytest.mark.slow]

GONE_S, PAST_S = 2 * 3600, 3 * 3600
# Buckets in which one request in fifty takes more than 160 s and less than 320 s.
SLOW = {"10": 0.5, "160": 0.98, "320": 1.0, "+Inf": 1.0}


def history(now_s: int) -> str:
    """A past of engines: scraped every 90 and every 30 s until now, and gone for two hours."""
    scraped = {
        "minutes": range(now_s - 905, now_s, 90),
        "halves": range(now_s - 905, now_s, 30),
        "gone": range(now_s - PAST_S, now_s - GONE_S, 15),
    }
    lines = []
    for name in ("vllm:num_requests_running", "vllm:num_requests_waiting"):
        lines.append(f"# TYPE {name} gauge")
        lines += [f"{name}{_labels(place)} 2 {at_s}" for place, moments in scraped.items() for at_s in moments]
    lines.append("# TYPE vllm:num_preemptions counter")
    lines += [f"vllm:num_preemptions_total{_labels('halves')} 2 {at_s}" for at_s in scraped["gone"]]
    lines.append("# TYPE vllm:e2e_request_latency_seconds histogram")
    for at_s in scraped["halves"]:
        count = (at_s - scraped["halves"].start) // 3
        for le, share in SLOW.items():
            more = f',le="{le}"'
            lines.append(f"vllm:e2e_request_latency_seconds_bucket{_labels('halves', more)} {count * share:.0f} {at_s}")
        lines.append(f"vllm:e2e_request_latency_seconds_count{_labels('halves')} {count} {at_s}")
    return "\n".join([*lines, "# EOF", ""])


def _labels(namespace: str, more: str = "") -> str:
    return f'{{namespace="{namespace}",pod="{POD_B}",instance="a",model_name="m",engine="0"{more}}}'


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("checkup")
    past = folder / "past.om"
    past.write_text(history(int(datetime.now(UTC).timestamp())))
    with exporter() as served:
        served.pages |= {
            "sane": recorded("light"),
            "old": recorded("light|old"),
            "exported": engine_page(namespace="exported", pod=POD_B),
            "bare": engine_page(running=1),
            "dead": None,
            "aiops": 'aiops_desired_replicas{namespace="sane",pool="sane/chat"} 3\n',
            "ksm": 'kube_pod_owner{namespace="sane",pod="a",owner_kind="ReplicaSet",owner_name="r"} 1\n',
            "router": 'inference_objective_request_total{model_name="tiny/llama",target_model_name="tiny/llama"} 1\n',
        }
        pod_b, pod_c = {"pod": POD_B}, {"pod": POD_C}
        targets = [
            target(served.port, "sane", namespace="sane", **pod_b),
            target(served.port, "old", namespace="old", **pod_b),
            target(served.port, "exported", namespace="monitoring", **pod_c),
            target(served.port, "bare", namespace="bare", **pod_b),
            target(served.port, "bare", namespace="half", **pod_b),
            target(served.port, "dead", namespace="half", **pod_c),
            target(served.port, "bare", namespace="twice", cluster="a", **pod_b),
            target(served.port, "bare", namespace="twice", cluster="b", **pod_b),
            target(served.port, "dead", namespace="dead", **pod_b),
            target(served.port, "dead", namespace="sane", pod="router-0"),
            target(served.port, "aiops", namespace="monitoring", pod="aiops-0"),
            target(served.port, "ksm", namespace="monitoring", pod="ksm-0"),
            target(served.port, "router", namespace="sane", pod="router-1"),
        ]
        job: dict[str, object] = {"job_name": "all", "static_configs": targets}
        with parts.prometheus(folder / "prometheus", [job], history=[past]) as found:
            counted = quote('count_over_time(vllm:num_requests_running{namespace="sane"}[1m]) > 5')
            query = f"{found}/api/v1/query?query={counted}"
            parts.wait_for(lambda: '"value"' in parts.http_text(query), "all are scraped some times")
            yield found


def look(
    url: str, namespace: str, shipped: dict[str, CapacityProfile] | None = None, *, window_s: float = 10, **spec: object
) -> Checkup:
    return check(url, policy(namespace, **spec), shipped, window_s)


def check(
    url: str, one: ScalingPolicy, shipped: dict[str, CapacityProfile] | None = None, window_s: float = 10
) -> Checkup:
    profile = None if shipped is None else shipped["llama-8b-h100-tp1"]
    policies = PolicySet((one,), {"v": Variant("v", profile=profile)})
    at, window = datetime.now(UTC), timedelta(seconds=window_s)
    with PrometheusClient(PrometheusAccess(url=url)) as client:
        snapshot = PrometheusObserver(client, lambda: policies, lambda: at, window).observe()
        return judge(Facts(at, policies, snapshot, ask_prometheus(client, policies), window=window))


def told(checkup: Checkup, topic: Topic, *verdicts: Verdict) -> list[str]:
    found = [one for one in checkup.findings if one.topic is topic and one.verdict in (verdicts or tuple(Verdict))]
    return [f"{one.says} → {one.way_out}" for one in found]


def bad(checkup: Checkup) -> list[Finding]:
    return [one for one in checkup.findings if one.verdict is not Verdict.FINE]


# First, while the past is fresh.
@pytest.mark.parametrize(
    ("namespace", "window_s", "verdict", "says"),
    [
        pytest.param("minutes", 60, Verdict.WRONG, "is scraped every 1m30s", id="less than a scrape a minute"),
        pytest.param("halves", 60, Verdict.WARNING, "give --window 2m", id="two scrapes in a window"),
        pytest.param("halves", 120, Verdict.FINE, "four times in the window of 2m", id="four scrapes in a window"),
    ],
)
def test_scrapes_are_held_against_the_window(
    url: str, namespace: str, window_s: float, verdict: Verdict, says: str
) -> None:
    (only,) = told(look(url, namespace, window_s=window_s), Topic.SCRAPE, verdict)

    assert says in only


def test_names_that_no_longer_exist_are_told_with_what_was_found_instead(url: str) -> None:
    found = look(url, "old", model="tiny/llama")
    (says,) = [one.says for one in bad(found) if one.about == "old/tiny/llama" and "retired" in one.says]

    assert "vllm:kv_cache_usage_perc is found as vllm:gpu_cache_usage_perc" in says
    assert "vllm:inter_token_latency_seconds is found as vllm:time_per_output_token_seconds" in says
    assert {one.found_as for one in found.signals if one.signal == "vllm:prefix_cache_hits_total"} == {
        "vllm:gpu_prefix_cache_hits_total"
    }


def test_labels_that_a_scrape_overwrote_are_told_with_the_way_to_keep_them(url: str) -> None:
    found = look(url, "exported", mode="emit")
    by_whom = {one.about: one for one in found.findings if one.topic is Topic.LABELS}

    assert "is found in exported_namespace" in by_whom["exported/m"].says
    assert by_whom["exported/m"].verdict is Verdict.WARNING
    assert "namespace='monitoring' and exported_namespace='sane'" in by_whom["aiops"].says
    assert by_whom["aiops"].verdict is Verdict.WRONG, "the query of a ScaledObject would find nothing"
    assert "cannot be joined to engines" in by_whom["ksm"].says
    assert all("honorLabels: true" in one.way_out for one in by_whom.values())


def test_own_labels_that_were_overwritten_are_no_more_than_doubtful_where_nobody_scales_by_them(url: str) -> None:
    assert [one.verdict for one in look(url, "exported").findings if one.about == "aiops"] == [Verdict.WARNING]


@pytest.mark.parametrize(
    ("namespace", "spec", "says"),
    [
        pytest.param("bare", {"model": "n"}, "serves 'm' and no model_name 'n'", id="another name of the model"),
        pytest.param("nowhere", {}, "has model_name 'm' in the namespace bare", id="another namespace"),
        pytest.param("nowhere", {"model": "x"}, "no series has model_name 'x'", id="a model that nobody serves"),
        pytest.param("dead", {}, "do not answer their scrapes (up is 0)", id="no target of the model answers"),
        pytest.param("twice", {}, 'give a matcher such as cluster="a"', id="two clusters that would be added up"),
        pytest.param("gone", {}, "UTC, 2h", id="engines that are gone, and since when"),
    ],
)
def test_a_model_that_cannot_be_seen_is_wrong_and_the_reason_is_named(
    url: str, namespace: str, spec: dict[str, object], says: str
) -> None:
    found = look(url, namespace, **spec)

    (only,) = told(found, Topic.SIGNAL, Verdict.WRONG)
    assert "cannot be seen" in only
    assert says in only
    assert found.verdict is Verdict.WRONG
    assert not any(one.state is SignalState.OK for one in found.signals if one.about == f"{namespace}/{spec}")


def test_a_target_that_is_down_beside_one_that_serves_is_named(url: str) -> None:
    (engine, *_) = told(look(url, "half"), Topic.TARGET_DOWN, Verdict.WARNING)
    beside = told(look(url, "sane", model="tiny/llama"), Topic.TARGET_DOWN, Verdict.WARNING)

    assert f"{POD_C} (job all) do not answer their scrapes" in engine
    assert ["targets beside the engines do not answer their scrapes: router-0" in text for text in beside] == [True]


def test_a_metric_that_is_not_there_is_told_apart_from_one_that_is_zero(url: str) -> None:
    found = look(url, "bare")
    states = {one.signal: one.state for one in found.signals if one.about == "bare/m"}
    missing = [text for text in told(found, Topic.SIGNAL, Verdict.WARNING) if "num_preemptions_total" in text]

    assert states["vllm:num_requests_running"] is SignalState.OK
    assert states["vllm:num_requests_waiting"] is SignalState.ZERO
    assert states["vllm:num_preemptions_total"] is SignalState.ABSENT
    assert ["has no series vllm:num_preemptions_total; engines have it since 0.8.5" in text for text in missing] == [
        True
    ]


def test_a_metric_that_went_away_is_told_with_the_time_since_when(url: str) -> None:
    found = look(url, "halves")
    (text,) = [text for text in told(found, Topic.SIGNAL, Verdict.WARNING) if "num_preemptions_total" in text]
    (report,) = [one for one in found.signals if one.signal == "vllm:num_preemptions_total"]

    assert report.last_seen is not None
    assert (found.at - report.last_seen).total_seconds() == pytest.approx(GONE_S, abs=400)
    assert f"last seen {report.last_seen:%Y-%m-%d %H:%M:%S} UTC, 2h" in text


def test_sources_beside_the_engines_are_told_by_what_switches_them_on(url: str) -> None:
    found = look(url, "sane", model="tiny/llama")
    by_source = {one.about: one for one in found.findings if one.topic is Topic.SIGNAL}
    flow = next(one for one in found.signals if one.signal == "llm_d_epp_flow_control_queue_size")

    assert "no series of dcgm-exporter" in by_source["dcgm"].says
    assert (flow.state, flow.enabled_by) == (SignalState.ABSENT, "flowControl gate")
    assert any(
        "llm_d_epp_request_total is found as inference_objective_request_total" in one.says for one in bad(found)
    )
    assert "nixl" not in by_source, "prefill and decode are not apart here"


def test_the_slowest_requests_of_an_hour_are_known(url: str) -> None:
    one = policy("halves")
    with PrometheusClient(PrometheusAccess(url=url)) as client:
        facts = ask_prometheus(client, PolicySet((one,), {"v": Variant("v")}))

    assert facts.slowest_s[one.ref] == pytest.approx(240.0, abs=20.0)
    assert facts.ahead_s == pytest.approx(0.0, abs=2.0)


def test_a_clock_of_ours_that_is_behind_is_noticed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    present = time.time
    monkeypatch.setattr(time, "time", lambda: present() - 120)

    (found,) = [one for one in look(url, "sane", model="tiny/llama").findings if one.topic is Topic.CLOCK]

    assert (found.verdict, found.about) == (Verdict.WRONG, "Prometheus")
    assert "120 s ahead of this machine's" in found.says


def test_an_objective_is_held_against_the_bounds_that_the_engines_expose(url: str) -> None:
    off = look(url, "sane", model="tiny/llama", objectives={"ttft": {"p95": "2s"}, "itl": {"p95": "60ms"}})
    on = look(url, "sane", model="tiny/llama")

    assert ["nearest; those are 1 s and 2.5 s" in text for text in told(off, Topic.OBJECTIVE, Verdict.WARNING)] == [
        True,
        False,
    ]
    assert "those are 0.05 s and 0.075 s" in told(off, Topic.OBJECTIVE, Verdict.WARNING)[1]
    assert told(on, Topic.OBJECTIVE, Verdict.WARNING) == []


def test_a_profile_is_held_against_what_the_engines_say_of_their_cache(
    url: str, shipped_profiles: dict[str, CapacityProfile]
) -> None:
    (only,) = told(look(url, "sane", shipped_profiles, model="tiny/llama"), Topic.PROFILE, Verdict.WARNING)
    (none,) = told(look(url, "sane", model="tiny/llama"), Topic.PROFILE)

    assert "hold 1048576 tokens in their KV cache (vllm:cache_config_info), and the profile says 432992" in only
    assert "names no profile: no need can be computed" in none
    assert "under variants.v.profile" in none


def test_a_prometheus_that_does_not_answer_is_all_that_is_told_of_metrics() -> None:
    found = look(f"http://127.0.0.1:{parts.free_port()}", "sane")
    topics: Sequence[Topic] = [one.topic for one in found.findings if one.verdict is Verdict.WRONG]

    assert topics == [Topic.PROMETHEUS, Topic.PROFILE]
    assert "cannot be reached" in told(found, Topic.PROMETHEUS)[0]
    assert found.signals == ()
