"""aiops pause, hold and resume as a person types them, with a person's rights and with fewer."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from kubernetes.client import ApiClient

from aiops.act.overrides import HOLD_AT, PAUSED
from aiops.model.cluster import Override
from aiops.observe.cluster_overrides import read_override
from tests.act.granted import effective
from tests.cli.factory import aiops
from tests.cluster import manifests
from tests.cluster.manifests import Manifest, Server
from tests.cluster.place import Place

pytestmark = [pytest.mark.real, pytest.mark.slow]

PERSON = "person"
ANNOTATIONS = (PAUSED, HOLD_AT)


def person(place: Place, cluster_role: str) -> Path:
    """A kubeconfig of somebody who has one of the roles that every cluster comes with."""
    binding = manifests.role_binding(cluster_role, PERSON, place.namespace)
    binding["roleRef"]["kind"] = "ClusterRole"
    place.apply(manifests.service_account(PERSON), binding)
    seen: Manifest = {"kind": "Role", "rules": [{"apiGroups": ["apps"], "resources": ["deployments"]}]}
    seen["rules"][0]["verbs"] = ["patch"] if cluster_role == "edit" else ["get"]
    api: ApiClient = place.plane.client_of(PERSON, place.namespace)
    effective(place, api, [seen])
    return place.plane.kubeconfig(PERSON, place.namespace)


def serve(place: Place, *names: str) -> None:
    place.apply(*(Server(name=name, replicas=0).deployment() for name in names))


def said(place: Place, name: str) -> tuple[Override | None, str]:
    """What aiops reads on a target."""
    stated = place.apps.read_namespaced_deployment(name, place.namespace).metadata.annotations or {}
    return read_override({key: stated[key] for key in ANNOTATIONS if key in stated}, datetime.now(UTC))


def test_a_person_pauses_holds_and_resumes_a_target_as_with_kubectl(place: Place) -> None:
    serve(place, "chat", "other")
    to_cluster = ("--kubeconfig", str(person(place, "edit")))
    target = ("-n", place.namespace, "deploy/chat")

    paused = aiops("pause", *target, *to_cluster)
    after_pause = said(place, "chat")
    began = datetime.now(UTC)
    held = aiops("hold", *target, "--replicas", "3", "--for", "2h", *to_cluster)
    after_hold = said(place, "chat")
    resumed = aiops("resume", *target, *to_cluster, "--json")

    assert [done.returncode for done in (paused, held, resumed)] == [0, 0, 0], (paused, held, resumed)
    assert paused.stdout == f"Deployment {place.namespace}/chat is paused\n"
    assert after_pause == (Override(None, None), "")
    assert after_hold[0] is not None
    assert after_hold[0].replicas == 3
    assert after_hold[0].until is not None
    assert timedelta(hours=2, seconds=-2) < after_hold[0].until - began < timedelta(hours=2, minutes=2)
    assert f"Deployment {place.namespace}/chat is held at 3 replicas until" in held.stdout
    assert json.loads(resumed.stdout) == {
        "said": "neither paused nor held",
        "until": None,
        "targets": [{"namespace": place.namespace, "kind": "Deployment", "name": "chat"}],
    }
    assert said(place, "chat") == said(place, "other") == (None, "")


def test_a_model_is_paused_with_both_of_its_roles(place: Place, tmp_path: Path) -> None:
    serve(place, "rag-prefill", "rag-decode")
    pools = [
        {"name": role, "role": role, "target": {"name": f"rag-{role}"}, "variant": "v"}
        for role in ("prefill", "decode")
    ]
    policy = {
        "metadata": {"name": "rag", "namespace": place.namespace},
        "spec": {"model": "meta/rag", "pools": pools},
        "variants": {"v": {}},
    }
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy))

    done = aiops("pause", "meta/rag", "--policy", str(tmp_path), "--kubeconfig", str(person(place, "edit")))

    assert done.returncode == 0, done.stderr
    assert said(place, "rag-prefill") == said(place, "rag-decode") == (Override(None, None), "")


def test_who_may_only_look_is_told_the_missing_rule_and_ends_with_4(place: Place) -> None:
    serve(place, "chat")
    looks = str(person(place, "view"))

    told = aiops("pause", f"{place.namespace}/deployment/chat", "--kubeconfig", looks)
    as_json = aiops("hold", f"{place.namespace}/deployment/chat", "--replicas", "1", "--kubeconfig", looks, "--json")

    missing = f"a right is missing: apps deployments patch in namespace {place.namespace}"
    assert (told.returncode, as_json.returncode) == (4, 4)
    assert missing in told.stderr
    assert json.loads(as_json.stdout) == {
        "error": "the target could not be changed",
        "problems": [f"Deployment {place.namespace}/chat: {missing}"],
        "exit_code": 4,
    }
    assert said(place, "chat") == (None, "")


def test_one_target_that_is_not_there_does_not_keep_the_others_from_being_paused(place: Place) -> None:
    serve(place, "chat")
    names = [f"{place.namespace}/deployment/{name}" for name in ("gone", "chat")]

    done = aiops("pause", *names, "--kubeconfig", str(person(place, "edit")))

    assert done.returncode == 4
    assert "1 of 2 targets could not be changed" in done.stderr
    assert f"{place.namespace}/gone is gone" in done.stderr
    assert said(place, "chat") == (Override(None, None), "")


def test_an_api_server_that_is_away_is_told(place: Place, tmp_path: Path) -> None:
    away = tmp_path / "away.kubeconfig"
    away.write_text(person(place, "edit").read_text().replace(place.plane.url, "https://127.0.0.1:9"))

    done = aiops("pause", f"{place.namespace}/deployment/chat", "--kubeconfig", str(away))

    assert done.returncode == 4
    assert "the API server could not be reached" in done.stderr
    assert "Traceback" not in done.stderr
