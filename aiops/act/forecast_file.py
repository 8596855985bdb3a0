"""What the forecasters remember, in a file: a cache that spares a restart the reading of the past. Never needed."""

import hashlib
import json
import os
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from aiops import __version__
from aiops.forecast import MEMBERS
from aiops.model.codec import decode, encode
from aiops.model.forecast import Forecast, ForecastSkill
from aiops.model.policy import PolicySet, ScalingPolicy
from aiops.model.refs import ModelRef
from aiops.plan.state import ModelMemory, SeriesMemory, State

VERSION = 2
_MAGIC = b"aiops forecast state\n"
_DIGEST_BYTES = hashlib.sha256().digest_size
_FAST = 1  # the level of compression: a save of thousands of series must not hold up the loop


class ForecastFileError(ValueError):
    """A file that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of one model. ``policy_sha256`` is of all that its series' values depend on."""

    ref: ModelRef
    policy_sha256: str
    series: tuple[SeriesMemory, ...]
    bin_start_s: float | None
    bin_censored: bool
    forecasts: tuple[Forecast, ...]
    skills: tuple[ForecastSkill, ...]


def write_forecasts(path: Path, state: State, policies: PolicySet) -> None:
    """Write the forecasters' memory; the file that was there is replaced in one move, and the new one is on the disk.

    The file: a line that names it, a line of JSON (version and members), compressed JSON with a model a line, and the
    SHA-256 of all that. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    digest = hashlib.sha256()
    with partial.open("wb") as file:
        for part in _parts(state, policies):
            digest.update(part)
            file.write(part)
        file.write(digest.digest())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the move itself is on the disk only with its folder
    finally:
        os.close(folder)


def read_forecasts(path: Path, policies: PolicySet, at: datetime, oldest: timedelta) -> State:
    """Read the forecasters' memory of those models whose policy and profiles are still the same.

    Raises ForecastFileError where the file is damaged, cut short, of another kind, version or set of members, ends
    after ``at`` or more than ``oldest`` before it, and OSError where it cannot be read.
    """
    content = path.read_bytes()
    body = _checked(content)
    digests = {policy.ref: _policy_sha256(policy, policies) for policy in policies.policies}
    try:
        kept = [decode(_Kept, line) for line in zlib.decompress(body).splitlines()]
    except (ValueError, zlib.error) as error:
        raise ForecastFileError(f"it holds something else: {error}") from error
    ends_s = [entry.state.end_s for model in kept for entry in model.series if entry.state.end_s is not None]
    if ends_s and max(ends_s) > at.timestamp():
        raise ForecastFileError("it ends in the future; was a clock changed?")
    if ends_s and max(ends_s) < (at - oldest).timestamp():
        raise ForecastFileError("it is older than all history that is read")
    return State(models=tuple(_memory(model) for model in kept if digests.get(model.ref) == model.policy_sha256))


class ForecastSaver:
    """Writes the forecasters' memory every so often, beside the loop and never twice at once.

    ``policies`` are those by which the state was learned; models that they do not name are left out. A file that cannot
    be written is told once, and tried again at the next turn that is due.
    """

    def __init__(self, path: Path, every: timedelta) -> None:
        self._path, self._every = path, every
        self._due: datetime | None = None
        self._writing: threading.Thread | None = None
        self._told = False

    def turned(self, state: State, policies: PolicySet, at: datetime) -> None:
        """Save a state, which is frozen, in a thread of its own if that is due at ``at``."""
        due, self._due = self._due, self._due or at + self._every
        if due is None or at < due or (self._writing is not None and self._writing.is_alive()):
            return
        self._due = at + self._every
        self._writing = threading.Thread(target=self._save, args=(state, policies), name="forecast-file", daemon=True)
        self._writing.start()

    def close(self, state: State, policies: PolicySet) -> None:
        """Save the last state, at a clean end."""
        if self._writing is not None:
            self._writing.join()
        self._save(state, policies)

    def _save(self, state: State, policies: PolicySet) -> None:
        try:
            write_forecasts(self._path, state, policies)
            self._told = False
        except OSError as error:
            if not self._told:
                why = error.strerror or str(error)
                structlog.get_logger().warning("the forecasts are not saved", file=str(self._path), why=why)
            self._told = True


def _parts(state: State, policies: PolicySet) -> Iterator[bytes]:
    """Give the file piece by piece, so that a large fleet is never in memory twice."""
    yield _MAGIC
    yield json.dumps(_header(), separators=(",", ":")).encode() + b"\n"
    packer = zlib.compressobj(_FAST)
    for memory in state.models:
        policy = policies.policy(memory.ref)
        if policy is not None:
            yield packer.compress(encode(_kept(memory, _policy_sha256(policy, policies))) + b"\n")
    yield packer.flush()


def _checked(content: bytes) -> bytes:
    """Give the compressed part of a whole file of this version."""
    if not content.startswith(_MAGIC):
        raise ForecastFileError("it is not such a file, or its beginning is damaged")
    line, ended, body = content[len(_MAGIC) :].partition(b"\n")
    try:
        header = json.loads(line)
    except ValueError:
        ended = b""
    if not ended or hashlib.sha256(content[:-_DIGEST_BYTES]).digest() != content[-_DIGEST_BYTES:]:
        raise ForecastFileError("it is damaged or cut short")
    if header != _header():
        raise ForecastFileError(f"another version wrote it: {line.decode()}, not {json.dumps(_header())}")
    return body[:-_DIGEST_BYTES]


def _header() -> dict[str, object]:
    # What a member's numbers mean may change with each release.
    return {"version": VERSION, "aiops": __version__, "members": [member.name for member in MEMBERS]}


def _policy_sha256(policy: ScalingPolicy, policies: PolicySet) -> str:
    """Tell one meaning of a model's series from another: work, above all, is in replicas of these profiles."""
    digest = hashlib.sha256(policy.model_dump_json(by_alias=True).encode())
    digest.update(policies.prior.sha256.encode() if policies.prior else b"-")
    for pool in policy.spec.pools:
        variant = policies.variants[pool.variant]
        digest.update(variant.profile.model_dump_json().encode() if variant.profile else b"-")
    return digest.hexdigest()


def _kept(memory: ModelMemory, policy_sha256: str) -> _Kept:
    return _Kept(
        memory.ref,
        policy_sha256,
        memory.series,
        memory.bin_start_s,
        memory.bin_censored,
        memory.forecasts,
        memory.skills,
    )


def _memory(kept: _Kept) -> ModelMemory:
    return ModelMemory(
        kept.ref,
        series=kept.series,
        bin_start_s=kept.bin_start_s,
        bin_censored=kept.bin_censored,
        forecasts=kept.forecasts,
        skills=kept.skills,
    )
