"""Opens what lasts and resolves what stays gone, so that one odd scrape starts and ends nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiops.detect.suspicion import Suspicion
from aiops.model.detection import DetectionKind

_LOST_SIGHT = timedelta(minutes=5)
_ORDER = {kind: place for place, kind in enumerate(DetectionKind)}


@dataclass(frozen=True, slots=True)
class Watched:
    """A suspicion as it was last seen; ``since`` is when it was first seen, ``open`` whether it is a finding by now."""

    suspicion: Suspicion
    since: datetime
    seen_at: datetime
    open: bool


def debounce(
    suspicions: Sequence[Suspicion], at: datetime, watched: tuple[Watched, ...], *, blind: bool
) -> tuple[Watched, ...]:
    """Give what is watched after a look, by kind, then by subject.

    A suspicion opens when it was seen at every look for its ``open_after``, and resolves when it was not seen for its
    ``resolve_after``. While ``blind``, nothing else resolves: what cannot be seen is not gone.
    """
    now = {suspicion.subject: suspicion for suspicion in suspicions}
    before = {one.suspicion.subject: one for one in watched}
    seen = [_see(suspicion, before.get(subject), at) for subject, suspicion in now.items()]
    lingering = [one for subject, one in before.items() if subject not in now and _lingers(one, at, blind=blind)]
    return tuple(sorted([*seen, *lingering], key=_place))


def _see(suspicion: Suspicion, before: Watched | None, at: datetime) -> Watched:
    if before is None or (not before.open and at - before.seen_at > _LOST_SIGHT):
        return Watched(suspicion, since=at, seen_at=at, open=suspicion.open_after <= timedelta())
    opens = before.open or at - before.since >= suspicion.open_after
    return Watched(suspicion, since=before.since, seen_at=at, open=opens)


def _lingers(watched: Watched, at: datetime, *, blind: bool) -> bool:
    if not watched.open:
        return False
    if blind and watched.suspicion.kind is not DetectionKind.BLIND:
        return True
    return at - watched.seen_at < watched.suspicion.resolve_after


def _place(watched: Watched) -> tuple[int, str, str]:
    suspicion = watched.suspicion
    return (_ORDER[suspicion.kind], str(suspicion.pool or ""), suspicion.replica or "")
