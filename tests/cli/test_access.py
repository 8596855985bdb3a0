"""The ways in to a Prometheus: one that demands TLS and a password, and a proxy before it that demands a token and a
tenant."""

import ssl
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.cli.factory import aiops
from tests.cluster.certificates import authority, signed
from tests.observe.scenarios import POD_B
from tests.observe.world import engine_page, exporter, serving, target
from tests.parts import prometheus, require, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]

USER, PASSWORD = "reader", "open sesame"
# What bcrypt makes of it.
HASHED = "$2b$04$yi/Wy0I5JAl3EBOOmrFsPO4.dtTZ30T3YA5f1dwdIlF6qPOHQEzsG"
TOKEN, TENANT = "t0ken", "team-a"
POLICY = """\
metadata: {name: chat, namespace: NAMESPACE}
spec: {model: m, pools: [{name: all, target: {name: chat}, variant: v}]}
variants: {v: {profile: llama-8b-h100-tp1}}
"""


@dataclass(frozen=True)
class Guarded:
    """A Prometheus behind TLS and a password, and the files with which it is entered."""

    url: str
    folder: Path
    gate: str

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def plan(self, *access: str, url: str | None = None, namespace: str = "llm") -> tuple[int, str]:
        policy = self.file(f"{namespace}.yaml", POLICY.replace("NAMESPACE", namespace))
        done = aiops("plan", "--policy", policy, "--prometheus", url or self.url, "--history", "5m", *access)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    require("openssl", "openssl")
    ca = authority(folder, "ca")
    server = signed(folder, "prometheus", ca, alternative_names=["IP:127.0.0.1"])
    web = {
        "tls_server_config": {"cert_file": str(server.certificate), "key_file": str(server.key)},
        "basic_auth_users": {USER: HASHED},
    }
    with exporter() as served:
        served.pages["engine"] = engine_page(running=3)
        clusters = {"llm": ("a",), "both": ("a", "b")}
        targets = [
            target(served.port, "engine", namespace=namespace, pod=POD_B, cluster=cluster)
            for namespace, names in clusters.items()
            for cluster in names
        ]
        job: dict[str, object] = {"job_name": "vllm", "static_configs": targets}
        with prometheus(folder / "prometheus", [job], web=web) as url, _gate(url, folder) as gate:
            seen = f"{url}/api/v1/query?query=count(vllm:num_requests_running)"
            wait_for(lambda: f'"{len(targets)}"' in _as_reader(seen, folder), "every engine is scraped")
            yield Guarded(url, folder, gate)


def _as_reader(url: str, folder: Path) -> str:
    credentials = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    asked = urllib.request.Request(url, headers={"Authorization": f"Basic {credentials}"})  # noqa: S310  # loopback
    trusted = ssl.create_default_context(cafile=folder / "ca.crt")
    with urllib.request.urlopen(asked, timeout=5, context=trusted) as answer:  # noqa: S310  # loopback
        text: str = answer.read().decode()
        return text


@contextmanager
def _gate(url: str, folder: Path) -> Iterator[str]:
    """A proxy that lets only one tenant with one token through."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            admitted = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            known = self.headers.get("X-Scope-OrgID") == TENANT
            status = 401 if not admitted else 200 if known else 403
            body = (_as_reader(url + self.path, folder) if status == 200 else "no").encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as port:
        yield f"http://127.0.0.1:{port}"


def access(guarded: Guarded, *without: str) -> list[str]:
    """All that the guarded Prometheus demands, but for what is left out."""
    given = {
        "--user": USER,
        "--password-file": guarded.file("password", f"{PASSWORD}\n"),
        "--ca-file": str(guarded.folder / "ca.crt"),
    }
    return [part for name, value in given.items() if name not in without for part in (name, value)]


def test_a_user_with_a_password_in_a_file_is_let_in_over_tls(guarded: Guarded) -> None:
    code, told = guarded.plan(*access(guarded))

    assert code == 0, told
    assert "chat" in told


@pytest.mark.parametrize(
    ("without", "more", "code", "says"),
    [
        pytest.param(("--user", "--password-file"), [], 3, "give a bearer token, or a user and", id="no credentials"),
        pytest.param(("--password-file",), [], 2, "needs --password-file", id="a user without a password"),
        pytest.param(("--user",), [], 2, "the password of which user", id="a password without a user"),
        pytest.param((), ["--bearer-token-file", "token"], 2, "not several", id="two ways to log in"),
        pytest.param(("--ca-file",), [], 3, "certificate that is not trusted", id="a CA that nobody named"),
        pytest.param((), ["--ca-file", "/nowhere.crt"], 2, "/nowhere.crt cannot be used", id="no CA file there"),
        pytest.param((), ["--ca-file", __file__], 2, "it holds certificates in PEM", id="a CA file that is none"),
        pytest.param((), ["--password-file", "/nowhere"], 3, "/nowhere", id="no password file there"),
    ],
)
def test_without_what_is_demanded_it_is_told_what(
    guarded: Guarded, without: tuple[str, ...], more: list[str], code: int, says: str
) -> None:
    found, told = guarded.plan(*access(guarded, *without), *more)

    assert (found, says in told) == (code, True), told
    assert PASSWORD not in told


def test_a_wrong_password_is_refused(guarded: Guarded) -> None:
    wrong = guarded.file("wrong", "open sesam")

    code, told = guarded.plan(*access(guarded), "--password-file", wrong)

    assert (code, "missing or wrong" in told) == (3, True), told


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        pytest.param(("--bearer-token-file", "--tenant"), 0, "chat", id="both"),
        pytest.param(("--tenant",), 3, "give a bearer token", id="no token"),
        pytest.param(("--bearer-token-file",), 3, "right tenant", id="no tenant"),
    ],
)
def test_a_token_and_a_tenant_open_a_gate_that_demands_both(
    guarded: Guarded, given: tuple[str, ...], code: int, says: str
) -> None:
    values = {"--bearer-token-file": guarded.file("token", f"{TOKEN}\n"), "--tenant": TENANT}

    found, told = guarded.plan(*(part for name in given for part in (name, values[name])), url=guarded.gate)

    assert (found, says in told) == (code, True), told


def test_a_matcher_tells_two_clusters_apart(guarded: Guarded) -> None:
    blind, told = guarded.plan(*access(guarded), namespace="both")
    seen, _ = guarded.plan(*access(guarded), "--matcher", 'cluster="b"', namespace="both")

    assert (blind, 'give a matcher such as cluster="a"' in " ".join(told.split())) == (3, True), told
    assert seen == 0
