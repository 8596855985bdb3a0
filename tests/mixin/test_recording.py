"""What is written of a scrape, and a quarter of an hour of the factory."""

import io

import pytest

from tests.mixin.multiplied import multiplied
from tests.mixin.recording import CLUSTER, SCRAPE_S, STARTS, Page, Week, Writer, family_of, record
from tests.mixin.troubles import CHAT, Plan, Trouble, draw_half_a_day

_ENGINE = {"job": "vllm", "namespace": "llm", "pod": "chat-1"}
_NAMES = (
    "vllm:num_requests_running",
    "vllm:e2e_request_latency_seconds_bucket",
    "kube_pod_labels",
    "DCGM_FI_DEV_GPU_UTIL",
)


def _written(labels: dict[str, str], text: str | None, **options: bool) -> list[str]:
    file = io.StringIO()
    Writer(_NAMES, **options).scrape(60.0, [Page(labels, text)], file)
    return file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("labels", "line", "stored"),
    [
        pytest.param(
            _ENGINE,
            'vllm:num_requests_running{engine="0",model_name="m"} 2.0',
            'vllm:num_requests_running{job="vllm",namespace="llm",pod="chat-1",cluster="simulated",engine="0",'
            'model_name="m"} 2.0 60',
            id="the target's labels and the cluster's are added",
        ),
        pytest.param(
            {"job": "dcgm-exporter", "namespace": "gpu-operator", "pod": "dcgm-1"},
            'DCGM_FI_DEV_GPU_UTIL{gpu="0",namespace="llm",pod="chat-1"} 7.0',
            'DCGM_FI_DEV_GPU_UTIL{job="dcgm-exporter",namespace="gpu-operator",pod="dcgm-1",cluster="simulated",'
            'gpu="0",exported_namespace="llm",exported_pod="chat-1"} 7.0 60',
            id="an exporter's own labels of the same name are exported ones",
        ),
        pytest.param(
            {"job": "kube-state-metrics", "instance": "k:8080"},
            'kube_pod_labels{namespace="llm",pod="chat-1",label_x=""} 1.0',
            'kube_pod_labels{job="kube-state-metrics",instance="k:8080",cluster="simulated",namespace="llm",'
            'pod="chat-1"} 1.0 60',
            id="a job that honours labels keeps them; an empty label is none",
        ),
    ],
)
def test_a_sample_is_stored_as_a_scrape_would(labels, line, stored):
    assert _written(labels, f"# HELP x y\n{line}\n")[1:] == [stored]


@pytest.mark.parametrize(
    ("floats", "bound"),
    [pytest.param(False, "1", id="as written for Prometheus 2"), pytest.param(True, "1.0", id="a float for 3")],
)
def test_bounds_are_written_as_the_server_stores_them(floats, bound):
    name = "vllm:e2e_request_latency_seconds_bucket"
    lines = _written(_ENGINE, f'{name}{{le="1"}} 4.0\n{name}{{le="+Inf"}} 5.0\n', floats=floats)
    assert [line.split('le="')[1].split('"')[0] for line in lines[1:]] == [bound, "+Inf"]


def test_a_target_that_does_not_answer_is_down_and_has_nothing_else():
    assert _written(_ENGINE, None) == [f'up{{job="vllm",namespace="llm",pod="chat-1",cluster="{CLUSTER}"}} 0 60']


def test_what_nobody_asks_for_is_not_written():
    assert len(_written(_ENGINE, "vllm:other 1.0\n")) == 1


@pytest.mark.parametrize("name", ["a_bucket", "a_sum", "a_count", "a_total", "a"])
def test_a_family_is_named_without_what_its_type_appends(name):
    assert family_of(name) == "a"


def test_a_week_is_written_whole_and_the_same_again(tmp_path):
    def written(name: str) -> str:
        (tmp_path / name).mkdir()
        plan = Plan(draw_half_a_day(1).specs, (Trouble("model_renamed", CHAT, 300.0, 600.0),))
        week = Week(plan, 1, ("vllm:num_requests_running", "aiops_mode"))
        (file,) = record(week, 0.25, {tmp_path / name: Writer(("vllm:num_requests_running", "aiops_mode"))})
        return file.read_text()

    text = written("a")
    assert text == written("b")
    assert text.endswith("# EOF\n")
    times = {int(line.rsplit(" ", 1)[1]) for line in text.splitlines()[:-1]}
    begins = int(STARTS.timestamp())
    assert sorted(times) == list(range(begins, begins + 900, int(SCRAPE_S)))
    renamed = {int(line.rsplit(" ", 1)[1]) - begins for line in text.splitlines() if "-renamed" in line}
    assert sorted(renamed) == [300, 360, 420, 480, 540]


def test_a_replica_is_multiplied_with_all_that_others_tell_of_it():
    pages = [
        Page({"job": "vllm", "pod": "chat-1", "instance": "chat-1:8000"}, "a 1\n"),
        Page({"job": "vllm", "pod": "chat-2", "instance": "chat-2:8000"}, "a 1\n"),
        Page({"job": "kube-state-metrics"}, '# HELP b c\nb{pod="chat-1",x="y"} 1\nb{pod="chat-2",x="y"} 1\n'),
        Page({"job": "dcgm-exporter"}, 'g{UUID="GPU-7",pod="chat-1"} 1\n'),
    ]
    made = list(multiplied(pages, {"chat-1": 2}))
    assert [page.labels["instance"] for page in made if page.labels["job"] == "vllm"] == [
        "chat-1:8000", "chat-1-0:8000", "chat-1-1:8000", "chat-2:8000",
    ]  # fmt: skip
    assert made[-2].text.splitlines()[-2:] == ['b{pod="chat-1-0",x="y"} 1', 'b{pod="chat-1-1",x="y"} 1']
    assert made[-1].text.splitlines()[-2:] == [
        'g{UUID="GPU-0-7",pod="chat-1-0"} 1',
        'g{UUID="GPU-1-7",pod="chat-1-1"} 1',
    ]
