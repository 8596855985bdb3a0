"""The metrics are lost, stale or mismatched."""

from datetime import datetime, timedelta

from aiops.detect.suspicion import Suspicion
from aiops.model.detection import DetectionKind, Evidence, Severity
from aiops.model.snapshot import ModelSnapshot, SignalHealth, SignalState

_AT_ONCE = timedelta()
_SOON = timedelta(seconds=30)
# An engine that does not export some metric is no news, and what the loop needs for a number is told by `blind`. One
# that was there and stopped, or answers for another model or pod, is.
_WRONG = (SignalState.STALE, SignalState.MISMATCH)


def suspect(model: ModelSnapshot, at: datetime) -> tuple[Suspicion, ...]:
    """Suspect a model of whose numbers none may be used, or some are stale or mismatched.

    The first opens at once, because replicas are held from that moment on; the second after 30 s.
    """
    wrong = sorted((signal for signal in model.signals if signal.state in _WRONG), key=lambda signal: signal.signal)
    if not model.blind and not wrong:
        return ()
    return (
        Suspicion(
            kind=DetectionKind.BLIND,
            ref=model.ref,
            severity=Severity.CRITICAL if model.blind else Severity.WARNING,
            evidence=tuple(Evidence(f"{signal.signal} is {signal.state}", None, "") for signal in wrong),
            note=_note(model, wrong),
            open_after=_AT_ONCE if model.blind else _SOON,
        ),
    )


def _note(model: ModelSnapshot, wrong: list[SignalHealth]) -> str:
    if model.blind:
        return f"{model.ref} cannot be seen: {model.blind}"
    first = wrong[0]
    others = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    detail = f": {first.detail}" if first.detail else ""
    return f"{first.signal}{others} of {model.ref} cannot be believed ({first.state}){detail}"
